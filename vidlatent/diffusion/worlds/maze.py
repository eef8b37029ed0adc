"""A maze seen from inside, walked by actions: every wall, turn and step is known, so places come back exactly.

A grid maze (depth-first search, with some walls taken out for loops) is drawn by casting one ray a column through the
grid (digital differential analysis, all columns and frames of a step at once). Walls carry hues of their own, floor and
ceiling those of the clip. Turns are quarters and steps whole cells, each spread over `frames_per_action` frames, so
a walk that returns to a cell and heading sees the same picture again: long memory has an exact answer (`revisits`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidlatent.diffusion.worlds.world import WorldClip, random_stream

STAY, FORWARD, LEFT, RIGHT = range(4)
_STEPS = np.array([[0, 1], [1, 0], [0, -1], [-1, 0]])  # (y, x) of headings east, south, west, north
_HALF_VIEW = 0.75  # tangent of half the horizontal angle of view
_Floats = NDArray[np.float64]
_Grid = NDArray[np.bool_]


@dataclass(frozen=True)
class Maze:
    """A maze of `cells` x `cells` rooms.

    Args:
        size: Height and width of a frame in pixels.
        cells: Rooms along each side.
        loops: Share of the inner walls that are taken out after the maze is carved.
        frames_per_action: Frames that a step or a quarter turn takes.
    """

    size: int = 64
    cells: int = 4
    loops: float = 0.15
    frames_per_action: int = 4
    num_actions: int = 4

    def clip(self, seed: tuple[int, ...], num_frames: int) -> WorldClip:
        """A random walk that prefers to go ahead. `state`: pose (T, 3) as (y, x, heading in radians), walls (N, N)."""
        rng = random_stream(seed)
        walls, hues = carve(rng, self.cells, self.loops), rng.uniform(0, 2 * pi, (2 * self.cells + 1,) * 2)
        tint = rng.uniform(-0.8, 0.0, (2, 3))
        actions = walk(rng, walls, -(-num_frames // self.frames_per_action))
        poses = self.poses(walls, actions)[:num_frames]
        return self.acted(walls, hues, tint, poses, np.repeat(actions, self.frames_per_action)[:num_frames])

    def acted(
        self, walls: _Grid, hues: _Floats, tint: _Floats, poses: _Floats, actions: NDArray[np.int64]
    ) -> WorldClip:
        """The clip seen from `poses` (T, 3)."""
        video = np.stack([self._view(walls, hues, tint, pose) for pose in poses], 1)
        state = {"pose": torch.as_tensor(poses).float(), "walls": torch.as_tensor(walls).float()}
        return WorldClip(torch.from_numpy(video).float(), state, torch.as_tensor(actions))

    def poses(self, walls: _Grid, actions: NDArray[np.int64]) -> _Floats:
        """Poses (T, 3), `frames_per_action` for each action, from the first room facing east; walls stop a step."""
        where, heading, poses = np.array([1.0, 1.0]), 0, []
        for action in actions:
            turn = {LEFT: -1, RIGHT: 1}.get(int(action), 0)
            step = _STEPS[heading % 4] * (action == FORWARD)
            step = step * (not walls[tuple((where + step).astype(int))])
            for frame in range(self.frames_per_action):
                part = frame / self.frames_per_action
                poses.append([*(where + part * 2 * step), (heading + part * turn) * pi / 2])
            where, heading = where + 2 * step, heading + turn
        return np.array(poses)

    def _view(self, walls: _Grid, hues: _Floats, tint: _Floats, pose: _Floats) -> _Floats:
        """One frame (3, size, size): distance to the wall along each column's ray, then columns of that height."""
        columns = (2 * (np.arange(self.size) + 0.5) / self.size - 1) * _HALF_VIEW
        ahead = np.array([np.sin(pose[2]), np.cos(pose[2])])
        aside = np.array([ahead[1], -ahead[0]])
        rays = (
            ahead + columns[:, None] * aside
        )  # so that the distance found is along `ahead`: straight walls look straight
        distance, cell, side = cast(walls, pose[:2] + 0.5, rays)
        height = 1 / np.maximum(distance, 1e-3)
        rows = np.abs(2 * (np.arange(self.size) + 0.5) / self.size - 1)
        is_wall = rows[:, None] < height[None]
        hue = hues[cell[:, 0], cell[:, 1]]
        shade = np.exp(-0.12 * distance) * np.where(side, 1.0, 0.75)
        colour = shade[:, None] * (0.9 + 0.5 * np.cos(hue[:, None] - np.array([0, 2, 4]) * pi / 3)) - 0.8
        ground = tint[np.repeat([0, 1], [self.size // 2, self.size - self.size // 2])] + 0.4 * rows[:, None]
        frame = np.where(is_wall[..., None], colour[None], ground[:, None])
        return frame.transpose(2, 0, 1).clip(-1, 1)


def carve(rng: np.random.Generator, cells: int, loops: float) -> _Grid:
    """Walls (2 cells + 1, 2 cells + 1) of a maze whose rooms lie at odd coordinates, all connected."""
    walls = np.ones((2 * cells + 1,) * 2, dtype=bool)
    walls[1, 1], stack = False, [(1, 1)]
    while stack:
        y, x = stack[-1]
        ahead = [(y + 2 * dy, x + 2 * dx) for dy, dx in _STEPS]
        new = [at for at in ahead if 0 < at[0] < len(walls) and 0 < at[1] < len(walls) and walls[at]]
        if not new:
            stack.pop()
            continue
        at = new[rng.integers(len(new))]
        walls[(y + at[0]) // 2, (x + at[1]) // 2] = walls[at] = False
        stack.append(at)
    inner = [(y, x) for y in range(1, len(walls) - 1) for x in range(1, len(walls) - 1) if (y + x) % 2]
    for y, x in inner:
        walls[y, x] &= rng.uniform() >= loops
    return walls


def walk(rng: np.random.Generator, walls: _Grid, count: int) -> NDArray[np.int64]:
    """Actions of a random walk: mostly ahead where that is free, else a turn."""
    where, heading, actions = np.array([1, 1]), 0, []
    for _ in range(count):
        step = _STEPS[heading % 4]
        free = not walls[tuple(where + step)]
        action = int(rng.choice([FORWARD, LEFT, RIGHT], p=(0.7, 0.15, 0.15) if free else (0, 0.5, 0.5)))
        where, heading = where + 2 * step * (action == FORWARD), heading + {LEFT: -1, RIGHT: 1}.get(action, 0)
        actions.append(action)
    return np.array(actions)


def cast(walls: _Grid, origin: _Floats, rays: _Floats) -> tuple[_Floats, NDArray[np.int64], _Grid]:
    """First wall along each ray (N, 2) from `origin`, a wall being the unit square at its index.

    Returns its distance (N,) in lengths of the ray, its cell (N, 2), and whether its west or east side was hit (N,).
    """
    with np.errstate(divide="ignore"):
        pace = np.abs(1 / rays)  # distance from one grid line to the next, along (y, x)
    cell = np.tile(np.floor(origin).astype(np.int64), (len(rays), 1))
    ahead = np.where(rays < 0, origin - cell, cell + 1 - origin)
    reach = np.where(np.isinf(pace), np.inf, ahead * pace)
    distance, hit, axis = np.zeros(len(rays)), np.zeros(len(rays), dtype=bool), np.zeros(len(rays), dtype=np.int64)
    index = np.arange(len(rays))
    while not hit.all():
        nearest = reach.argmin(1)
        axis = np.where(hit, axis, nearest)
        distance = np.where(hit, distance, reach[index, nearest])
        moving = index[~hit]
        cell[moving, nearest[moving]] += np.where(rays[moving, nearest[moving]] < 0, -1, 1)
        reach[moving, nearest[moving]] += pace[moving, nearest[moving]]
        hit = walls[cell[:, 0], cell[:, 1]]
    return distance, cell, axis == 1


def revisits(pose: Tensor, *, apart: int) -> Tensor:
    """Pairs (N, 2) of frames at least `apart` frames from each other with the same pose; all clips' T x 3 poses go in.

    What a generated clip shows there should be the same: PSNR between the pairs' frames measures its memory.
    """
    place = torch.stack([pose[:, 0], pose[:, 1], pose[:, 2].cos(), pose[:, 2].sin()], 1)
    same = torch.cdist(place, place) < 1e-3
    return torch.triu(same, apart).nonzero()


def memory(video: Tensor, pose: Tensor, *, apart: int) -> tuple[float, float]:
    """PSNR between frames of one pose in a clip (3, T, H, W), `apart` frames or more from each other, and of others.

    In dB, over all such pairs. The first is what is remembered, the second what frames of any two places have in
    common; nan where no place is seen again.
    """
    same = torch.zeros(len(pose), len(pose), dtype=torch.bool)
    same[tuple(revisits(pose, apart=apart).T)] = True
    others = torch.triu(torch.ones_like(same), apart) & ~same
    frames = video.transpose(0, 1).flatten(1).double() / 2
    errors = torch.cdist(frames, frames).square() / frames.shape[1]
    again, elsewhere = (float(-10 * errors[pairs].mean().log10()) for pairs in (same, others))
    return again, elsewhere
