# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Room on a disk: asked for before the work, and one clear error where it runs out all the same."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.storage.errors import DataError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
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
    parts = f"{_readable(tables)} of tables"
    fix = "free some space, or choose another --out.root"
    if videos:
        why = "which --copy_videos=true copies" if asked else "which cannot be hard-linked there"
        parts += f" and {_readable(videos)} of videos, {why}"
        fix += "; on the source's own file system videos are hard-linked and need no space"
        fix += " without --copy_videos=true" if asked else ""
    whole = Path(out).absolute()
    free = shutil.disk_usage(next(path for path in (whole, *whole.parents) if path.exists())).free
    if free < tables + videos:
        wanted = f"up to {_readable(tables + videos)} are needed ({parts})"
        raise DataError(out, "free space", f"is {_readable(free)}, but {wanted}; nothing was written", fix)


@contextlib.contextmanager
def full_disk_explained(out: str | Path) -> Iterator[None]:
    """Turns a full disk, a quota or a file size limit into a `DataError`. The block itself must remove what it wrote."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise DataError(
            out,
            "free space",
            f"ran out while writing ({os.strerror(error.errno)}); what was written is removed again",
            "free some space (or raise the quota or `ulimit -f`), or choose another --out.root, and start again",
        ) from error


def _readable(size: float) -> str:
    """Bytes for a person, in units of 1000: `12 B`, `3.4 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
