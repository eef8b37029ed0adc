"""The same job on one worker, several, launched processes and Ray gives the same dataset."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from encode_helpers import assert_same, clips_of, encode, make_model, make_videos, needs_ray
from torch import Tensor

from vidlatent.encode.engines.launched import placement
from vidlatent.encode.pipeline.worker import TooManyFailures
from vidlatent.errors import InputError


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_videos(tmp_path_factory.mktemp("videos"), 12)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "m.safetensors")


@pytest.fixture(scope="module")
def alone(videos: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    out = tmp_path_factory.mktemp("alone")
    encode(videos, out, model)
    return clips_of(out)


@pytest.mark.parametrize("workers", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_several_workers_of_one_machine(
    tmp_path: Path, videos: Path, model: Path, alone: dict[str, Tensor], workers: int
) -> None:
    stats = encode(videos, tmp_path, model, workers=workers)
    assert (stats.clips, stats.rows, stats.total) == (len(alone), 12, 12)
    assert_same(clips_of(tmp_path), alone)
    assert (tmp_path / "stats.json").exists()
    assert len({name.split("-")[0] for name in os.listdir(tmp_path / "shards")}) == workers
    assert encode(videos, tmp_path, model).skipped == 12


@pytest.mark.slow
def test_too_many_failures_of_all_workers_together(tmp_path: Path, videos: Path, model: Path) -> None:
    source = Path(shutil.copytree(videos, tmp_path / "videos"))
    for number in range(8):
        (source / f"bad {number}.mp4").write_bytes(bytes([number]))
    with pytest.raises(TooManyFailures, match="no more than 3 may"):
        encode(source, tmp_path / "out", model, workers=2, max_failures=3)
    assert len((tmp_path / "out/failures.jsonl").read_text().splitlines()) > 3
    assert encode(source, tmp_path / "out", model, workers=2).failures <= 8


def launch(out: Path, videos: Path, model: Path, processes: int) -> None:
    arguments = ["--frames", "8", "--tail", "keep", "--decoders", "1", "--device", "cpu", "--engine", "accelerate"]
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(processes)]
    command = [*launcher, "--main_process_port", "0", "-m", "vidlatent", "encode-dataset", videos, "-o", out]
    done = subprocess.run(
        [*map(str, command), "--model", str(model), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_processes_of_accelerate_launch(tmp_path: Path, videos: Path, model: Path, alone: dict[str, Tensor]) -> None:
    launch(tmp_path, videos, model, 2)
    assert_same(clips_of(tmp_path), alone)
    assert len({name.split("-")[0] for name in os.listdir(tmp_path / "shards")}) == 2
    assert (tmp_path / "stats.json").exists()


def test_where_a_launched_process_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert placement() == (0, 1, 0, 1)
    for name, value in (("SLURM_PROCID", "9"), ("SLURM_NTASKS", "16"), ("SLURM_LOCALID", "1")):
        monkeypatch.setenv(name, value)
    assert placement()[:3] == (9, 16, 1)
    monkeypatch.setenv("RANK", "20")
    with pytest.raises(InputError, match="process 20 of 16"):
        placement()


@pytest.fixture
def cluster() -> Any:
    """Three worker nodes of one core beside a head that takes no work."""
    ray = needs_ray()
    from ray.cluster_utils import Cluster

    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0"}
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(3):
        nodes.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    ray.init(address=nodes.address, log_to_driver=False)
    yield nodes
    ray.shutdown()
    nodes.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_ray_with_a_node_killed_in_the_middle(
    tmp_path: Path, videos: Path, model: Path, alone: dict[str, Tensor], cluster: Any
) -> None:
    killed: list[float] = []

    def kill_one(stats: Any) -> None:
        if stats.rows >= 3 and not killed:
            killed.append(time.monotonic())
            cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)

    encode(videos, tmp_path / "ray", model, engine="ray", workers=3, progress=kill_one)
    assert killed
    assert_same(clips_of(tmp_path / "ray"), alone)
    assert not [name for name in os.listdir(tmp_path / "ray/shards") if name.endswith(".part")]
    # Whatever engine began it, another goes on with it.
    assert encode(videos, tmp_path / "ray", model).skipped == 12
