# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Contact sheets: the right frames of all cameras, with times, boundaries, and grey where there is no frame."""

import base64
import io
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tiny_arm import CAMERAS, TINY_FPS

from lerobot_wallwm.language.contact_sheet import BAR_COLOURS, Cell, data_uri, draw_sheet
from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.source.pictures import read_frames
from lerobot_wallwm.storage.errors import DataError


@pytest.fixture(scope="module")
def source(tiny_dataset):
    return SourceDataset.open(tiny_dataset)


@pytest.mark.parametrize("frames", [[0], [0, 1, 2, 30, 31], [5, 17, 39]])
@pytest.mark.parametrize("position", [0, 3])
def test_frames_equal_lerobots_own_decoder(source, frames, position):
    from lerobot.datasets.video_utils import decode_video_frames

    meta = source.meta(position)
    for camera in CAMERAS:
        start = meta[f"videos/{camera}/from_timestamp"]
        times = [start + frame / TINY_FPS for frame in frames]
        path = source.video_path(meta, camera)
        reference = decode_video_frames(path, times, 1e-3, backend="pyav", return_uint8=True)
        own = read_frames(source, meta, camera, frames, 32)
        for picture, tensor in zip(own, reference, strict=True):
            expected = tensor.permute(1, 2, 0).numpy().astype(int)
            # Two conversions from YUV may differ by rounding.
            assert np.abs(np.asarray(picture).astype(int) - expected).max() <= 3


def test_frames_are_shrunk_in_proportion(source):
    (picture,) = read_frames(source, source.meta(0), CAMERAS[0], [3], 12)
    assert picture.size == (12, 12)


def test_a_frame_past_the_end_and_a_missing_file(source, tiny_dataset, tmp_path):
    with pytest.raises(DataError, match="ends before"):
        read_frames(source, source.meta(5), CAMERAS[0], [100_000], 16)
    root = Path(shutil.copytree(tiny_dataset, tmp_path / "d"))
    copy = SourceDataset.open(root)
    path = copy.video_path(copy.meta(0), CAMERAS[0])
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(DataError, match="damaged|ends before"):
        read_frames(copy, copy.meta(5), CAMERAS[0], [5], 16)
    path.unlink()
    with pytest.raises(DataError, match="missing"):
        read_frames(copy, copy.meta(0), CAMERAS[0], [0], 16)


def picture(colour, size=(40, 30)):
    return Image.new("RGB", size, colour)


def test_sheet_shows_every_camera_boundary_and_gap():
    red, blue = (200, 10, 10), (10, 10, 200)
    cells = [
        Cell("0.00s A1", (picture(red), picture(blue)), "action"),
        Cell("1.00s A1", (picture(red), None)),
        Cell("2.00s G1", (picture(red), picture(blue)), "segment"),
    ]
    pixels = np.asarray(draw_sheet(cells, ["top", "wrist"]))
    for colour in (red, blue, BAR_COLOURS["action"], BAR_COLOURS["segment"], (128, 128, 128)):
        assert (pixels == colour).all(-1).any(), colour
    assert not (pixels == BAR_COLOURS["task"]).all(-1).any()
    # Text: a sheet with other times differs in its strips only.
    other = np.asarray(
        draw_sheet([Cell("9.99s A1", cells[0].pictures, "action"), *cells[1:]], ["top", "wrist"])
    )
    rows = np.flatnonzero((pixels != other).any((1, 2)))
    assert len(rows) and rows.max() < 20


def test_sheet_is_deterministic_and_never_too_large():
    cells = [Cell(f"{i}.00s", (picture((i, 0, 0), (1024, 700)),)) for i in range(30)]
    sheet = draw_sheet(cells, ["top"])
    assert max(sheet.size) == 2048
    assert sheet.tobytes() == draw_sheet(cells, ["top"]).tobytes()


def test_data_uri_is_a_jpeg():
    uri = data_uri(picture((0, 200, 0)))
    head, _, data = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as decoded:
        assert decoded.format == "JPEG" and decoded.size == (40, 30)


@pytest.fixture
def image_dataset(tiny_dataset, tmp_path):
    """The tiny dataset with one camera as pictures in its rows: bytes, a path, or a path that leads outside."""
    root = Path(shutil.copytree(tiny_dataset, tmp_path / "images"))
    path = next((root / "data").glob("*/*.parquet"))
    table = pq.read_table(path)
    buffer = io.BytesIO()
    picture((1, 2, 3)).save(buffer, "PNG")
    (root / "inside.png").write_bytes(buffer.getvalue())
    (tmp_path / "outside.png").write_bytes(buffer.getvalue())
    values = [{"bytes": buffer.getvalue(), "path": None}, {"bytes": None, "path": "inside.png"}]
    values += [{"bytes": None, "path": "../outside.png"}, {"bytes": b"not a picture", "path": None}]
    values += [values[0]] * (len(table) - 4)
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(table.append_column("observation.images.still", pa.array(values, struct)), path)
    copy = SourceDataset.open(root)
    copy.info["features"]["observation.images.still"] = {"dtype": "image", "shape": [30, 40, 3]}
    return copy


def test_pictures_in_rows(image_dataset):
    meta = image_dataset.meta(0)
    for picture_ in read_frames(image_dataset, meta, "observation.images.still", [0, 1], 20):
        assert picture_.size == (20, 15) and picture_.getpixel((5, 5)) == (1, 2, 3)
    for frame in (2, 3):
        with pytest.raises(DataError, match=f"frame {frame} cannot be read"):
            read_frames(image_dataset, meta, "observation.images.still", [frame], 20)
    with pytest.raises(DataError, match="column is missing"):
        read_frames(image_dataset, meta, "observation.images.none", [0], 20)
