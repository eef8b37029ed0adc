"""Models from the Hugging Face hub, through its own client: its cache, its token, its offline mode."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from vidlatent.autoencoders.diffusers_format import CONFIG, INDEX, PIPELINE, SHARDS, WEIGHTS, find_folder, read_config
from vidlatent.errors import ModelError


def fetch(repo_id: str, subfolder: str | None, revision: str | None = None, *, with_weights: bool = True) -> Path:
    """Download (or find in the cache) the autoencoder of a repository, and return its folder.

    The configuration comes first, so that a model of another kind is refused before its weights are downloaded; of a
    pipeline only the autoencoder's files are. `revision` is a branch, a tag or a commit. Raises `ModelError` where it
    cannot be had.
    """
    places = [subfolder] if subfolder else ["", "vae"]
    root = _snapshot(repo_id, [PIPELINE, *(_join(place, CONFIG) for place in places)], revision=revision)
    folder = find_folder(root, subfolder)
    read_config(folder)
    if with_weights:
        place = folder.relative_to(root).as_posix()
        names = [_join(place, name) for name in (CONFIG, WEIGHTS, INDEX, SHARDS)]
        _snapshot(repo_id, names, revision=root.name)  # the same commit, whatever is pushed meanwhile
    return folder


def _snapshot(repo_id: str, patterns: list[str], *, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repo_id, revision=revision, allow_patterns=patterns))
    except Exception as error:  # the client's network stack has errors of its own, and changes them
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        version = f" at revision {revision!r}" if revision else ""
        raise ModelError(
            f"{repo_id}{version}: not to be had from the Hugging Face hub ({type(error).__name__}: {reason}). Check "
            "the name and the connection (HF_HUB_OFFLINE uses the cache only), log in with `hf auth login` if it is "
            "gated, or give a local folder"
        ) from error


def _join(place: str, name: str) -> str:
    return str(PurePosixPath(place) / name)
