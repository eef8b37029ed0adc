"""What stands between encoder and decoder: nothing, a Gaussian, or codes, behind one interface."""

from vidlatent.quantize.binary import BinaryQuantizer as BinaryQuantizer
from vidlatent.quantize.bottleneck import Bottled as Bottled
from vidlatent.quantize.bottleneck import Bottleneck as Bottleneck
from vidlatent.quantize.config import BottleneckConfig as BottleneckConfig
from vidlatent.quantize.config import build as build
from vidlatent.quantize.continuous import Gaussian as Gaussian
from vidlatent.quantize.continuous import Identity as Identity
from vidlatent.quantize.finite_scalar import FiniteScalarQuantizer as FiniteScalarQuantizer
from vidlatent.quantize.hierarchical import HierarchicalQuantizer as HierarchicalQuantizer
from vidlatent.quantize.residual import ResidualQuantizer as ResidualQuantizer
from vidlatent.quantize.usage import Usage as Usage
from vidlatent.quantize.usage import usage as usage
from vidlatent.quantize.vector import VectorQuantizer as VectorQuantizer
