# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Pictures through shared memory: never half of one and half of another."""

from __future__ import annotations

import threading

import numpy as np
import pytest

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
        seen = [reader.latest() for _ in range(300)]
    finally:
        ended.set()
        thread.join()
    assert all(picture.min() == picture.max() for picture in seen)
    assert len({int(picture[0, 0, 0]) for picture in seen}) > 2


def test_another_file_is_refused(tmp_path):
    (tmp_path / "frames").write_bytes(bytes(1000))
    with pytest.raises(ValueError, match="no pictures"):
        Frames(tmp_path / "frames")
