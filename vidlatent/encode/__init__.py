"""Clips to latents and back as files, and whole sources to latent datasets, in memory that does not grow with them."""

from vidlatent.encode.clip import encode_clip as encode_clip
from vidlatent.encode.dataset import encode_dataset as encode_dataset
from vidlatent.encode.dataset import resume_dataset as resume_dataset
from vidlatent.encode.decode import decode_clip as decode_clip
from vidlatent.encode.pipeline.ledger import Stats as Stats
from vidlatent.encode.reconstruct import Pair as Pair
from vidlatent.encode.reconstruct import reconstruct_clip as reconstruct_clip
from vidlatent.encode.slabs import Progress as Progress
