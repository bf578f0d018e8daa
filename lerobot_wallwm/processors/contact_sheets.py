# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Contact sheets: moments of an episode in rows, all cameras above each other, with times and boundaries.

Frames are decoded with PyAV and shrunk at once, so that an hour of video costs the memory of a few pictures. Of the
dataset's own strings only the cameras' names are drawn.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lerobot_wallwm.processors.episodes import SourceDataset
from lerobot_wallwm.processors.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

_FIX = "record or download the video again"
_STRIP = 20  # pixels of the line of text above a cell
_BAR = 5  # pixels of the bar at a boundary
_GAP = 2
_LARGEST = 2048  # pixels of a sheet's longer side; vision encoders shrink what is larger
_GREY, _WHITE, _BLACK = (128, 128, 128), (255, 255, 255), (0, 0, 0)
# Bar at the first picture of an event, by the level whose boundary it is. Our choice of colours.
BAR_COLOURS = {
    "task": (220, 40, 40),
    "subtask": (220, 40, 40),
    "action": (235, 140, 20),
    "segment": (60, 130, 235),
}


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


def read_frames(
    source: SourceDataset, meta: Mapping[str, Any], camera: str, frames: Sequence[int], width: int
) -> list[Image]:
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


def _from_video(path: Path, times: Sequence[float], fps: float, width: int) -> list[Image]:
    """Decodes forward over ascending times and seeks where more than a second lies between two of them."""
    import av

    found: list[Image] = []
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
) -> list[Image]:
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


def draw_sheet(cells: Sequence[Cell], cameras: Sequence[str]) -> Image:
    """Draws a sheet, left to right and then down, nearly square, no side over 2048 pixels.

    Args:
        cells: At least one; all with as many pictures as there are cameras.
        cameras: Names, written into the first cell's pictures.
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
                draw.text(
                    (corner[0] + 3, corner[1] + 2),
                    cameras[camera],
                    fill=_WHITE,
                    font=font,
                    stroke_width=2,
                    stroke_fill=_BLACK,
                )
            top += size[1] + _GAP
    longest = max(sheet.size)
    if longest > _LARGEST:
        scale = _LARGEST / longest
        sheet = sheet.resize(
            (max(1, round(sheet.width * scale)), max(1, round(sheet.height * scale))), PilImage.Resampling.BOX
        )
    return sheet


def _size_of(cells: Sequence[Cell], camera: int) -> tuple[int, int]:
    """Size of a camera's pictures; a small grey box where it has none at all."""
    found = (cell.pictures[camera] for cell in cells)
    first = next((picture for picture in found if picture is not None), None)
    return first.size if first is not None else (96, 24)


def data_uri(sheet: Image, quality: int = 85) -> str:
    """The sheet as a JPEG data URI, the form in which OpenAI-compatible servers take images."""
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
