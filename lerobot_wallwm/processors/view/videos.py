# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A view's video files: links to the source's, or files of its own that hold the view's pictures and no others.

A file of its own is cut out of the source's: stretches of the view's rows, one after the other. Where each begins at a keyframe
and what follows it does, too, packets are copied; LeRobot begins every recording with one. Where a stretch does not, the camera
is encoded anew without loss, so that its pictures are still the source's, bit for bit.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lerobot_wallwm.processors.view.disk_space import NO_ROOM
from lerobot_wallwm.storage.errors import DataError

# Pixel formats that x264 encodes without loss; x265 does the others.
_X264 = ("yuv420p", "yuvj420p", "yuv422p", "yuv444p", "gray")


@dataclass
class Cut:
    """A file to write: which frames of which file, in ascending order without overlaps.

    Attributes:
        stretches: First frame and one past the last, of each episode of the view that lies in the file.
    """

    source: Path
    target: Path
    stretches: list[tuple[int, int]] = field(default_factory=list)

    @cached_property
    def runs(self) -> list[tuple[int, int]]:
        """The stretches, those that touch as one; asked for once all are known."""
        joined: list[tuple[int, int]] = []
        for first, end in sorted(self.stretches):
            if joined and first <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
            else:
                joined.append((first, end))
        return joined

    def place(self, frame: int) -> int:
        """Where a frame of the source's file comes to lie in the new one."""
        run = bisect.bisect_right(self.runs, (frame, math.inf)) - 1
        return self._before[run] + frame - self.runs[run][0]

    @cached_property
    def _before(self) -> list[int]:
        return [0, *itertools.accumulate(end - first for first, end in self.runs)]


def cut_camera(cuts: Sequence[Cut], fps: float) -> str | None:
    """Writes the files of one camera; returns the codec that they were encoded anew with, None where packets were copied.

    Raises:
        DataError: A file is damaged, or does not hold a frame.
    """
    import av

    try:
        packets = {cut.target: _packets(cut, fps) for cut in cuts}
        for cut in cuts:
            cut.target.parent.mkdir(parents=True, exist_ok=True)
        if all(found is not None for found in packets.values()):
            for cut in cuts:
                _copy(cut, packets[cut.target] or [], fps)
            return None
        return {_encode(cut, fps) for cut in cuts}.pop()
    except (av.error.FFmpegError, OSError) as error:
        if error.errno in NO_ROOM:  # what the disk lacks is explained where it is missed
            raise OSError(error.errno, str(error.strerror)) from error
        where = cuts[0].source
        raise DataError(where, "video", f"cannot be cut ({error})", "record or download it again") from error


def _packets(cut: Cut, fps: float) -> list[list[int]] | None:
    """Numbers of the packets of each run, in the order of the file; None where a run cannot be cut out as it is."""
    import av

    with av.open(str(cut.source)) as container:
        stream = container.streams.video[0]
        packets = [p for p in container.demux(stream) if p.pts is not None]
        base = float(stream.time_base or 0)
        frame = np.array([round(int(p.pts or 0) * base * fps) for p in packets])
        key = np.array([p.is_keyframe for p in packets])
    in_order = bool((np.diff(frame) > 0).all())
    found = []
    for first, end in cut.runs:
        own = np.flatnonzero((frame >= first) & (frame < end))
        whole = len(own) == end - first and own[-1] - own[0] + 1 == len(own)
        if not whole or not key[own[0]] or frame[own[0]] != first:
            return None
        after = own[-1] + 1
        if not in_order and after < len(packets) and not key[after]:
            return None
        found.append(own.tolist())
    return found


def _copy(cut: Cut, runs: list[list[int]], fps: float) -> None:
    import av

    wanted = {number: run for run, numbers in enumerate(runs) for number in numbers}
    offsets = np.cumsum([0, *(len(numbers) for numbers in runs)])
    starts = [first for first, _ in cut.runs]
    with (
        av.open(str(cut.source)) as old,
        av.open(str(cut.target), "w", options={"movflags": "faststart"}) as new,
    ):
        stream = old.streams.video[0]
        out = new.add_stream_from_template(
            stream, opaque=True
        )  # PyAV knows AV1's decoder, and no encoder of its name
        ticks = 1 / (fps * float(stream.time_base or 1))
        numbered = enumerate(p for p in old.demux(stream) if p.pts is not None)
        for number, packet in numbered:
            if number not in wanted:
                continue
            run = wanted[number]
            assert packet.pts is not None
            ahead = 0 if packet.dts is None else packet.dts - packet.pts
            place = round(packet.pts / ticks) - starts[run] + int(offsets[run])
            packet.pts = round(place * ticks)
            packet.dts = packet.pts + ahead
            packet.stream = out
            new.mux(packet)


def _encode(cut: Cut, fps: float) -> str:
    """Encodes the frames without loss; returns the name of the codec."""
    import av

    runs = cut.runs
    wanted = {frame: i for i, frame in enumerate(k for first, end in runs for k in range(first, end))}
    rate = Fraction(fps).limit_denominator(1001)
    done = 0
    with (
        av.open(str(cut.source)) as old,
        av.open(str(cut.target), "w", options={"movflags": "faststart"}) as new,
    ):
        stream = old.streams.video[0]
        theirs = stream.codec_context
        out: Any = None
        name = "h264" if theirs.pix_fmt in _X264 else "hevc"
        for frame in old.decode(stream):
            place = (
                None
                if frame.pts is None
                else wanted.get(round(frame.pts * float(frame.time_base or 0) * fps))
            )
            if place is None:
                continue
            if out is None:
                lossless: dict[str, str] = (
                    {"qp": "0"} if name == "h264" else {"x265-params": "lossless=1:log-level=error"}
                )
                options = lossless | {"g": "2", "preset": "veryfast"}
                encoder = "libx264" if name == "h264" else "libx265"
                out = new.add_stream(encoder, rate=rate, options=options)
                out.width, out.height, out.pix_fmt = frame.width, frame.height, frame.format.name
                for told in ("color_range", "colorspace", "color_primaries", "color_trc"):
                    setattr(out.codec_context, told, getattr(theirs, told))
            frame.pts, frame.time_base = place, 1 / rate
            frame.pict_type = 0
            new.mux(out.encode(frame))
            done += 1
        if done != len(wanted) or out is None:
            raise DataError(
                cut.source, "video", f"holds {done} of {len(wanted)} frames of the view", "record it again"
            )
        new.mux(out.encode())
    return name


def needed_cuts(places: Iterable[tuple[Path, Path, float, float]], fps: float) -> dict[Path, Cut]:
    """The files of one camera by their place, from ``(source, target, from second, to second)`` of each episode."""
    cuts: dict[Path, Cut] = {}
    for source, target, begin, end in places:
        cut = cuts.setdefault(target, Cut(source, target))
        first = round(begin * fps)
        cut.stretches.append((first, max(first + 1, round(end * fps))))
    return cuts


def told_anew(feature: dict[str, Any], codec: str) -> dict[str, Any]:
    """A camera's entry in `info.json` once its videos are encoded without loss."""
    settings = ("video.crf", "video.preset", "video.fast_decode", "video.extra_options")
    info = {k: v for k, v in (feature.get("info") or {}).items() if k not in settings}
    return feature | {"info": info | {"video.codec": codec, "video.g": 2}}
