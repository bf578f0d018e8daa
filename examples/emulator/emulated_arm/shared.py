# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Memory shared between the bus, the world and the cameras' readers: files mapped by all of them, on this machine only.

Each number has one writer. Eight bytes are written at once; a reader may see joints of two neighbouring moments, which a
real bus shows as well.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

JOINTS = 6
MOST_VIEWS = 8
MAGIC = b"EMUARM01"

STATE = np.dtype(
    [
        ("position", "f8", JOINTS),  # LeRobot's units; written by whoever moves the joints
        ("goal", "f8", JOINTS),  # LeRobot's units; written by the bus
        ("driven", "i8", JOINTS),  # 1 if the joint follows its goal
        ("goal_step", "i8"),  # control periods asked for (simulated clock)
        ("world_step", "i8"),  # control periods simulated
        ("simulated_clock", "i8"),
        ("reset_seed", "i8"),
        ("reset_asked", "i8"),
        ("reset_done", "i8"),
        ("reset_taken", "i8"),  # resets after which the goals were set anew
        ("success", "i8"),  # the success test holds now
        ("succeeded", "i8"),  # it held at some time since the reset
        ("milestones", "i8"),
        ("progress", "f8"),
        ("steps", "i8"),  # control periods since the reset
        ("camera_fault", "i8", MOST_VIEWS),
    ]
)
HEADER = np.dtype(
    [
        ("magic", "S8"),
        ("width", "i8"),
        ("height", "i8"),
        ("number", "i8"),  # pictures so far
        ("step", "i8"),  # control periods at the picture's moment
        ("stamp", "f8"),  # time.monotonic() of its arrival
        ("gone", "i8"),
    ]
)


class SharedState:
    """The joints, the clock and the world's judgement.

    Args:
        path: The file.
        create: Make it anew.
    """

    def __init__(self, path: Path, create: bool = False) -> None:
        if create:
            # A reader of an earlier run keeps its own file.
            unfinished = path.with_name(f".{path.name}.partial")
            unfinished.write_bytes(bytes(STATE.itemsize))
            unfinished.rename(path)
        self._array = np.memmap(path, STATE, mode="r+", shape=(1,))
        self.position: np.ndarray = self._array["position"][0]
        self.goal: np.ndarray = self._array["goal"][0]
        self.driven: np.ndarray = self._array["driven"][0]
        self.camera_fault: np.ndarray = self._array["camera_fault"][0]

    def get(self, name: str) -> int:
        """A whole number by its name in ``STATE``."""
        return int(self._array[name][0])

    def set(self, name: str, value: float) -> None:
        """Sets a number."""
        self._array[name][0] = value

    @property
    def progress(self) -> float:
        """Task Progress, 0 to 100."""
        return float(self._array["progress"][0])


class Frames:
    """One camera view's pictures: a header and two buffers in turn, one writer, any number of readers.

    Args:
        path: The file.
        size: (width, height) to make it anew; None to open one.

    Raises:
        ValueError: The file is not one of these.
    """

    def __init__(self, path: Path, size: tuple[int, int] | None = None) -> None:
        if size is not None:
            width, height = size
            header = np.zeros(1, HEADER)
            header["magic"], header["width"], header["height"] = MAGIC, width, height
            # Readers map it as soon as it has its name.
            unfinished = path.with_name(f".{path.name}.partial")
            unfinished.write_bytes(header.tobytes() + bytes(2 * width * height * 3))
            unfinished.rename(path)
        self._header = np.memmap(path, HEADER, mode="r+", shape=(1,))
        if bytes(self._header["magic"][0]) != MAGIC:
            raise ValueError(f"{path} holds no pictures of an emulated arm")
        self.width, self.height = int(self._header["width"][0]), int(self._header["height"][0])
        shape = (2, self.height, self.width, 3)
        self._buffers = np.memmap(path, np.uint8, mode="r+", offset=HEADER.itemsize, shape=shape)

    @property
    def number(self) -> int:
        """Pictures published so far."""
        return int(self._header["number"][0])

    @property
    def step(self) -> int:
        """Control periods at the moment of the latest picture."""
        return int(self._header["step"][0])

    @property
    def age(self) -> float:
        """Seconds since the latest picture came."""
        return time.monotonic() - float(self._header["stamp"][0])

    @property
    def gone(self) -> bool:
        """Whether the camera is unplugged."""
        return bool(self._header["gone"][0])

    def set_gone(self, gone: bool) -> None:
        """Unplugs the camera or plugs it in again."""
        self._header["gone"][0] = int(gone)

    def publish(self, picture: np.ndarray, step: int) -> None:
        """Makes a picture, (height, width, 3) uint8, the latest."""
        following = self.number + 1
        self._buffers[following % 2] = picture
        self._header["stamp"][0] = time.monotonic()
        self._header["number"][0] = following
        # Last: who waits for a step then looks at the number.
        self._header["step"][0] = step

    def latest(self) -> np.ndarray:
        """A copy of the latest picture, (height, width, 3) uint8."""
        while True:
            before = self.number
            picture = np.array(self._buffers[before % 2])
            # Once the next picture is out, the one after it is written over this one.
            if self.number == before:
                return picture


def folder_of(port: Path) -> Path:
    """The folder beside a port's name where its emulator keeps control socket, pictures and journal."""
    return port.with_name(f"{port.name}.emulator")
