# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Finds missing, truncated and damaged videos, episode by episode: one file holds many.

All packets of a file are counted, which reads it but decodes nothing; of each episode the first and the last frame are
decoded, or all.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class VideoPackets:
    """What one pass over a video file found.

    Attributes:
        times: (N,) seconds of the frames whose packets are whole, ascending.
        problem: What is wrong with the file, in one clause; empty if nothing is.
    """

    times: np.ndarray
    problem: str


def read_packets(path: Path) -> VideoPackets:
    """Counts a video's packets. Never raises for a bad file: what was read up to the fault still counts."""
    import av

    times: list[float] = []
    if not path.is_file():
        return VideoPackets(np.array([]), "is missing")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                return VideoPackets(np.array([]), "holds no video stream")
            stream = container.streams.video[0]
            if stream.time_base is None:
                return VideoPackets(np.array([]), "the video has no time base")
            size = path.stat().st_size
            for packet in container.demux(stream):
                if packet.pts is None:
                    continue
                # The index of a cut file still lists what is gone: such packets come short.
                whole = not packet.is_corrupt and (packet.pos is None or packet.pos + packet.size <= size)
                if whole:
                    times.append(float(packet.pts * stream.time_base))
    except (av.error.FFmpegError, OSError) as error:
        return VideoPackets(np.sort(times), f"the video is truncated or damaged ({_reason(error)})")
    return VideoPackets(np.sort(times), "")


def decode_problem(path: Path, start_s: float, end_s: float, fps: float, every: bool) -> str:
    """Decodes frames of `[start_s, end_s)` of a video. Returns what is wrong, or an empty string.

    Args:
        path: The file.
        start_s: Time of the first frame.
        end_s: One frame after the last.
        fps: Frames per second.
        every: Decode all frames, not only the first and the last.
    """
    import av

    last_s = end_s - 1.0 / fps
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            base = stream.time_base
            if base is None:
                return "the video has no time base"
            for wanted in (start_s,) if every else (start_s, last_s):
                until = last_s if every else wanted
                container.seek(max(0, int((wanted - 0.25 / fps) / base)), stream=stream, backward=True)
                reached, count, seen = -1.0, 0, wanted
                for frame in container.decode(stream):
                    if frame.pts is None:
                        continue
                    at = float(frame.pts * base)
                    reached = max(reached, at)
                    if start_s - 0.5 / fps <= at < end_s - 0.5 / fps:
                        count, seen = count + 1, at
                    if reached >= until - 0.5 / fps:
                        break
                if reached < until - 0.5 / fps:
                    return f"ends at {max(reached, 0):.3f} s, but the episode needs a frame at {until:.3f} s"
                if every and count < round((end_s - start_s) * fps):
                    return f"only {count} frames of the episode decode, the last at {seen:.3f} s"
    except (av.error.FFmpegError, OSError) as error:
        return f"the video is truncated or damaged ({_reason(error)})"
    return ""


def _reason(error: Exception) -> str:
    """The error without the machine's path in it, so that reports are equal on every machine."""
    return getattr(error, "strerror", None) or type(error).__name__
