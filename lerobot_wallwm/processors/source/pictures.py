# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Pictures of a dataset: the decoder of videos and of image columns."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.storage.errors import DataError


def video_frames(path: Path, times: Sequence[float], fps: float, width: int) -> list[Image.Image]:
    """Frames of a video at ascending `times` (seconds), `width` pixels wide.

    Raises:
        OSError, av.error.FFmpegError: The video is missing, damaged or too short.
    """
    import av

    images: list[Image.Image] = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        base = float(stream.time_base or 1 / 90000)
        position, seek_helps, frames = -1.0, True, None
        for time in times:
            if frames is None or (seek_helps and time - position > 0.5):
                container.seek(max(0, int((time - 0.5 / fps) / base)), stream=stream, backward=True)
                frames, before = container.decode(stream), position
                position = -1.0
            else:
                before = -1.0
            for frame in frames:
                first, position = position < 0, float((frame.pts or 0) * base)
                if first and position <= before:
                    seek_helps = False  # keyframes are rare: from here on decoding straight ahead is cheaper
                if position >= time - 0.5 / fps:
                    height = max(1, round(width * frame.height / frame.width))
                    images.append(frame.to_image(width=width, height=height, interpolation="AREA"))
                    break
            else:
                raise OSError(f"{path.name} ends at {position:.3f} s, before the frame at {time:.3f} s")
    return images


def episode_images(
    source: SourceDataset, meta: dict[str, Any], key: str, frames: Sequence[int], width: int
) -> list[Image.Image]:
    """The given frames of one episode and camera, whether it is stored as a video or as images."""
    if key in source.video_keys:
        start = float(meta[f"videos/{key}/from_timestamp"])
        times = [start + frame / source.fps for frame in frames]
        return video_frames(source.video_path(meta, key), times, source.fps, width)
    column = source.rows(meta).column(key)
    images = []
    for frame in frames:
        cell = column[frame].as_py()
        image = Image.open(
            io.BytesIO(cell["bytes"]) if cell.get("bytes") else source.root / cell["path"]
        ).convert("RGB")
        images.append(image.resize((width, max(1, round(width * image.height / image.width)))))
    return images


_FIX = "record or download the video again"


def read_frames(
    source: SourceDataset, meta: Mapping[str, Any], camera: str, frames: Sequence[int], width: int
) -> list[Image.Image]:
    """Frames of one camera, shrunk to `width` pixels.

    Args:
        source: The dataset.
        meta: The episode's row (`SourceDataset.meta`).
        camera: A video or image feature.
        frames: Ascending, counted from the episode's first frame.
        width: Pixels; the height follows from the camera.

    Raises:
        DataError: If the camera's file is missing or damaged, or lacks a frame.
    """
    if camera in source.video_keys:
        path = source.video_path(dict(meta), camera)
        start = float(meta[f"videos/{camera}/from_timestamp"])
        return _from_video(path, [start + frame / source.fps for frame in frames], source.fps, width)
    return _from_rows(source, dict(meta), camera, frames, width)


def _from_video(path: Path, times: Sequence[float], fps: float, width: int) -> list[Image.Image]:
    """Decodes forward over ascending times and seeks where more than a second lies between two of them."""
    import av

    found: list[Image.Image] = []
    if not path.is_file():
        raise DataError(path, "file", "is missing", _FIX)
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DataError(path, "video", "holds no video stream", _FIX)
            stream = container.streams.video[0]
            base = stream.time_base
            if base is None or not stream.width or not stream.height:
                raise DataError(path, "video", "has no time base or size", _FIX)
            height = max(1, round(width * stream.height / stream.width))
            reached, decoder = float("-inf"), None
            for time in times:
                if decoder is None or time - reached > 1.0:
                    container.seek(max(0, int((time - 0.5 / fps) / base)), stream=stream, backward=True)
                    decoder = container.decode(stream)
                for frame in decoder:
                    if frame.pts is None:
                        continue
                    reached = float(frame.pts * base)
                    if reached >= time - 0.5 / fps:
                        found.append(frame.to_image(width=width, height=height))
                        break
                else:
                    raise DataError(path, "video", f"ends before {time:.3f} s", _FIX)
    except DataError:
        raise
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise DataError(path, "video", f"is truncated or damaged ({error})", _FIX) from error
    return found


def _from_rows(
    source: SourceDataset, meta: dict[str, Any], camera: str, frames: Sequence[int], width: int
) -> list[Image.Image]:
    """Pictures that lie in the parquet rows, as bytes or as a path under the dataset."""
    from PIL import Image as PilImage

    path = source.data_path(meta)
    column = source.rows(meta).column(camera) if camera in source.rows(meta).column_names else None
    if column is None:
        raise DataError(path, camera, "column is missing", _FIX)
    found = []
    for frame in frames:
        value = column[frame].as_py() or {}
        try:
            data = value.get("bytes") or _inside(source.root, value.get("path")).read_bytes()
            with PilImage.open(io.BytesIO(data)) as picture:
                height = max(1, round(width * picture.height / picture.width))
                found.append(picture.convert("RGB").resize((width, height)))
        except (OSError, ValueError, PilImage.DecompressionBombError) as error:
            raise DataError(path, camera, f"frame {frame} cannot be read ({error})", _FIX) from error
    return found


def _inside(root: Path, path: Any) -> Path:
    """A file that a row names, which must lie in the dataset: a row must not send other files to a server."""
    whole = (root / str(path)).resolve()
    if not path or not whole.is_relative_to(root.resolve()):
        raise OSError("names no file inside the dataset")
    return whole
