# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Emulated arms as processes, and LeRobot's own drivers connected to them."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("emulated_arm", reason="pip install -e examples/emulator")
pytest.importorskip("scservo_sdk", reason="pip install -e '.[arms]'")
pytest.importorskip("dynamixel_sdk", reason="pip install -e '.[arms]'")

from emulated_arm.arms import ARMS, calibration_of, travel_as_built
from emulated_arm.process import EmulatorProcess

# The kernel's, see the emulator's README: no driver may go ahead of it.
AHEAD = 0


@pytest.fixture(autouse=True)
def _ahead_of_others() -> Iterator[None]:
    """Lets the drivers run before processes that were set back where the user may, as on an arm's own computer.

    They poll for an answer for 34 to 50 ms; on a machine full of other work an ordinary process is not even scheduled
    within that time (the emulator's README has figures). Processes started by a test inherit it.
    """
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, min(before, AHEAD))
    yield
    os.setpriority(os.PRIO_PROCESS, 0, before)


@pytest.fixture
def calibration_file(tmp_path: Path) -> Callable[[str], Path]:
    """Writes the calibration of an assembled arm under the name LeRobot looks for, and returns its path."""

    def write(kind: str, seed: int = 0) -> Path:
        path = tmp_path / f"{kind}_calibration" / "me.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(calibration_of(ARMS[kind], travel_as_built(ARMS[kind], seed))))
        return path

    return write


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., EmulatorProcess]]:
    """Starts emulators that end with the test."""
    running: list[EmulatorProcess] = []

    def run(kind: str, **options: Any) -> EmulatorProcess:
        running.append(EmulatorProcess(kind, tmp_path / f"tty_{kind}_{len(running)}", **options))
        return running[-1]

    yield run
    for emulator in running:
        emulator.close()


@pytest.fixture
def device(calibration_file: Callable[[str], Path]) -> Iterator[Callable[..., Any]]:
    """Builds LeRobot's own robot or teleoperator for an emulator; disconnects it at the end."""
    from lerobot.robots import koch_follower, so_follower
    from lerobot.teleoperators import koch_leader, so_leader

    configs = {
        "so100_follower": so_follower.SO100FollowerConfig,
        "so101_follower": so_follower.SO101FollowerConfig,
        "koch_follower": koch_follower.KochFollowerConfig,
        "so100_leader": so_leader.SO100LeaderConfig,
        "so101_leader": so_leader.SO101LeaderConfig,
        "koch_leader": koch_leader.KochLeaderConfig,
    }
    made = []

    def build(kind: str, emulator: EmulatorProcess, **settings: Any) -> Any:
        from lerobot.robots import make_robot_from_config
        from lerobot.teleoperators import make_teleoperator_from_config

        if not kind.startswith("koch"):
            settings.setdefault("num_read_retries", 30)
        config = configs[kind](
            id="me", port=str(emulator.port), calibration_dir=calibration_file(kind).parent, **settings
        )
        make = make_teleoperator_from_config if ARMS[kind].leader else make_robot_from_config
        made.append(make(config))
        return made[-1]

    yield build
    for one in made:
        # A test may have left the bus dead on purpose.
        if one.bus.is_connected:
            one.bus.port_handler.closePort()
        for camera in getattr(one, "cameras", {}).values():
            if camera.is_connected:
                camera.disconnect()
