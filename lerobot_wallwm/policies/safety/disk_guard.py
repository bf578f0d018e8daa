# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Whether LeRobot still has room for what it records.

LeRobot keeps its Parquet files open until a recording ends, and writes their footers then: on a full disk there are none,
and no episode of the run can be read. Its `sentry` strategy does not even say so. So the run has to end before; and for a disk
that is full from one moment to the next, half of the reserve is held from the beginning (`ballast.py`).
"""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lerobot.utils.constants import HF_LEROBOT_HOME

from lerobot_wallwm.policies.safety.ballast import Ballast
from lerobot_wallwm.policies.safety.interventions import SafetyError

logger = logging.getLogger(__name__)

# Seconds between two looks at the disk.
EVERY_S = 1.0
MB = 1_000_000
# Part of the reserve that is held. Our choice.
HELD = 0.5


def recorded_to(words: Sequence[str]) -> Path | None:
    """The folder that a command line of LeRobot's records to, or None where it names no dataset.

    Args:
        words: The command's arguments, as in `sys.argv`. A configuration file among them is not opened: it counts as a
            recording to LeRobot's home.
    """
    for place, word in enumerate(words):
        key, equals, value = word.partition("=")
        if key == "--dataset.root":
            rest = value if equals else next(iter(words[place + 1 :]), "")
            if rest:
                return Path(rest)
    if any(word.startswith(("--dataset.", "--config_path")) for word in words):
        return Path(HF_LEROBOT_HOME)
    return None


class DiskGuard:
    """Looks at the free room of one disk now and then.

    Args:
        reserve_mb: Room below which a run ends, in units of 10^6 bytes; 0: never.
        path: A file or folder on the disk, which need not exist yet; None: where the running command records to.
        clock: Seconds.
    """

    def __init__(self, reserve_mb: float, path: str | None, clock: Callable[[], float]) -> None:
        self.reserve_mb, self.clock = reserve_mb, clock
        self.folder = Path(path) if path else recorded_to(sys.argv)
        self.ballast: Ballast | None = None
        self._looked: float | None = None
        self._holds = False

    def __deepcopy__(self, memo: dict[int, Any]) -> DiskGuard:
        """A copy of a policy holds room of its own."""
        return DiskGuard(self.reserve_mb, str(self.folder) if self.folder else None, self.clock)

    def check(self) -> None:
        """Raises SafetyError where the room, held or free, is below the reserve; looks at most once a second."""
        now = self.clock()
        if self.reserve_mb <= 0 or self.folder is None or not self._is_time(now):
            return
        try:
            free_mb = shutil.disk_usage(_existing(self.folder)).free / MB
        except OSError as error:
            logger.warning("The room at %s cannot be seen (%s): nobody watches it.", self.folder, error)
            self.folder = self.ballast = None
            return
        held_mb = self.ballast.held / MB if self.ballast is not None else 0.0
        if free_mb + held_mb < self.reserve_mb:
            if self.ballast is not None:
                self.ballast.drop()
            raise SafetyError(
                f"The disk of {self.folder} has {free_mb + held_mb:.0f} MB left, less than --policy.disk_reserve_mb="
                f"{self.reserve_mb:g}: the run ends while there is room to finish the recording. Fix: make room, record to "
                "another disk (--dataset.root), or choose a smaller reserve (0: never end for it)."
            )
        # Only now: once the disk is low, every call says so, also the retries of LeRobot's RTC mode.
        self._looked = now
        if self.ballast is None:
            self.ballast = Ballast(_existing(self.folder), int(HELD * self.reserve_mb * MB))
            self._holds = True

    def _is_time(self, now: float) -> bool:
        if self._holds and self.ballast is not None and self.ballast.let_go:
            self._holds, self._looked = False, None  # the disk is full, or never gave any room
        return self._looked is None or now - self._looked >= EVERY_S


def _existing(path: Path) -> Path:
    """The path, or the nearest of its parents that exists."""
    path = path.expanduser().absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path
