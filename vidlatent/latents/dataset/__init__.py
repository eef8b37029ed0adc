"""Many clips' latents: tar shards that any WebDataset reader opens, an index, one file of settings."""

from vidlatent.latents.dataset.batches import LatentBatches as LatentBatches
from vidlatent.latents.dataset.catalog import committed_keys as committed_keys
from vidlatent.latents.dataset.catalog import write_stats as write_stats
from vidlatent.latents.dataset.meta import ClipMeta as ClipMeta
from vidlatent.latents.dataset.meta import content_key as content_key
from vidlatent.latents.dataset.reader import LatentDataset as LatentDataset
from vidlatent.latents.dataset.repair import Repair as Repair
from vidlatent.latents.dataset.repair import repair as repair
from vidlatent.latents.dataset.settings import DatasetSettings as DatasetSettings
from vidlatent.latents.dataset.stats import ChannelStats as ChannelStats
from vidlatent.latents.dataset.verify import Verification as Verification
from vidlatent.latents.dataset.verify import verify as verify
from vidlatent.latents.dataset.writer import DatasetWriter as DatasetWriter
