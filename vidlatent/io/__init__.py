"""Video files in and out: frames as uint8 (T, H, W, 3) RGB with exact times, in bounded memory."""

from .clip import Clip, VideoSpec
from .isolated import isolated
from .pixels import to_float, to_uint8
from .sink import VideoWriter, write_video
from .source import DamagedVideoWarning, VideoSource, open_video

__all__ = [
    "Clip",
    "DamagedVideoWarning",
    "VideoSource",
    "VideoSpec",
    "VideoWriter",
    "isolated",
    "open_video",
    "to_float",
    "to_uint8",
    "write_video",
]
