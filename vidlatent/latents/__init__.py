"""Latents on disk: one clip in one safetensors file, or many clips in a dataset of tar shards; frames-major."""

from vidlatent.latents.clip import LatentClip as LatentClip
from vidlatent.latents.dataset import ChannelStats as ChannelStats
from vidlatent.latents.dataset import ClipMeta as ClipMeta
from vidlatent.latents.dataset import DatasetSettings as DatasetSettings
from vidlatent.latents.dataset import DatasetWriter as DatasetWriter
from vidlatent.latents.dataset import LatentBatches as LatentBatches
from vidlatent.latents.dataset import LatentDataset as LatentDataset
from vidlatent.latents.dataset import committed_keys as committed_keys
from vidlatent.latents.dataset import content_key as content_key
from vidlatent.latents.dataset import write_stats as write_stats
from vidlatent.latents.meta import ClipSource as ClipSource
from vidlatent.latents.meta import LatentMeta as LatentMeta
from vidlatent.latents.meta import content_hash as content_hash
from vidlatent.latents.opening import open_latents as open_latents
from vidlatent.latents.values import as_read as as_read
from vidlatent.latents.writer import LatentWriter as LatentWriter
