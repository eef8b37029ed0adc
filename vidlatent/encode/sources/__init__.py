"""Where clips come from: folders, tables, tar shards, Hugging Face folders; local or by URL."""

from vidlatent.encode.sources.fetch import Fetched as Fetched
from vidlatent.encode.sources.fetch import fetch as fetch
from vidlatent.encode.sources.row import ClipRow as ClipRow
from vidlatent.encode.sources.source import Source as Source
from vidlatent.encode.sources.source import open_source as open_source
