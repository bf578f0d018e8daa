# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Is there room for the output? Asked before anything is written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lerobot_wallwm.processors.source.episodes import SourceDataset, uncompressed_size
from lerobot_wallwm.storage.disk import readable_size, require_space
from lerobot_wallwm.storage.errors import DataError

# Our choices. Rows are written with another compression than the source's, so its uncompressed size is the bound.
_ROWS_FACTOR = 1.1
_BYTES_PER_FRAME = 64  # event tables, cleaning report, metadata
_LEAST = 1_000_000


@dataclass(frozen=True)
class SpaceEstimate:
    """Bytes that an output needs: tables, and videos where they cannot be hard-linked or copies are asked for."""

    rows: int
    copies: int
    asked: bool = False


def can_link(source: Path, folder: Path) -> bool:
    """Whether a file of the source can be hard-linked into a folder. Tried: a common device is not enough."""
    probe = folder / f".link-{os.getpid()}"
    try:
        os.link(source.resolve(), probe)
    except OSError:
        return False
    probe.unlink()
    return True


def estimate_space(
    source: SourceDataset,
    folder: Path,
    splits: Sequence[Iterable[int]],
    copy_videos: bool = False,
    weight: float = 1.0,
) -> SpaceEstimate:
    """How much the views of a dataset need at most in `folder`, which exists.

    Files that are missing or damaged count as nothing, because no view uses them.

    Args:
        splits: Episode indices of each view. Two views that share a video file need a copy each.
        weight: Rows of the views per row of the source, more than 1 where events are written several times.
    """
    position = {episode: i for i, episode in enumerate(source.episode_indices)}
    frames, videos = 0, 0
    data: set[Path] = set()
    probe: Path | None = None
    for episodes in splits:
        used: set[Path] = set()
        for episode in episodes:
            meta = source.meta(position[episode])
            frames += meta["length"] or 0
            data.add(source.data_path(meta))
            keys = (key for key in source.video_keys if source.has_video(meta, key))
            used.update(source.video_path(meta, key) for key in keys)
        present = sorted(path for path in used if path.is_file())
        videos += sum(path.stat().st_size for path in present)
        probe = probe or next(iter(present), None)
    rows = 0
    for path in data:
        with contextlib.suppress(DataError):
            rows += uncompressed_size(path)
    linked = not copy_videos and (probe is None or can_link(probe, folder))
    tables = int(_ROWS_FACTOR * rows * max(weight, 1.0)) + _BYTES_PER_FRAME * frames + _LEAST
    return SpaceEstimate(tables, 0 if linked else videos, copy_videos)


def check_space(estimate: SpaceEstimate, out: Path) -> None:
    """Compares an estimate with what is free; raises `DataError` where there is not enough."""
    parts = f"{readable_size(estimate.rows)} of tables"
    fix = "free some space, or choose another --out.root"
    if estimate.copies:
        why = "which --copy_videos=true copies" if estimate.asked else "which cannot be hard-linked there"
        parts += f" and {readable_size(estimate.copies)} of videos, {why}"
        fix += "; on the source's own file system videos are hard-linked and need no space"
        fix += " without --copy_videos=true" if estimate.asked else ""
    require_space(out, estimate.rows + estimate.copies, parts, fix)
