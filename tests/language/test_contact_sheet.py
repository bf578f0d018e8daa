# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Contact sheets: all cameras, with times, boundaries, and grey where there is no frame."""

import base64
import io

import numpy as np
from PIL import Image

from lerobot_wallwm.language.contact_sheet import BAR_COLOURS, Cell, data_uri, draw_sheet


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
