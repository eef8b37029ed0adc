"""Layers of video autoencoders: leaves that declare windows, and the combinators that join them."""

from vidlatent.nn.attention import CausalFrameAttention as CausalFrameAttention
from vidlatent.nn.attention import FrameAttention as FrameAttention
from vidlatent.nn.attention import TemporalAttention as TemporalAttention
from vidlatent.nn.combine import Chain as Chain
from vidlatent.nn.combine import Concat as Concat
from vidlatent.nn.combine import Residual as Residual
from vidlatent.nn.combine import named as named
from vidlatent.nn.conv import Conv3d as Conv3d
from vidlatent.nn.doubled import DoubledConv3d as DoubledConv3d
from vidlatent.nn.norm import GroupNorm as GroupNorm
from vidlatent.nn.norm import LayerNorm as LayerNorm
from vidlatent.nn.norm import RMSNorm as RMSNorm
from vidlatent.nn.pointwise import GELU as GELU
from vidlatent.nn.pointwise import Clamp as Clamp
from vidlatent.nn.pointwise import Scale as Scale
from vidlatent.nn.pointwise import SiLU as SiLU
from vidlatent.nn.resample import DepthToSpace as DepthToSpace
from vidlatent.nn.resample import FirstFrame as FirstFrame
from vidlatent.nn.resample import Fit as Fit
from vidlatent.nn.resample import Nearest as Nearest
from vidlatent.nn.resample import SpaceToDepth as SpaceToDepth
from vidlatent.nn.resample import Trim as Trim
from vidlatent.nn.wavelet import Haar as Haar
from vidlatent.nn.wavelet import InverseHaar as InverseHaar
