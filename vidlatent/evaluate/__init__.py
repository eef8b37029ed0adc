"""Autoencoders and baselines side by side: one protocol, one table, numbers that compare."""

from vidlatent.evaluate.protocol import Protocol as Protocol
from vidlatent.evaluate.run import Evaluation as Evaluation
from vidlatent.evaluate.run import Settings as Settings
from vidlatent.evaluate.run import evaluate as evaluate
