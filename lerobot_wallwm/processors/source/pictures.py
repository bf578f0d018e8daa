# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The one decoder of a dataset's pictures, whether they lie in videos or in the rows.

PyAV reads neighbouring frames faster than a seek per frame would, and its scaler makes a small picture without a large one
in between. At full size its pictures equal those that LeRobot decodes for training, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.storage.errors import DataError

_FIX = "record or download it again, or remove its episodes with `lerobot-edit-dataset`"
# Seconds between two frames from which a seek is tried. Our choice: a dozen small frames decode in the time of a seek.
_SEEK_S = 0.5


def pictures(
    source: SourceDataset,
    meta: Mapping[str, Any],
    camera: str,
    frames: Sequence[int] | None = None,
    *,
    width: int | None = None,
    short_side: int | None = None,
    gray: bool = False,
) -> Iterator[np.ndarray]:
    """Yields frames of one camera and episode one at a time, so that memory does not grow with their number.

    A row's frame is the one at the row's `timestamp` plus the episode's `from_timestamp` (`meta` is its `SourceDataset.meta`),
    as in LeRobot.

    Args:
        frames: Rows of the episode, counted from its first; fastest in ascending order. None: all.
        width: Pixels; the height follows from the camera.
        short_side: The same for the shorter side. Without either, pictures keep their size.
        gray: One channel instead of three.

    Yields:
        (H, W, 3) RGB or (H, W) gray, uint8.

    Raises:
        DataError: The file is missing or damaged, or has no frame within half a frame of a row's time.
    """

    def size(tall: int, wide: int) -> tuple[int, int]:
        """(width, height), in proportion."""
        if width is not None:
            return width, max(1, round(width * tall / wide))
        if short_side is not None:
            scale = short_side / min(tall, wide)
            return max(short_side, round(wide * scale)), max(short_side, round(tall * scale))
        return wide, tall

    episode = dict(meta)
    rows = source.rows(episode)
    chosen = range(len(rows)) if frames is None else frames
    if max(chosen, default=0) >= len(rows):
        raise DataError(source.data_path(episode), camera, f"ends before frame {max(chosen)}", _FIX)
    if camera not in source.video_keys:
        yield from _from_rows(source, episode, rows, camera, chosen, size, gray)
        return
    if not source.has_video(episode, camera):
        raise DataError(source.root, camera, f"episode_index {episode['episode_index']} has no video", _FIX)
    clock = rows.column("timestamp").to_numpy().astype(np.float64)
    times = float(episode[f"videos/{camera}/from_timestamp"]) + clock[list(chosen)]
    path, kind = source.video_path(episode, camera), "gray" if gray else "rgb24"
    for frame in _from_video(path, times.tolist(), 0.5 / source.fps, all_frames=frames is None):
        wide, tall = size(frame.height, frame.width)
        yield frame.reformat(wide, tall, kind, interpolation="AREA").to_ndarray()


def _from_video(path: Path, times: Sequence[float], half: float, all_frames: bool) -> Iterator[Any]:
    """The `av.VideoFrame` within `half` a frame of each time (seconds)."""
    import av

    if not path.is_file():
        raise DataError(path, "file", "is missing", _FIX)
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DataError(path, "video", "holds no video stream", _FIX)
            stream = container.streams.video[0]
            if not stream.time_base:
                raise DataError(path, "video", "has no time base", _FIX)
            base = float(stream.time_base)
            if all_frames:
                stream.thread_type = "AUTO"  # several frames at once, which a seek would throw away
            decoder, seek_helps = container.decode(stream), True
            frame, at, before = None, float("inf"), float("inf")
            for time in times:
                if time < at - half or (seek_helps and time > at + _SEEK_S):
                    container.seek(max(0, int((time - half) / base)), stream=stream, backward=True)
                    decoder, frame, at, before = container.decode(stream), None, float("-inf"), at
                while frame is None or at < time - half:
                    first, frame = frame is None, next(decoder, None)
                    if frame is None:
                        raise DataError(path, "video", f"ends before {time:.3f} s", _FIX)
                    at = at if frame.pts is None else frame.pts * base
                    if first and at <= before <= time:
                        seek_helps = False  # keyframes are rare: decoding straight ahead is faster
                if at > time + half:
                    raise DataError(path, "video", f"has no frame at {time:.3f} s", _FIX)
                yield frame
    except (av.error.FFmpegError, OSError) as error:
        raise DataError(path, "video", f"is truncated or damaged ({error})", _FIX) from error


def _from_rows(
    source: SourceDataset,
    meta: dict[str, Any],
    rows: pa.Table,
    camera: str,
    frames: Sequence[int],
    size: Callable[[int, int], tuple[int, int]],
    gray: bool,
) -> Iterator[np.ndarray]:
    """Pictures that lie in the rows as `{bytes, path}`, as `datasets.Image` stores them."""
    import cv2

    path = source.data_path(meta)
    if camera not in rows.column_names:
        raise DataError(path, camera, "column is missing", _FIX)
    column = rows.column(camera)
    for frame in frames:
        cell = column[frame].as_py() or {}
        try:
            content = cell.get("bytes") or _inside(source.root, cell.get("path")).read_bytes()
            flags = cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR_RGB
            picture = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
        except (OSError, cv2.error) as error:
            raise DataError(path, camera, f"frame {frame} cannot be read ({error})", _FIX) from error
        if picture is None:
            raise DataError(path, camera, f"frame {frame} cannot be read (no picture)", _FIX)
        wanted = size(*picture.shape[:2])
        same = picture.shape[1::-1] == wanted
        yield picture if same else cv2.resize(picture, wanted, interpolation=cv2.INTER_AREA)


def _inside(root: Path, path: Any) -> Path:
    """A file that a row names, which must lie in the dataset: a row must not send other files to a server."""
    whole = (root / str(path)).resolve()
    if not path or not whole.is_relative_to(root.resolve()):
        raise OSError("names no file inside the dataset")
    return whole
