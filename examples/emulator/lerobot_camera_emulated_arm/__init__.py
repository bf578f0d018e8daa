# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The emulated arm's cameras for LeRobot, ``type: emulated``. LeRobot imports this module by the distribution's name."""

from lerobot_camera_emulated_arm.config_emulated import EmulatedCameraConfig

__all__ = ["EmulatedCameraConfig"]
