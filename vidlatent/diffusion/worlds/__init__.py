"""Worlds with known laws: clips generated on the fly, and exact measures of what a model makes of them."""

from vidlatent.diffusion.worlds.bounce import Bounce as Bounce
from vidlatent.diffusion.worlds.catalog import WORLDS as WORLDS
from vidlatent.diffusion.worlds.catalog import build_world as build_world
from vidlatent.diffusion.worlds.drift import bootstrap as bootstrap
from vidlatent.diffusion.worlds.drift import clip_measures as clip_measures
from vidlatent.diffusion.worlds.drift import horizon as horizon
from vidlatent.diffusion.worlds.laws import conserved as conserved
from vidlatent.diffusion.worlds.laws import law_residuals as law_residuals
from vidlatent.diffusion.worlds.maze import Maze as Maze
from vidlatent.diffusion.worlds.maze import memory as memory
from vidlatent.diffusion.worlds.maze import revisits as revisits
from vidlatent.diffusion.worlds.parse import parse as parse
from vidlatent.diffusion.worlds.planes import Planes as Planes
from vidlatent.diffusion.worlds.planes import angular_velocity as angular_velocity
from vidlatent.diffusion.worlds.stream import WorldStream as WorldStream
from vidlatent.diffusion.worlds.world import World as World
from vidlatent.diffusion.worlds.world import WorldClip as WorldClip
