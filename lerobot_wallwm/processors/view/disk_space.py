# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Is there room for the output? Asked before anything is written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.storage.disk import readable_size, require_space

# Our choices. Rows are written with another compression than the source's, so its uncompressed size is the bound.
_ROWS_FACTOR = 1.1
_BYTES_PER_FRAME = 64  # event tables, cleaning report, metadata
_LEAST = 1_000_000


def can_link(source: Path, folder: Path) -> bool:
    """Whether a file of the source can be hard-linked into a folder. Tried: a common device is not enough."""
    probe = folder / f".link-{os.getpid()}"
    try:
        os.link(source.resolve(), probe)
    except OSError:
        return False
    probe.unlink()
    return True


def needed_space(
    source: SourceDataset,
    folder: Path,
    views: Sequence[Iterable[int]],
    copy_videos: bool = False,
    weight: float = 1.0,
) -> tuple[int, int]:
    """Bytes that views of a dataset need at most in `folder`, which exists: for tables, and for videos that are copied.

    Files that are missing or damaged count as nothing, because no view uses them.

    Args:
        views: Episode indices of each view. Two views that share a video file need a copy each.
        weight: Rows of the views per row of the source, more than 1 where events are written several times.
    """
    position = {episode: i for i, episode in enumerate(source.episode_indices)}
    metas = [[source.meta(position[episode]) for episode in view] for view in views]
    tables = 0
    for path in {source.data_path(meta) for view in metas for meta in view}:
        with contextlib.suppress(OSError, pa.ArrowException):
            footer = pq.ParquetFile(path).metadata
            tables += sum(footer.row_group(i).total_byte_size for i in range(footer.num_row_groups))
    frames = sum(meta["length"] or 0 for view in metas for meta in view)
    tables = int(_ROWS_FACTOR * tables * max(weight, 1.0)) + _BYTES_PER_FRAME * frames + _LEAST
    videos: list[Path] = []
    for view in metas:
        keys = ((meta, key) for meta in view for key in source.video_keys if source.has_video(meta, key))
        videos += filter(Path.is_file, {source.video_path(meta, key) for meta, key in keys})
    linked = not copy_videos and (not videos or can_link(videos[0], folder))
    return tables, 0 if linked else sum(path.stat().st_size for path in videos)


def check_space(tables: int, videos: int, out: Path, asked: bool = False) -> None:
    """Compares `needed_space` with what is free; raises `DataError` where there is not enough. `asked`: copies are."""
    parts = f"{readable_size(tables)} of tables"
    fix = "free some space, or choose another --out.root"
    if videos:
        why = "which --copy_videos=true copies" if asked else "which cannot be hard-linked there"
        parts += f" and {readable_size(videos)} of videos, {why}"
        fix += "; on the source's own file system videos are hard-linked and need no space"
        fix += " without --copy_videos=true" if asked else ""
    require_space(out, tables + videos, parts, fix)
