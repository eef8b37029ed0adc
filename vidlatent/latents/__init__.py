"""Latents on disk: one clip in one safetensors file, frames-major, written as a stream and committed atomically."""

from vidlatent.latents.clip import LatentClip as LatentClip
from vidlatent.latents.clip import open_latents as open_latents
from vidlatent.latents.meta import ClipSource as ClipSource
from vidlatent.latents.meta import LatentMeta as LatentMeta
from vidlatent.latents.meta import content_hash as content_hash
from vidlatent.latents.writer import LatentWriter as LatentWriter
