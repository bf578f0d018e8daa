# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Whether LeRobot still has room for what it records.

LeRobot keeps its Parquet files open until a recording ends, and writes their footers then: on a full disk there are none,
and no episode of the run can be read. Its `sentry` strategy does not even say so. So the run has to end before.
"""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lerobot.utils.constants import HF_LEROBOT_HOME

from .interventions import SafetyError

logger = logging.getLogger(__name__)

# Seconds between two looks at the disk.
EVERY_S = 1.0
MB = 1_000_000


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
        self._looked: float | None = None

    def check(self) -> None:
        """Raises SafetyError where the room is below the reserve; looks at most once a second."""
        if self.reserve_mb <= 0 or self.folder is None:
            return
        now = self.clock()
        if self._looked is not None and now - self._looked < EVERY_S:
            return
        try:
            free_mb = shutil.disk_usage(_existing(self.folder)).free / MB
        except OSError as error:
            logger.warning("The room at %s cannot be seen (%s): nobody watches it.", self.folder, error)
            self.folder = None
            return
        if free_mb < self.reserve_mb:
            raise SafetyError(
                f"The disk of {self.folder} has {free_mb:.0f} MB left, less than --policy.disk_reserve_mb="
                f"{self.reserve_mb:g}: the run ends while there is room to finish the recording. Fix: make room, record to "
                "another disk (--dataset.root), or choose a smaller reserve (0: never end for it)."
            )
        # Only now: once the disk is low, every call says so, also the retries of LeRobot's RTC mode.
        self._looked = now


def _existing(path: Path) -> Path:
    """The path, or the nearest of its parents that exists."""
    path = path.expanduser().absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path
