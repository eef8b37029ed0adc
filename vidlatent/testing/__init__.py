"""Contract suites that a user's own modules can be held to."""

from vidlatent.testing.streams import assert_streams_exactly as assert_streams_exactly
from vidlatent.testing.streams import relative_error as relative_error
