# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The command line of `lerobot-rollout` on an emulated arm, and its configuration read in this process."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def emulated_robot(
    arm: str, port: Path, calibration: Path, views: Sequence[str], side: int, fps: int
) -> list[str]:
    """Flags for an emulated arm and its cameras, whose pictures have `side` pixels, at a rate in Hz."""
    camera = f"{{type: emulated, port: {port}, view: VIEW, width: {side}, height: {side}, fps: {fps}}}"
    cameras = ", ".join(f"{view}: {camera.replace('VIEW', view)}" for view in views)
    robot = [f"--robot.type={arm}", f"--robot.port={port}", "--robot.id=arm"]
    robot += [f"--robot.calibration_dir={calibration.parent}", f"--robot.cameras={{{cameras}}}"]
    return ["--policy.device=cpu", *robot, f"--fps={fps}"]


def rollout_config(argv: Sequence[str]) -> Any:
    """LeRobot's `RolloutConfig` of a command line, with all plugins registered."""
    from lerobot.configs import parser
    from lerobot.rollout import RolloutConfig
    from lerobot.scripts import lerobot_rollout  # noqa: F401  registers LeRobot's robots and cameras
    from lerobot.utils.import_utils import register_third_party_plugins

    register_third_party_plugins()
    sys.argv[1:] = argv

    @parser.wrap()  # reads the annotation, which must be no string
    def read(cfg: RolloutConfig) -> RolloutConfig:
        return cfg

    return read()
