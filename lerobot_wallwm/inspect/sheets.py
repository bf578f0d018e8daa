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
from typing import Any

import numpy as np
from PIL import Image

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
    """At most `count` frames (at least 2) of `[0, length)`, ascending.

    ``bounds`` are boundaries, the most telling first; they take at most half of the frames.
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
