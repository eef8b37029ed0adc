"""A world as an endless stream of clips for training, the same for the same seed, that can go on where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import IterableDataset

from vidlatent.diffusion.worlds.world import World, WorldClip
from vidlatent.errors import InputError

TRAIN, VALIDATION = 0, 1


class WorldStream(IterableDataset[Any]):
    """Clips number rank, rank + world_size, ... of a world; clip i has the seed (seed, split, i).

    Args:
        world: Where the clips come from.
        num_frames: Frames of each clip.
        seed: Of the stream; another split has other clips under the same seed.
        split: `TRAIN` or `VALIDATION`.
        transform: What is yielded instead of the `WorldClip`, for example its latents.
        rank, world_size: This process's share.

    `state_dict` counts what was yielded; `load_state_dict` goes on behind it.
    """

    def __init__(
        self,
        world: World,
        *,
        num_frames: int,
        seed: int = 0,
        split: int = TRAIN,
        transform: Callable[[WorldClip], Any] | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if num_frames < 1 or not 0 <= rank < world_size:
            raise InputError(f"num_frames={num_frames}, rank={rank} of {world_size}: both count from 1 and 0")
        self.world, self.num_frames, self.seed, self.split = world, num_frames, seed, split
        self.transform, self.rank, self.world_size = transform, rank, world_size
        self.taken = 0

    def __iter__(self) -> Iterator[Any]:
        while True:
            item = self[self.taken * self.world_size + self.rank]
            self.taken += 1
            yield item

    def __getitem__(self, index: int) -> Any:
        clip = self.world.clip((self.seed, self.split, index), self.num_frames)
        return clip if self.transform is None else self.transform(clip)

    def state_dict(self) -> dict[str, Any]:
        return {"taken": self.taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.taken = int(state["taken"])
