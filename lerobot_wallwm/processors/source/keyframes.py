# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Single pictures of a dataset, decoded as LeRobot decodes them for training."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.storage.errors import DataError


def read_frames(source: SourceDataset, position: int, frames: Sequence[int]) -> dict[str, np.ndarray]:
    """Pictures of one episode.

    Args:
        source: The dataset.
        position: Of the episode in it.
        frames: Frames counted from the episode's first.

    Returns:
        Camera key to ``(N, H, W, 3)`` uint8; a camera whose columns are empty in this episode is left out.

    Raises:
        DataError: A video is missing or damaged, or lacks the frame; names the file.
    """
    meta = source.meta(position)
    rows = source.rows(meta)
    clock = rows.column("timestamp").to_numpy().astype(np.float64)
    pictures: dict[str, np.ndarray] = {}
    for key in source.camera_keys:
        if key not in source.video_keys:
            pictures[key] = np.stack([_picture(rows.column(key)[frame].as_py()) for frame in frames])
        elif meta[f"videos/{key}/from_timestamp"] is not None:
            pictures[key] = _video_frames(source, meta, key, clock[list(frames)])
    return pictures


def _video_frames(source: SourceDataset, meta: dict[str, Any], key: str, clock: np.ndarray) -> np.ndarray:
    from lerobot.datasets.video_utils import decode_video_frames

    path = source.video_path(meta, key)
    if not path.is_file():
        raise DataError(path, "file", "is missing", "record or download the video again")
    times = meta[f"videos/{key}/from_timestamp"] + clock
    try:
        # Half a frame: the nearest picture is the right one, any other would be a neighbour's.
        decoded = decode_video_frames(path, times.tolist(), 0.5 / source.fps, return_uint8=True)
    except (RuntimeError, ValueError, OSError, IndexError) as error:
        problem = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            path,
            f"{key}, episode {meta['episode_index']}",
            f"a keyframe does not decode ({problem})",
            "record or download the video again, or remove the episode with `lerobot-edit-dataset`",
        ) from error
    return decoded.permute(0, 2, 3, 1).numpy()


def _picture(cell: Any) -> np.ndarray:
    """An image column's cell, as `datasets.Image` stores it."""
    from PIL import Image

    content = cell["bytes"] if cell.get("bytes") else open(cell["path"], "rb").read()  # noqa: SIM115
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))
