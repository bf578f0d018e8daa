# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Sprite sheets: a few small frames of one camera of one episode in one WebP image.

Frames are chosen by how much they tell: both ends, the events' boundaries, then the largest gaps. Their number and size
follow from the bytes that the page may spend on them, so a page of 5 episodes is dense and one of 500 stays small.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lerobot_wallwm.processors.episodes import SourceDataset

# Our choices. WebP at quality 60 takes about 0.09 bytes a pixel on camera images.
WIDTHS = (240, 192, 160, 128, 96, 64)
BYTES_PER_PIXEL = 0.09
QUALITIES = (60, 40, 25)
LEAST_FRAMES, MOST_FRAMES, WANTED_FRAMES = 6, 96, 24


@dataclass(frozen=True)
class SheetPlan:
    """What one sheet may cost: tile width in pixels, number of tiles, bytes before base64."""

    width: int
    frames: int
    budget: int


def plan_sheets(sheets: int, budget: float, aspect: float = 0.75) -> SheetPlan:
    """The widest tile at which `WANTED_FRAMES` fit into each of `sheets` equal parts of `budget` bytes."""
    share = budget / max(sheets, 1)
    costs = [w * w * aspect * BYTES_PER_PIXEL for w in WIDTHS]
    width, cost = next(
        ((w, c) for w, c in zip(WIDTHS, costs, strict=True) if c * WANTED_FRAMES <= share),
        (WIDTHS[-1], costs[-1]),
    )
    return SheetPlan(width, int(np.clip(share / cost, LEAST_FRAMES, MOST_FRAMES)), int(share))


def choose_frames(length: int, bounds: Sequence[int], count: int) -> list[int]:
    """At most `count` frames of `[0, length)`, ascending.

    Args:
        length: Frames of the episode.
        bounds: Boundaries, the most telling first; they take at most half of the frames.
        count: How many frames, at least 2.
    """
    chosen = {0, length - 1}
    for bound in bounds:
        if len(chosen) >= max(2, count // 2):
            break
        chosen.add(min(max(bound, 0), length - 1))
    while len(chosen) < min(count, length):
        ordered = sorted(chosen)
        gaps = np.diff(ordered)
        widest = int(np.argmax(gaps))
        if gaps[widest] < 2:
            break
        chosen.add(ordered[widest] + int(gaps[widest]) // 2)
    return sorted(chosen)


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


def make_sheet(images: Sequence[Image.Image], frames: Sequence[int], plan: SheetPlan) -> dict[str, Any]:
    """The sheet as the page reads it; lower quality, then fewer tiles, until it fits the plan's budget."""
    images, frames = list(images), list(frames)
    while True:
        w, h = images[0].size
        columns = int(np.ceil(np.sqrt(len(images))))
        sheet = Image.new("RGB", (columns * w, -(-len(images) // columns) * h))
        for i, image in enumerate(images):
            sheet.paste(image, (i % columns * w, i // columns * h))
        for quality in QUALITIES:
            buffer = io.BytesIO()
            sheet.save(buffer, "WEBP", quality=quality, method=3)
            if buffer.tell() <= plan.budget:
                break
        if buffer.tell() <= plan.budget or len(images) <= LEAST_FRAMES:
            data = base64.b64encode(buffer.getvalue()).decode()
            return {"frames": frames, "columns": columns, "w": w, "h": h, "data": data}
        keep = sorted({*range(0, len(images), 2), len(images) - 1})
        images, frames = [images[i] for i in keep], [frames[i] for i in keep]
