"""Clips to latents and back as files, in memory that does not grow with their length."""

from vidlatent.encode.clip import encode_clip as encode_clip
from vidlatent.encode.decode import decode_clip as decode_clip
from vidlatent.encode.reconstruct import Pair as Pair
from vidlatent.encode.reconstruct import reconstruct_clip as reconstruct_clip
from vidlatent.encode.slabs import Progress as Progress
