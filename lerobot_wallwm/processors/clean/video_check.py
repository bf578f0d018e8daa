# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Finds missing, truncated and damaged videos, episode by episode: one file holds many.

All packets of a file are counted, which reads it but decodes nothing; of each episode the first and the last frame are
decoded, or all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


class VideoFile:
    """A video file that may be bad. Nothing here raises for that: what can be read still counts.

    Attributes:
        times: (N,) seconds of the frames whose packets are whole, ascending.
        missing: There is no such file.
        problem: What is wrong with the file, in one clause; empty if nothing is.
    """

    def __init__(self, path: Path) -> None:
        import av

        self.path, self.times, self.missing = path, np.array([]), not path.is_file()
        self.problem = "is missing" if self.missing else ""
        self._container: Any = None
        self._stream: Any = None
        if self.missing:
            return
        times: list[int] = []
        try:
            self._container = av.open(str(path))
            if not self._container.streams.video:
                self.problem = "holds no video stream"
                return
            self._stream = self._container.streams.video[0]
            if self._stream.time_base is None:
                self.problem = "the video has no time base"
                return
            # A seek empties the decoder, and one with many threads fills up again before it gives its first frame.
            self._stream.codec_context.thread_count = 1
            size = path.stat().st_size
            for packet in self._container.demux(self._stream):
                # The index of a cut file still lists what is gone: such packets come short.
                cut = packet.is_corrupt or (packet.pos is not None and packet.pos + packet.size > size)
                if packet.pts is not None and not cut:
                    times.append(packet.pts)
        except (av.error.FFmpegError, OSError) as error:
            self.problem = f"the video is truncated or damaged ({_reason(error)})"
        if self._stream is not None and self._stream.time_base is not None:
            self.times = np.sort(np.array(times, dtype=np.float64)) * float(self._stream.time_base)

    def close(self) -> None:
        """Closes the file."""
        if self._container is not None:
            self._container.close()

    def count(self, start_s: float, end_s: float, fps: float) -> int:
        """Frames whose packets are there in `[start_s, end_s)`."""
        low, high = np.searchsorted(self.times, (start_s - 0.5 / fps, end_s - 0.5 / fps))
        return int(high - low)

    def decode_problem(self, start_s: float, end_s: float, fps: float, every: bool = False) -> str:
        """Decodes the first and the last frame of `[start_s, end_s)`, or `every` one. Returns what is wrong, or nothing."""
        import av

        last_s = end_s - 1.0 / fps
        if self.count(start_s, end_s, fps) == 0:
            until = float(self.times[-1]) if len(self.times) else 0.0
            return self.problem or f"ends at {until:.3f} s, but the episode needs a frame at {last_s:.3f} s"
        try:
            for wanted in (start_s,) if every else (start_s, last_s):
                until = last_s if every else wanted
                reached, count = self._decode(wanted, until, start_s, end_s, fps)
                if reached < until - 0.5 / fps:
                    return f"ends at {max(reached, 0):.3f} s, but the episode needs a frame at {until:.3f} s"
                if every and count < round((end_s - start_s) * fps):
                    return f"only {count} frames of the episode decode"
        except (av.error.FFmpegError, OSError) as error:
            return f"the video is truncated or damaged ({_reason(error)})"
        return ""

    def _decode(
        self, wanted: float, until: float, start_s: float, end_s: float, fps: float
    ) -> tuple[float, int]:
        """Decodes from a moment until another. Returns the last time reached, and how many frames lie in the episode."""
        base = float(self._stream.time_base)
        self._container.seek(max(0, int((wanted - 0.25 / fps) / base)), stream=self._stream, backward=True)
        reached, count = -1.0, 0
        for frame in self._container.decode(self._stream):
            if frame.pts is None:
                continue
            at = frame.pts * base
            reached = max(reached, at)
            count += start_s - 0.5 / fps <= at < end_s - 0.5 / fps
            if reached >= until - 0.5 / fps:
                break
        return reached, count


def _reason(error: Exception) -> str:
    """The error without the machine's path in it, so that reports are equal on every machine."""
    return getattr(error, "strerror", None) or type(error).__name__
