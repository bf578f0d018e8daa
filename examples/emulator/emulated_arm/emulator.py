# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Puts an emulator together: arm, line, world process, control socket."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from emulated_arm.arm import EmulatedArm
from emulated_arm.arms import Arm, travel_as_built, travel_from_calibration, write_eeprom
from emulated_arm.bus import Bus, SerialLine
from emulated_arm.camera_server import connect
from emulated_arm.control import Console, ControlServer
from emulated_arm.faults import Fault, Faults
from emulated_arm.hand import along, read_actions
from emulated_arm.journal import Journal
from emulated_arm.mechanics import FirstOrderMechanics, RemoteMechanics
from emulated_arm.shared import MOST_VIEWS, SharedState, folder_of

# Our choice: seconds between looks at whether everything still runs.
WATCH = 0.1
MUJOCO_FPS = 20.0
MUJOCO_VIEWS = ("wrist", "overhead")
# Our choice: importing LeRobot and MuJoCo takes 10 s, and many times that on a busy machine.
START_TIMEOUT = 600.0


@dataclass
class Settings:
    """What an emulator is made of; see the command line's options."""

    arm: Arm
    port: Path
    calibration: dict[str, dict] | None = None
    world: str = "first_order"
    views: tuple[str, ...] = ("wrist", "overhead")
    simulated_clock: bool = False
    fps: float | None = None
    seed: int = 0
    split: str = "seen"
    play: str | None = None
    loop: bool = False
    faults: list[Fault] = field(default_factory=list)
    journal: Path | None = None
    fresh: bool = False
    check_baudrate: bool = True

    def __post_init__(self) -> None:
        if len(self.views) > MOST_VIEWS or len(set(self.views)) != len(self.views) or not all(self.views):
            raise ValueError(f"--views: at most {MOST_VIEWS} different names, got {self.views}")
        if any(not name.replace("_", "").isalnum() for name in self.views):
            raise ValueError(f"--views: letters, digits and underscores only, got {self.views}")
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise ValueError(f"--fps={self.fps} is out of range")
        if self.world == "mujoco":
            if self.arm.name != "so101_follower" and self.arm.name != "so100_follower":
                raise ValueError(f"--world=mujoco has an SO-101 follower only, not a {self.arm.name}")
            if self.fps not in (None, MUJOCO_FPS):
                raise ValueError(f"--world=mujoco runs at {MUJOCO_FPS:g} steps a second only")
            if self.views != MUJOCO_VIEWS:
                raise ValueError(f"--world=mujoco has the views {','.join(MUJOCO_VIEWS)} only")
        if self.fresh and self.calibration:
            raise ValueError("--fresh servos have no calibration. Fix: leave one of the two out.")


class Emulator:
    """A running emulator.

    Args:
        settings: What it is made of.
        quit_: Called by the command ``quit``.

    Raises:
        ValueError: A setting makes no sense; the message names it.
        RuntimeError: The world did not start; the message repeats what it said.
    """

    def __init__(self, settings: Settings, quit_: Callable[[], None]) -> None:
        self.settings = settings
        arm = settings.arm
        fps = settings.fps or (MUJOCO_FPS if settings.world == "mujoco" else 30.0)
        self._folder = folder_of(settings.port)
        self._folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):
            connect(self._folder, "control").close()
            raise ValueError(
                f"an emulator runs at --port={settings.port} already. Fix: end it, or choose another name."
            )
        if settings.port.exists() and not settings.port.is_symlink():
            raise ValueError(f"--port={settings.port} exists and is not a link. Fix: choose another name.")
        self._folder.chmod(0o700)
        motion = None
        if settings.calibration:
            travels = travel_from_calibration(arm, settings.calibration)
        else:
            travels = travel_as_built(arm, settings.seed)
        if settings.play:
            rows, rate = read_actions(settings.play, arm)
            motion = along(rows, fps if settings.simulated_clock else rate, travels, settings.loop)
        servos = [arm.servo(joint, settings.fresh) for joint in arm.joints]
        if settings.calibration:
            write_eeprom(arm, servos, settings.calibration)
        for index, (servo, travel) in enumerate(zip(servos, travels, strict=True)):
            servo.shaft = travel.to_shaft(50.0 if travel.units == "percent" else 0.0)
            if settings.fresh:
                # Several servos with the same id cannot share a line.
                servo.connected = index == len(servos) - 1
        self.journal = Journal(settings.journal or self._folder / "journal.jsonl")
        state = SharedState(self._folder / "state", create=True)
        state.set("reset_seed", settings.seed)
        self._state = state
        state.position[:] = [t.to_units(s.shaft) for s, t in zip(servos, travels, strict=True)]
        self._world = self._start_world()
        mechanics = FirstOrderMechanics if settings.world == "first_order" else RemoteMechanics
        self.arm = EmulatedArm(
            arm,
            servos,
            travels,
            mechanics(servos, travels, state),
            state,
            Faults(settings.faults, settings.seed, self.journal.write),
            self.journal,
            settings.views,
            simulated_clock=settings.simulated_clock,
            period=1 / fps,
            on_step=self._poke,
        )
        if motion is not None:
            self.arm.play(motion, at_first_read=True)
        self.console = Console(self.arm, self._reset, self._world_status, quit_)
        self.line = SerialLine(settings.port)
        self._bus = Bus(self.line, self.arm, settings.check_baudrate)
        self._control = ControlServer(self._folder, self.console)
        self._bus.start()
        self._control.start()

    def _start_world(self) -> subprocess.Popen:
        settings = self.settings
        module = "stick_world" if settings.world == "first_order" else "mujoco_world"
        command = [sys.executable, "-m", f"emulated_arm.{module}", "--folder", str(self._folder)]
        if settings.world == "first_order":
            command += ["--arm", settings.arm.name, "--views", ",".join(settings.views)]
        else:
            command += ["--split", settings.split] + ["--lockstep"] * settings.simulated_clock
        said = self._folder / "world.log"
        with said.open("wb") as log:
            # A session of its own: control-C in the terminal ends the emulator, which then ends the world.
            world = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )
        timer = threading.Timer(START_TIMEOUT, world.kill)
        timer.start()
        try:
            if world.stdout is None or world.stdin is None or world.stdout.readline() != b"ready\n":
                world.wait()
                reason = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
                raise RuntimeError(
                    f"the world {settings.world} did not start: {reason[-1] if reason else '?'}"
                )
        finally:
            timer.cancel()
        os.set_blocking(world.stdin.fileno(), False)
        return world

    def _poke(self) -> None:
        if self._world.stdin is not None:
            # A full pipe holds enough pokes already.
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                os.write(self._world.stdin.fileno(), b"s")

    def _reset(self, seed: int) -> None:
        if self.settings.world != "mujoco":
            raise ValueError("only --world=mujoco has a scene to set up")
        if not 0 <= seed < 2**31:
            raise ValueError(f"seed {seed} is out of range")
        state = self._state
        asked = state.get("reset_asked") + 1
        state.set("reset_seed", seed)
        # Readers of the cameras wait for pictures of the new scene.
        self.arm.skip_step()
        state.set("reset_asked", asked)
        self._poke()
        deadline = time.monotonic() + START_TIMEOUT
        while state.get("reset_done") < asked:
            if self._world.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError("the world does not answer")
            time.sleep(0.002)
        self.arm.hold()
        state.set("reset_taken", asked)

    def _world_status(self) -> dict:
        if self.settings.world != "mujoco":
            return {"name": self.settings.world}
        state = self._state
        return {
            "name": self.settings.world,
            "steps": state.get("steps"),
            "success": bool(state.get("success")),
            "succeeded": bool(state.get("succeeded")),
            "task_progress": state.progress,
            "milestones": state.get("milestones"),
            **json.loads((self._folder / "scene.json").read_text(encoding="utf-8")),
        }

    def run(self, ended: threading.Event) -> int:
        """Runs until ``ended`` is set or something breaks; returns the exit code."""
        while not ended.wait(WATCH):
            self.journal.flush()
            if self._bus.failure is not None or self._world.poll() is not None:
                what = (
                    f"the bus failed: {self._bus.failure!r}" if self._bus.failure else "the world has ended"
                )
                print(f"emulated-arm: {what}; see {self._folder / 'world.log'}", file=sys.stderr)
                return 1
        return 0

    def close(self) -> None:
        """Takes the port and the folder's sockets away; the journal stays."""
        self._control.close()
        if self._bus.is_alive():
            self._bus.stop()
        self.line.close()
        self.journal.flush(force=True)
        if self._world.stdin is not None:
            self._world.stdin.close()
        try:
            self._world.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._world.kill()
        for name in ("control", "cameras", "state", "scene.json"):
            (self._folder / name).unlink(missing_ok=True)
        for path in self._folder.glob("frames-*"):
            path.unlink()
