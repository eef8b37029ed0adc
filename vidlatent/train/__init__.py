"""Training: one loop for autoencoders and diffusion models, their losses, and runs from configuration files."""

from vidlatent.train.kinds import KINDS as KINDS
from vidlatent.train.kinds import run as run
from vidlatent.train.loop import Diverged as Diverged
from vidlatent.train.loop import train as train
from vidlatent.train.task import Batches as Batches
from vidlatent.train.task import Loss as Loss
from vidlatent.train.task import Part as Part
from vidlatent.train.task import Task as Task
