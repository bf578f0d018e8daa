# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Is there room for the view? Asked before its first byte is written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from lerobot_wallwm.processors.episodes import SourceDataset
from lerobot_wallwm.processors.errors import DataError

# Our choice: rows, metadata and a filesystem's own needs, beside the videos.
_MARGIN = 1.05
NO_SPACE = (
    "free some space, choose an --out.root on the source's disk (videos are then linked, unless --copy_videos=true), "
    "or prepare fewer episodes"
)


def existing_parent(path: Path) -> Path:
    """`path`, or its nearest parent that exists."""
    return path if path.exists() else existing_parent(path.absolute().parent)


def will_link(source: Path, out: Path) -> bool:
    """Whether a hard link from `source` can lie in `out`: both are on one filesystem."""
    return os.stat(source).st_dev == os.stat(existing_parent(out)).st_dev


def view_bytes(
    source: SourceDataset, out: Path, episodes: Iterable[int], copy_videos: bool, weight: float = 1.0
) -> int:
    """Bytes that a view of these source episodes writes, estimated from the sizes of the source's files.

    Args:
        source: The dataset that is carved.
        out: The view's folder; decides whether videos can be linked.
        episodes: Source episodes in the view.
        copy_videos: Videos are copied even where they could be linked.
        weight: Rows of the view per row of the source, more than 1 where events are written several times.
    """
    wanted = set(episodes)
    videos: set[Path] = set()
    rows: dict[Path, int] = {}
    frames: dict[Path, int] = {}
    for position, episode in enumerate(source.episode_indices):
        meta = source.meta(position)
        data = source.data_path(meta)
        frames[data] = frames.get(data, 0) + meta["length"]
        if episode in wanted:
            rows[data] = rows.get(data, 0) + meta["length"]
            videos.update(source.video_path(meta, key) for key in source.video_keys)
    size = sum(_size(path) * count / max(frames[path], 1) for path, count in rows.items()) * weight
    if copy_videos or not will_link(source.root, out):
        size += sum(_size(path) for path in videos)
    return int(size)


def check_space(out: Path, needed: int) -> None:
    """Refuses to begin what the disk cannot hold.

    Raises:
        DataError: If `needed` bytes and a margin of 5 % do not fit beside `out`.
    """
    free = shutil.disk_usage(existing_parent(out)).free
    if needed * _MARGIN > free:
        raise DataError(
            out,
            "disk space",
            f"about {_human(needed * _MARGIN)} are needed, {_human(free)} are free",
            NO_SPACE,
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _human(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
