# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A carved view as a dataset of the Hub that needs no other: real files, its own card, LeRobot's version tag."""

from __future__ import annotations

import contextlib
from pathlib import Path

from lerobot_wallwm.hub.files.portable import NotPortableError
from lerobot_wallwm.hub.files.safe_files import check_names, read_object
from lerobot_wallwm.hub.files.safe_settings import is_path, is_url, strings
from lerobot_wallwm.hub.remote.errors import patiently
from lerobot_wallwm.hub.remote.push import Pushed, push_files
from lerobot_wallwm.language.view_facts import read_view

CARD = "README.md"
_SETTINGS = ("meta/info.json", "meta/wallwm.json")


def view_files(root: Path) -> dict[str, Path]:
    """Files of a view by their path in the repository, without hidden ones; ValueError for what is no data."""
    files = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if any(part.startswith(".") for part in name.split("/")) or path.is_dir():
            continue
        if not path.is_file():
            raise ValueError(f"{path}: leads to no file. Fix: carve the view again")
        files[name] = path
    check_names(files)
    return files


def check_view(root: Path, repo_id: str) -> dict[str, Path]:
    """`view_files`, if the view is whole and nothing in it leads elsewhere; else ValueError, naming file and fix."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    read_view(root)
    again = "carve the view again with `wallwm prepare --out.copy_videos=true`"
    files = view_files(root)
    if CARD not in files:
        raise ValueError(f"{root / CARD}: there is no card. Fix: {again}")
    for name in (name for name in _SETTINGS if (root / name).is_file()):
        for keys, text in strings(read_object(root / name)):
            if is_path(text) or is_url(text):
                raise NotPortableError(
                    f"{root / name}: {'.'.join(keys)} leads to another place ({text[:120]!r}), which nobody else has. "
                    f"Fix: {again}"
                )
    try:
        dataset = LeRobotDataset(repo_id, root=root)
        for index in {0, len(dataset) - 1}:
            dataset[index]  # decodes its frames
        meta, episodes = dataset.meta, range(dataset.meta.total_episodes)
        expected = {str(meta.get_data_file_path(i)) for i in episodes}
        expected |= {str(meta.get_video_file_path(i, key)) for i in episodes for key in meta.video_keys}
    except Exception as error:  # whatever LeRobot finds wrong with it, a reader would find, too
        raise ValueError(f"{root}: LeRobot cannot load it ({error}). Fix: {again}") from error
    for absent in sorted(expected - files.keys())[:1]:
        raise ValueError(f"{root / absent}: there is no such file. Fix: {again}")
    return files


def publish_dataset(
    root: Path, repo_id: str, *, private: bool | None = None, branch: str | None = None
) -> Pushed:
    """Publishes a view in one commit, and moves LeRobot's version tag to it; returns the commit.

    Raises:
        ValueError: The view is not whole, or the Hub refused.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RevisionNotFoundError

    root = root.expanduser()
    files = check_view(root, repo_id)
    size = sum(path.stat().st_size for path in files.values())
    print(f"{len(files)} files, {size:,} bytes")
    pushed = push_files(
        files,
        repo_id,
        repo_type="dataset",
        private=private,
        branch=branch,
        message="Publish a dataset of events",
        managed=("data/*", "videos/*", "meta/*"),
    )
    if branch is not None:
        return pushed
    # LeRobot finds a dataset by this tag.
    tag = str(read_object(root / "meta" / "info.json")["codebase_version"])
    api = HfApi()

    def move_tag() -> None:
        refs = api.list_repo_refs(repo_id, repo_type="dataset")
        if any(ref.name == tag and ref.target_commit == pushed.commit for ref in refs.tags):
            return
        with contextlib.suppress(RevisionNotFoundError):
            api.delete_tag(repo_id, tag=tag, repo_type="dataset")
        api.create_tag(repo_id, tag=tag, revision=pushed.commit, repo_type="dataset")

    patiently(move_tag, "tagging", repo_id)
    return pushed
