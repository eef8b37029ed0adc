"""Contract suites that a user's own modules and autoencoders can be held to."""

from vidlatent.testing.autoencoders import AutoencoderSuite as AutoencoderSuite
from vidlatent.testing.streams import assert_streams_exactly as assert_streams_exactly
from vidlatent.testing.streams import relative_error as relative_error
