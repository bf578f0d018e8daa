# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""One `lerobot-rollout` of a campaign, from its start to what it leaves behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.faults.judge import End, last_words

if TYPE_CHECKING:
    from benchmarks.faults.lane import Lane

POLL_S = 0.02
# Seconds until a rollout moves the arm, or has ended once it is to end. A busy machine needs most of it.
START_S, END_S = 120.0, 60.0


class Rollout:
    """One `lerobot-rollout`.

    Attributes:
        began: Time of its start.
        code: Exit code once it has ended.
        ended_at: When that was noticed.
        waited_s: Seconds that its main thread was ready to run and was not let; 0 where the system does not tell.
        free_from: Since when LeRobot moves the arm back to where it was, or None.
    """

    def __init__(
        self, lane: Lane, argv: list[str], log: Path, session: dict, fresh: bool, hasty: bool
    ) -> None:
        self.lane, self.log, self.session = lane, log, session
        self.began = time.time()
        self.code: int | None = None
        self.ended_at: float | None = None
        self.free_from: float | None = None
        self.waited_s = 0.0
        self.hung = False
        self._said, self._text = -1, ""
        self._own: subprocess.Popen | None = None
        if fresh:
            with log.open("wb") as file:
                self._own = subprocess.Popen(
                    [str(Path(sys.executable).with_name("lerobot-rollout")), *argv],
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env=lane.environment,
                    start_new_session=True,
                )
            self.pid = self._own.pid
        else:
            self.pid = lane.nursery.start(argv, log, hasty)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
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
        """Its log."""
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
        """The last resort."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.wait(END_S)

    def end(self, seconds: float = END_S) -> End:
        """Waits for its end, kills it where none comes, and looks at what it leaves behind."""
        if not self.wait(seconds):
            self.hung = True
            self.kill()
        status = self.lane.emulator.remote.ask("status")["joints"].values()
        end = End(
            self.code, self.hung, last_words(self.text()), sum(j["torque"] for j in status), len(status)
        )
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
