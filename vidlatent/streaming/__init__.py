"""The mechanism: sweep a model over a clip in slabs, exactly. Knows torch only; has never heard of a model."""

from vidlatent.streaming.engine import SlabStream as SlabStream
from vidlatent.streaming.module import Barrier as Barrier
from vidlatent.streaming.module import Local as Local
from vidlatent.streaming.module import Pointwise as Pointwise
from vidlatent.streaming.module import Sweepable as Sweepable
from vidlatent.streaming.plan import Plan as Plan
from vidlatent.streaming.run import run as run
from vidlatent.streaming.state import Align as Align
from vidlatent.streaming.state import Gather as Gather
from vidlatent.streaming.state import Halo as Halo
from vidlatent.streaming.state import Notes as Notes
from vidlatent.streaming.state import State as State
from vidlatent.streaming.sweep import Sweep as Sweep
from vidlatent.streaming.window import H as H
from vidlatent.streaming.window import PadMode as PadMode
from vidlatent.streaming.window import T as T
from vidlatent.streaming.window import W as W
from vidlatent.streaming.window import Window as Window
