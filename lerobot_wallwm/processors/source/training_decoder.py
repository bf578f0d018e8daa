# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Asks the decoder that training uses whether it reads a dataset's videos, before any work is done on them.

Our own decoder seeks by time. LeRobot trains with torchcodec where it loads (and else with PyAV, as we read): it counts frames at
the file's average rate, and its FFmpeg may lack a codec. What every build reads, H.264 in 4:2:0 at the rate of the rows, is not
asked, for torchcodec takes seconds to import.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.source.pictures import pictures
from lerobot_wallwm.storage.errors import DataError

_SURE = ("h264", "yuv420p")
_TOLERANCE_S = 1e-4  # LeRobot's
# Mean difference, of 255, from which two pictures are not the same one. Our choice: decoders round differently by less than 1.
_OTHER = 8.0
_FIX = (
    "encode the videos anew with `lerobot-edit-dataset --operation.type reencode_videos --operation.rgb_encoder.vcodec h264 "
    "--new_root <folder>` on a machine that reads them, and prepare that folder"
)


def ask_training_decoder(source: SourceDataset) -> None:
    """Decodes some pictures of each kind of video file as LeRobot does.

    Raises:
        DataError: LeRobot cannot read a file, or finds other pictures in it. Files that are damaged are the cleaner's.
    """
    last: dict[Path, tuple[str, dict[str, Any]]] = {}
    for position in range(len(source)):
        meta = source.meta(position)
        for key in (
            key for key in source.video_keys if key in source.camera_keys and source.has_video(meta, key)
        ):
            last[source.video_path(meta, key)] = key, meta
    asked: set[tuple[str, str]] = set()
    for path, (key, meta) in last.items():
        kind, drift = _kind(
            path, source.fps, float(meta[f"videos/{key}/from_timestamp"]) + meta["length"] / source.fps
        )
        if kind is not None and (drift >= 0.5 or kind not in (_SURE, *asked)):
            asked.add(kind)
            _ask(source, path, key, meta, kind)


def _kind(path: Path, fps: float, end_s: float) -> tuple[tuple[str, str] | None, float]:
    """Codec and pixel format of a file, and by how many frames counting at its rate misses a row; None if unreadable."""
    import av

    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            late = float((stream.start_time or 0) * (stream.time_base or 0)) * fps
            misses = max(abs(float(stream.average_rate or 0) - fps) * end_s, abs(late))
            return (stream.codec_context.name, str(stream.codec_context.pix_fmt)), misses
    except (av.error.FFmpegError, OSError, IndexError):
        pass
    return None, 0.0


def _as_lerobot(path: Path, times: list[float]) -> np.ndarray | None:
    """(N, 3, H, W) uint8 as LeRobot decodes them in `decode_video_frames_torchcodec`; None where it falls back to PyAV."""
    try:
        from torchcodec.decoders import VideoDecoder
    except (ImportError, OSError, RuntimeError):
        return None
    decoder = VideoDecoder(str(path), seek_mode="approximate")
    rate = decoder.metadata.average_fps
    found = decoder.get_frames_at(indices=[round(time * rate) for time in times])
    away = np.abs(found.pts_seconds.numpy() - times).max()
    if away >= _TOLERANCE_S:
        raise ValueError(f"its picture lies {away:.3f} s away: the file's average rate is {rate:.3f} Hz")
    return found.data.numpy()


def _ask(source: SourceDataset, path: Path, key: str, meta: dict[str, Any], kind: tuple[str, str]) -> None:
    frames = sorted({0, meta["length"] // 2, meta["length"] - 1})
    try:
        ours = np.stack(list(pictures(source, meta, key, frames))).astype(np.float64)
    except DataError:
        return  # the cleaner finds what is wrong with this episode
    times = [float(meta[f"videos/{key}/from_timestamp"]) + frame / source.fps for frame in frames]
    what = f"{key} ({', '.join(kind)})"
    try:
        theirs = _as_lerobot(path, times)
    except Exception as error:  # whatever it is: training would meet it, too
        problem = f"is not read by LeRobot's decoder, which training uses ({str(error).strip().splitlines()[0][:200]})"
        raise DataError(path, what, problem, _FIX) from error
    if theirs is None:
        return
    difference = np.abs(theirs.transpose(0, 2, 3, 1) - ours).mean(axis=(1, 2, 3))
    if (difference > _OTHER).any():
        frame = frames[int(difference.argmax())]
        problem = (
            f"shows another picture to LeRobot's decoder, which training uses, at row {frame} of episode "
        )
        raise DataError(path, what, problem + str(meta["episode_index"]), _FIX)
