# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The camera itself: pictures come through memory shared with the emulator."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import numpy as np
from lerobot.cameras.camera import Camera
from lerobot.cameras.configs import ColorMode
from lerobot.utils.decorators import check_if_already_connected, check_if_not_connected
from numpy.typing import NDArray

from emulated_arm.camera_server import connect
from emulated_arm.shared import Frames, SharedState, folder_of
from lerobot_camera_emulated_arm.config_emulated import EmulatedCameraConfig

POLL = 0.001
# As OpenCVCamera.read waits.
READ_TIMEOUT_MS = 10_000.0


class EmulatedCamera(Camera):
    """One view of an emulated arm's world.

    With the emulator's simulated clock, each way of reading waits for the picture of the present simulated time.
    """

    def __init__(self, config: EmulatedCameraConfig) -> None:
        super().__init__(config)
        self.config = config
        self._link: socket.socket | None = None
        self._frames: Frames | None = None
        self._state: SharedState | None = None
        self._consumed = 0

    def __str__(self) -> str:
        return f"EmulatedCamera({self.config.port}, {self.config.view})"

    @property
    def is_connected(self) -> bool:
        """Whether ``connect`` was called; as with USB cameras, an unplugged one stays connected and fails to read."""
        return self._link is not None

    @staticmethod
    def find_cameras() -> list[dict[str, Any]]:
        """Emulated cameras are named by their emulator's port and cannot be searched for."""
        return []

    @check_if_already_connected
    def connect(self, warmup: bool = True) -> None:
        """Asks the emulator for the view.

        Raises:
            ConnectionError: No emulator there, or it has no such view or size; the message says which.
        """
        folder = folder_of(self.config.port)
        wanted = {"view": self.config.view, "width": self.width, "height": self.height, "fps": self.fps}
        try:
            link = connect(folder, "cameras")
            link.settimeout(self.config.timeout_s)
            link.sendall(json.dumps(wanted).encode() + b"\n")
            answer = json.loads(link.makefile("r", encoding="utf-8").readline() or "{}")
        except (OSError, ValueError) as error:
            raise ConnectionError(
                f"{self}: no emulator answers at {self.config.port} ({error}). "
                f"Fix: start one with `emulated-arm --port={self.config.port} --arm=...`."
            ) from error
        if "frames" not in answer:
            link.close()
            raise ConnectionError(f"{self}: {answer.get('error', 'the emulator has ended')}")
        self._frames = Frames(folder / answer["frames"])
        self._state = SharedState(folder / "state")
        self._link = link
        self._consumed = 0
        if warmup:
            try:
                self._await(lambda: self._opened().number > 0, self.config.timeout_s * 1000)
            except (TimeoutError, RuntimeError):
                self.disconnect()
                raise

    def _opened(self) -> Frames:
        if self._frames is None:
            raise RuntimeError(f"{self} is not connected")
        return self._frames

    def _await(self, ready, timeout_ms: float) -> None:
        deadline = time.monotonic() + timeout_ms / 1000
        while not ready():
            if self._opened().gone:
                raise RuntimeError(f"{self} has been unplugged.")
            if time.monotonic() > deadline:
                raise TimeoutError(f"Timed out waiting for a frame from {self} after {timeout_ms:g} ms.")
            time.sleep(POLL)

    def _simulated(self) -> bool:
        return self._state is not None and bool(self._state.get("simulated_clock"))

    def _take(self) -> NDArray[Any]:
        frames = self._opened()
        if frames.gone:
            raise RuntimeError(f"{self} has been unplugged.")
        self._consumed = frames.number
        picture = frames.latest()
        if self.config.color_mode == ColorMode.BGR:
            picture = np.ascontiguousarray(picture[..., ::-1])
        return picture

    def _up_to_date(self) -> bool:
        return self._state is not None and self._opened().step >= self._state.get("goal_step")

    @check_if_not_connected
    def read(self, color_mode: ColorMode | None = None) -> NDArray[Any]:
        """Waits for the next picture, (height, width, 3) uint8.

        Raises:
            DeviceNotConnectedError: Not connected.
            TimeoutError: None came for 10 s.
            RuntimeError: The camera has been unplugged.
        """
        self._consumed = self._opened().number
        return self.async_read(timeout_ms=READ_TIMEOUT_MS)

    @check_if_not_connected
    def async_read(self, timeout_ms: float = 200) -> NDArray[Any]:
        """The latest picture not yet read, or the next one.

        Raises:
            DeviceNotConnectedError: Not connected.
            TimeoutError: None came in time.
            RuntimeError: The camera has been unplugged.
        """
        if self._simulated():
            self._await(self._up_to_date, max(timeout_ms, READ_TIMEOUT_MS))
        else:
            self._await(lambda: self._opened().number > self._consumed, timeout_ms)
        return self._take()

    @check_if_not_connected
    def read_latest(self, max_age_ms: int = 500) -> NDArray[Any]:
        """The latest picture, at once.

        Raises:
            DeviceNotConnectedError: Not connected.
            TimeoutError: It is older than ``max_age_ms``.
            RuntimeError: There is none yet, or the camera has been unplugged.
        """
        frames = self._opened()
        if self._simulated():
            self._await(self._up_to_date, READ_TIMEOUT_MS)
        elif frames.number == 0:
            raise RuntimeError(f"{self} has not captured any frames yet.")
        elif frames.age * 1000 > max_age_ms:
            raise TimeoutError(
                f"{self} latest frame is too old: {frames.age * 1000:.1f} ms (max allowed: {max_age_ms} ms)."
            )
        return self._take()

    @check_if_not_connected
    def disconnect(self) -> None:
        """Tells the emulator that nobody watches any more."""
        if self._link is not None:
            self._link.close()
        self._link = self._frames = self._state = None
