# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Pictures through shared memory: never half of one and half of another."""

import threading
import time

import numpy as np
import pytest

from emulated_arm.camera_server import SHIFTS, Grain
from emulated_arm.shared import Frames


def test_a_reader_never_sees_two_pictures_in_one(tmp_path):
    writer = Frames(tmp_path / "frames", (160, 120))
    reader = Frames(tmp_path / "frames")
    ended = threading.Event()

    def write() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            writer.publish(np.full((120, 160, 3), number % 256, np.uint8), step=number)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        seen = [reader.latest()]
        deadline = time.monotonic() + 60
        # On a busy machine the writer may not have run yet.
        while (len(seen) < 300 or len({int(p[0, 0, 0]) for p in seen}) < 3) and time.monotonic() < deadline:
            seen.append(reader.latest())
    finally:
        ended.set()
        thread.join()
    assert all(picture.min() == picture.max() for picture in seen)
    assert len({int(picture[0, 0, 0]) for picture in seen}) > 2


def test_another_file_is_refused(tmp_path):
    (tmp_path / "frames").write_bytes(bytes(1000))
    with pytest.raises(ValueError, match="no pictures"):
        Frames(tmp_path / "frames")


def test_a_still_scene_never_gives_the_same_picture_twice():
    """As with a sensor: only a camera that has frozen repeats itself."""
    scene = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    grain = Grain(64, 48)
    pictures = [grain.over(scene, moment) for moment in range(2 * SHIFTS)]
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)
    assert max(np.abs(picture.astype(int) - scene).max() for picture in pictures) == 1
    assert np.array_equal(grain.over(scene, 7), Grain(64, 48).over(scene, 7))
    # A number of pictures, or of control periods, has no end.
    grain.over(scene, 10**9)
