# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Frames of an event in one picture, as a vision-language model is shown them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image
_STRIP = 20  # pixels of the line of text above a cell
_BAR = 5  # pixels of the bar at a boundary
_GAP = 2
_LARGEST = 2048  # pixels of a sheet's longer side; vision encoders shrink what is larger
_GREY, _WHITE, _BLACK = (128, 128, 128), (255, 255, 255), (0, 0, 0)
# Bar at the first picture of an event, by the level whose boundary it is. Our choice of colours.
_RED, _ORANGE, _BLUE = (220, 40, 40), (235, 140, 20), (60, 130, 235)
BAR_COLOURS = {"task": _RED, "subtask": _RED, "action": _ORANGE, "segment": _BLUE}


@dataclass(frozen=True)
class Cell:
    """One moment.

    Attributes:
        text: The line above it, e.g. `4.20s A3/G5`.
        pictures: One per camera, of any size; None where the camera has no such frame.
        boundary: Level of the coarsest event that starts here, or empty.
    """

    text: str
    pictures: tuple[Image | None, ...]
    boundary: str = ""


def draw_sheet(cells: Sequence[Cell], cameras: Sequence[str]) -> Image:
    """Draws a sheet, left to right and then down, nearly square, no side over 2048 pixels.

    There is at least one cell, each with a picture per camera; the cameras' names are written into the first cell's.
    """
    from PIL import Image as PilImage, ImageDraw, ImageFont

    sizes = [_size_of(cells, i) for i in range(len(cameras))]
    width = max([64, *(size[0] for size in sizes)]) + _BAR + _GAP
    height = _STRIP + sum(size[1] + _GAP for size in sizes)
    columns = min(len(cells), max(1, round((len(cells) * height / width) ** 0.5)))
    rows = -(-len(cells) // columns)
    sheet = PilImage.new("RGB", (columns * width, rows * height), _WHITE)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    for i, cell in enumerate(cells):
        x, y = i % columns * width, i // columns * height
        draw.text((x + _BAR + 1, y + 1), cell.text, fill=_BLACK, font=font)
        if cell.boundary:
            draw.rectangle((x, y, x + _BAR - 1, y + height - 1), fill=BAR_COLOURS[cell.boundary])
        top = y + _STRIP
        for camera, (picture, size) in enumerate(zip(cell.pictures, sizes, strict=True)):
            corner = (x + _BAR, top)
            if picture is None:
                draw.rectangle((*corner, corner[0] + size[0] - 1, corner[1] + size[1] - 1), fill=_GREY)
                draw.text((corner[0] + 4, corner[1] + 4), "no frame", fill=_WHITE, font=font)
            else:
                sheet.paste(picture, corner)
            if i == 0:
                how: dict[str, Any] = {"fill": _WHITE, "font": font, "stroke_width": 2, "stroke_fill": _BLACK}
                draw.text((corner[0] + 3, corner[1] + 2), cameras[camera], **how)
            top += size[1] + _GAP
    if (scale := _LARGEST / max(sheet.size)) < 1:
        size = max(1, round(sheet.width * scale)), max(1, round(sheet.height * scale))
        sheet = sheet.resize(size, PilImage.Resampling.BOX)
    return sheet


def _size_of(cells: Sequence[Cell], camera: int) -> tuple[int, int]:
    """Size of a camera's pictures; a small grey box where it has none at all."""
    found = (cell.pictures[camera] for cell in cells)
    return next((picture.size for picture in found if picture is not None), (96, 24))


def data_uri(sheet: Image, quality: int = 85) -> str:
    """The sheet as a JPEG data URI, the form in which OpenAI-compatible servers take images."""
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
