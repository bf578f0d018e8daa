# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Finds truncated videos without decoding them: open, look at the length, decode the last frame that is needed."""

from __future__ import annotations

from pathlib import Path

from lerobot_wallwm.processors.episodes import SourceDataset
from lerobot_wallwm.processors.errors import DataError

_FIX = "record or download the video again, or remove its episodes with `lerobot-edit-dataset`"


def check_video(path: Path, needed_s: float, fps: float) -> None:
    """Checks that a video opens and reaches the frame shown until `needed_s`.

    A cut mp4 with its index at the front still opens and reports its full length, so the last frame is decoded too.

    Raises:
        DataError: If it is missing, does not open, is too short, or its last frame does not decode.
    """
    import av

    if not path.is_file():
        raise DataError(path, "file", "is missing", _FIX)
    last_s = needed_s - 1.0 / fps
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DataError(path, "video", "holds no video stream", _FIX)
            stream = container.streams.video[0]
            if stream.time_base is None:
                raise DataError(path, "video", "has no time base", _FIX)
            container.seek(max(0, int(last_s / stream.time_base)), stream=stream, backward=True)
            reached = -1.0
            for frame in container.decode(stream):
                reached = max(reached, float(frame.pts * stream.time_base))
                if reached >= last_s - 0.5 / fps:
                    return
    except (av.error.FFmpegError, OSError) as error:
        raise DataError(path, "video", f"is truncated or damaged ({error})", _FIX) from error
    raise DataError(
        path,
        "video",
        f"ends at {max(reached, 0):.3f} s, but its episodes need a frame at {last_s:.3f} s",
        _FIX,
    )


def check_videos(source: SourceDataset) -> int:
    """Checks each video file once, up to the last episode that uses it. Returns how many files there are.

    Raises:
        DataError: See `check_video`.
    """
    needed: dict[Path, float] = {}
    for position in range(len(source)):
        meta = source.meta(position)
        for key in source.video_keys:
            path = source.video_path(meta, key)
            end = meta[f"videos/{key}/from_timestamp"] + meta["length"] / source.fps
            needed[path] = max(needed.get(path, 0.0), end)
    for path, end in needed.items():
        check_video(path, end, source.fps)
    return len(needed)
