# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Decodes one camera of one episode as small grey frames, one at a time, so that memory does not grow with its length.

PyAV reads a whole episode faster than a seek per frame would, and its scaler makes the small grey picture without an RGB
one in between. Which frame belongs to which row is LeRobot's rule: the row's `timestamp` plus the episode's
`from_timestamp`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.storage.errors import DataError

# Our choice: at 96 pixels a 200-pixel-a-second motion is still 5 pixels a frame at 20 Hz, and DIS takes 0.2 ms.
SHORT_SIDE = 96
_FIX = "record or download it again, or remove its episodes with `lerobot-edit-dataset`"


def cameras_of(source: SourceDataset, position: int) -> list[str]:
    """The cameras that this episode has; a dataset may lack some in some episodes."""
    meta = source.meta(position)
    lacking = [key for key in source.video_keys if meta[f"videos/{key}/from_timestamp"] is None]
    return [key for key in source.camera_keys if key not in lacking]


def gray_frames(
    source: SourceDataset, position: int, key: str, short_side: int = SHORT_SIDE
) -> Iterator[np.ndarray]:
    """Yields one (H, W) uint8 frame per row of the episode, scaled so that its shorter side is `short_side` pixels.

    Raises:
        DataError: The video is missing, damaged, or has no frame for a row.
    """
    if key in source.video_keys:
        return _from_video(source, position, key, short_side)
    return _from_images(source, position, key, short_side)


def _scaled_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """(height, width), kept in proportion."""
    scale = short_side / min(height, width)
    return max(short_side, round(height * scale)), max(short_side, round(width * scale))


def _from_video(source: SourceDataset, position: int, key: str, short_side: int) -> Iterator[np.ndarray]:
    import av

    meta = source.meta(position)
    path = source.video_path(meta, key)
    clock = source.rows(meta).column("timestamp").to_numpy().astype(np.float64)
    wanted = float(meta[f"videos/{key}/from_timestamp"]) + clock
    half = 0.5 / source.fps
    if not path.is_file():
        raise DataError(path, "file", "is missing", _FIX)
    done = 0
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DataError(path, "video", "holds no video stream", _FIX)
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            base = float(stream.time_base or 0)
            if base <= 0:
                raise DataError(path, "video", "has no time base", _FIX)
            container.seek(max(0, int((wanted[0] - half) / base)), stream=stream, backward=True)
            for frame in container.decode(stream):
                at = float(frame.pts) * base
                if at < wanted[done] - half:
                    continue
                if at > wanted[done] + half:
                    raise DataError(
                        path,
                        "video",
                        f"has no frame at {wanted[done]:.3f} s (episode_index {meta['episode_index']}, row {done})",
                        _FIX,
                    )
                height, width = _scaled_size(frame.height, frame.width, short_side)
                yield frame.reformat(width, height, "gray", interpolation="AREA").to_ndarray()
                done += 1
                if done == len(wanted):
                    return
    except (av.error.FFmpegError, OSError) as error:
        raise DataError(path, "video", f"is truncated or damaged ({error})", _FIX) from error
    raise DataError(
        path, "video", f"ends before {wanted[done]:.3f} s (episode_index {meta['episode_index']})", _FIX
    )


def _from_images(source: SourceDataset, position: int, key: str, short_side: int) -> Iterator[np.ndarray]:
    import cv2

    meta = source.meta(position)
    for row, cell in enumerate(source.rows(meta).column(key)):
        picture = _decoded(cell.as_py(), source.root)
        if picture is None:
            raise DataError(
                source.data_path(meta),
                key,
                f"is no readable image at episode_index {meta['episode_index']}, row {row}",
                _FIX,
            )
        height, width = _scaled_size(picture.shape[0], picture.shape[1], short_side)
        yield cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def _decoded(cell: dict[str, Any] | None, root: Path) -> np.ndarray | None:
    """A `datasets.Image` cell, `{bytes, path}`, as a grey picture."""
    import cv2

    if not cell:
        return None
    data = cell.get("bytes")
    if data is None and cell.get("path"):
        file = root / cell["path"]
        data = file.read_bytes() if file.is_file() else None
    return None if data is None else cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
