"""Who runs the workers of a job: this process tree, processes that were launched alike, or a Ray cluster."""

from typing import Literal

Engine = Literal["local", "accelerate", "ray"]
