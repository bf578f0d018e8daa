# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Settings of an emulated camera."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lerobot.cameras.configs import CameraConfig, ColorMode


@CameraConfig.register_subclass("emulated")
@dataclass(kw_only=True)
class EmulatedCameraConfig(CameraConfig):
    """A camera in the world of an emulated arm.

    ``{wrist: {type: emulated, port: DIR/follower, view: wrist, width: 96, height: 96, fps: 20}}``

    Attributes:
        port: The emulator's ``--port``.
        view: One of the emulator's ``--views``.
        color_mode: Order of the channels.
        timeout_s: How long connecting waits for the first picture.
    """

    port: Path
    view: str = "wrist"
    color_mode: ColorMode = ColorMode.RGB
    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        self.color_mode = ColorMode(self.color_mode)
        self.port = Path(self.port)
        if not self.fps or not self.width or not self.height:
            raise ValueError("an emulated camera needs width, height and fps. Fix: set all three.")
