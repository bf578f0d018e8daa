# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""One emulated arm, the journal of what its servos received, and the rollouts that a campaign runs on it one by one."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from bisect import bisect_left
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arm.processes import Nursery
from benchmarks.arm.rollout_flags import emulated_robot
from benchmarks.arm.toy_checkpoint import CAMERAS, FPS, SIZE, make_checkpoint
from benchmarks.faults.judge import End, Goals, last_words, weigh
from emulated_arm.arms import ARMS, Arm, calibration_of, travel_as_built
from emulated_arm.process import EmulatorProcess
from lerobot_wallwm import WallwmConfig
from lerobot_wallwm.hub.files.learned import Learned
from lerobot_wallwm.policies.safety.goal_guard import MotionLimits

POLL_S = 0.02
# Seconds until a rollout moves the arm, or has ended once it is to end. A busy machine needs most of it.
START_S, END_S = 120.0, 60.0
_time = itemgetter("t")


def servo_units(arm: Arm, calibration: dict[str, dict]) -> tuple[np.ndarray, np.ndarray]:
    """LeRobot's units in a servo's ticks, each ``(joints,)``: ``ticks = zero + scale * value``."""
    zero, scale = [], []
    for joint in arm.joints:
        low, high = calibration[joint.name]["range_min"], calibration[joint.name]["range_max"]
        parts = {"percent": 100, "signed_percent": 200}
        scale.append(4095 / 360 if joint.units == "degrees" else (high - low) / parts[joint.units])
        zero.append(low if joint.units == "percent" else (low + high) / 2)
    return np.array(zero, float), np.array(scale, float)


class Lane:
    """The arm, its checkpoint, and at most one rollout at a time.

    Args:
        arm: LeRobot's name of the arm.
        folder: For everything of this lane.
        seed: Of the assembly and the weights.
        niceness: Of the emulator, which stands for hardware that waits for nobody; ignored without the right to it.
    """

    def __init__(self, arm: str, folder: Path, seed: int = 0, niceness: int = 0) -> None:
        self.name, self.folder = arm, folder
        folder.mkdir(parents=True, exist_ok=True)
        kind = ARMS[arm]
        travels = travel_as_built(kind, seed)
        self.calibration = folder / "calibration" / "arm.json"
        self.calibration.parent.mkdir(exist_ok=True)
        numbers = calibration_of(kind, travels)
        self.calibration.write_text(json.dumps(numbers, indent=4))
        self.checkpoint = make_checkpoint(folder / "checkpoint", kind, travels, seed)
        self.low, self.high, self.step = self._limits(kind, numbers)
        self.port = folder / "port"
        shutil.rmtree(folder / "port.emulator", ignore_errors=True)
        self.emulator = EmulatorProcess(arm, self.port, calibration=self.calibration, seed=seed)
        with contextlib.suppress(PermissionError):
            for task in os.listdir(f"/proc/{self.emulator.process.pid}/task"):
                os.setpriority(os.PRIO_PROCESS, int(task), niceness)
        self.environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        self.nursery = Nursery(folder / "nursery.log", self.environment)
        self.rollout: Rollout | None = None
        self._lines: list[dict] = []
        self._place = 0

    def _limits(self, arm: Arm, calibration: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        config = WallwmConfig.from_pretrained(self.checkpoint)
        known = Learned.read(self.checkpoint)
        learned = known.motion_limits
        low, high = (np.asarray(learned[key]) for key in ("state_low", "state_high"))
        config.learned = known
        limits = MotionLimits.build(low, high, learned, config.rate_limit, config.what)
        zero, scale = servo_units(arm, calibration)
        return low * scale + zero, high * scale + zero, limits.step * scale

    # --- the journal

    def look(self) -> dict:
        """Takes in what is new in the journal, and says ``faults_busy`` and ``injected`` (hits since the start)."""
        told = self.emulator.remote.ask("flush")
        with self.emulator.journal.open(encoding="utf-8") as file:
            file.seek(self._place)
            for line in file:
                if not line.endswith("\n"):
                    break
                self._place += len(line.encode())
                entry = json.loads(line)
                if entry["event"] == "goal":
                    self._lines.append(entry)
        return told

    def goals(self, since: float, until: float | None = None) -> list[dict]:
        """Goal lines of a stretch of time."""
        self.look()
        first = bisect_left(self._lines, since, key=_time)
        return self._lines[first : None if until is None else bisect_left(self._lines, until, key=_time)]

    def commands(self, since: float = 0.0) -> int:
        """How many commands (of all joints) came since a time."""
        return len(self.goals(since)) // len(self.low)

    def weigh(self, since: float, until: float | None = None, free_from: float | None = None) -> Goals:
        """`judge.weigh` for a stretch of time, with the last command before it."""
        lines = self.goals(since, until)
        first = bisect_left(self._lines, since, key=_time)
        before = self._lines[max(0, first - len(self.low)) : first]
        goals = weigh([*before, *lines], self.low, self.high, self.step, free_from, FPS)
        alone = weigh(lines, self.low, self.high, self.step, free_from, FPS)
        alone.step = goals.step
        return alone

    def forget(self) -> None:
        """Drops what the journal has said so far."""
        self.look()
        self._lines.clear()

    # --- rollouts

    def argv(self, session: dict[str, Any], checkpoint: Path | None, extra: tuple[str, ...]) -> list[str]:
        """The command line of ``lerobot-rollout``."""
        words = [
            f"--policy.path={checkpoint or self.checkpoint}",
            f"--policy.background_inference={str(session['background']).lower()}",
            *emulated_robot(self.name, self.port, self.calibration, CAMERAS, SIZE, FPS),
            f"--robot.disable_torque_on_disconnect={str(session['relax']).lower()}",
            "--task=swing the arm",
            "--play_sounds=false",
            f"--return_to_initial_position={str(session['return']).lower()}",
            *extra,
        ]
        if session["record"]:
            words += [
                f"--strategy.type={session['record']}",
                "--dataset.repo_id=local/rollout_faults",
                f"--dataset.root={session['root']}",
                "--dataset.no_stamp=true",
                "--dataset.push_to_hub=false",
                "--dataset.streaming_encoding=true",
                "--dataset.encoder_threads=1",
                f"--dataset.fps={FPS}",
            ]
        if session["record"] == "episodic":
            words += ["--dataset.episode_time_s=1", "--dataset.reset_time_s=0.1", "--dataset.num_episodes=50"]
            words += ["--strategy.reset_to_initial_position=false"]
        return words

    def start(
        self,
        session: dict[str, Any],
        label: str,
        checkpoint: Path | None = None,
        extra: tuple[str, ...] = (),
        fresh: bool = False,
        hasty: bool = False,
        prepare: Callable[[], None] = lambda: None,
    ) -> "Rollout":
        """Starts a rollout with the arm in the middle of its ranges; `label` names its log.

        A `fresh` one is a new interpreter instead of a fork; for `hasty` see `processes`; `prepare` is called just before.
        """
        for order in ("faults clear", "power cycle", "hand middle 0.05", "hand wait", "hand release"):
            self.emulator.remote.ask(order)
        self.forget()
        session = dict(session)
        if session["record"]:
            # A name of its own: LeRobot's reader keeps the videos open that it has read under a name.
            session["root"] = str(self.folder / f"recorded_{label}")
            shutil.rmtree(session["root"], ignore_errors=True)
        argv = self.argv(session, checkpoint, extra)
        log = self.folder / "logs" / f"{label}.log"
        log.parent.mkdir(exist_ok=True)
        log.unlink(missing_ok=True)
        prepare()
        self.rollout = Rollout(self, argv, log, session, fresh, hasty)
        return self.rollout

    def close(self) -> None:
        """Ends everything of this lane."""
        if self.rollout is not None and self.rollout.code is None:
            self.rollout.kill()
        self.nursery.close()
        self.emulator.close()


class Rollout:
    """One `lerobot-rollout`."""

    def __init__(self, lane: Lane, argv: list[str], log: Path, session: dict, fresh: bool, hasty: bool):
        self.lane, self.log, self.session = lane, log, session
        self.began = time.time()
        self.code: int | None = None  # once it has ended
        self.ended_at: float | None = None  # when that was noticed
        self.free_from: float | None = None  # since when LeRobot moves the arm back to where it was
        self.waited_s = (
            0.0  # its main thread was ready to run and was not let; 0 where the system does not tell
        )
        self.hung = False
        self._said, self._text = -1, ""
        self._own: subprocess.Popen | None = None
        if fresh:
            command = [str(Path(sys.executable).with_name("lerobot-rollout")), *argv]
            with log.open("wb") as file:
                pipes = {"stdin": subprocess.DEVNULL, "stdout": file, "stderr": file}
                self._own = subprocess.Popen(command, env=lane.environment, start_new_session=True, **pipes)
            self.pid = self._own.pid
        else:
            self.pid = lane.nursery.start(argv, log, hasty)

    @property
    def alive(self) -> bool:
        if self.code is None:
            with contextlib.suppress(OSError, IndexError):
                told = Path(f"/proc/{self.pid}/schedstat").read_text()
                self.waited_s = max(self.waited_s, int(told.split()[1]) / 1e9)
            self.code = self._own.poll() if self._own is not None else self.lane.nursery.poll()
            if self.code is not None:
                self.ended_at = time.time()
            elif self.free_from is None and "Returning robot to initial" in self.text():
                self.free_from = time.time() - 0.3  # the log is read now and then only
        return self.code is None

    @property
    def ending(self) -> bool:
        """Whether LeRobot has begun to end it; the end of the interpreter may take seconds more."""
        return "Stopping inference engine" in self.text()

    def text(self) -> str:
        with contextlib.suppress(FileNotFoundError):
            size = self.log.stat().st_size
            if size != self._said:
                self._said, self._text = size, self.log.read_text(errors="replace")
        return self._text

    def wait(self, seconds: float, ready: Callable[[], bool] = lambda: False) -> bool:
        """Waits until it ends, or something is ready; True if either came in time."""
        deadline = time.monotonic() + seconds
        while self.alive and not ready():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True

    def moves(self, commands: int = 10) -> bool:
        """Whether it has sent so many commands."""
        return self.lane.commands() >= commands

    def send(self, number: signal.Signals) -> None:
        """Sends a signal, if it still runs."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.wait(END_S)

    def end(self, seconds: float = END_S) -> End:
        """Waits for its end, kills it where none comes, and looks at what it leaves behind."""
        if not self.wait(seconds):
            self.hung = True
            self.kill()
        status = self.lane.emulator.remote.ask("status")["joints"].values()
        torque = sum(joint["torque"] for joint in status)
        end = End(self.code, self.hung, last_words(self.text()), torque, len(status))
        if self.session["record"]:
            end.data = load_recorded(Path(self.session["root"]))
            if end.data == "loads":
                shutil.rmtree(self.session["root"])
        self.lane.rollout = None
        return end


def load_recorded(root: Path) -> str:
    """Whether a recorded dataset loads: ``loads``, ``empty`` (no episode) or the error."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    info = root / "meta" / "info.json"
    try:
        if not info.exists() or json.loads(info.read_text())["total_episodes"] == 0:
            return "empty"
        dataset = LeRobotDataset("local/rollout_faults", root=root)
        for index in {0, len(dataset) // 2, len(dataset) - 1}:
            dataset[index]
    except Exception as error:  # whatever it is, it is the result
        return f"does not load: {type(error).__name__}: {str(error)[:150]}"
    return "loads"
