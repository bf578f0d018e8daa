# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Room that is held on a disk, to be given back when another program has taken all the rest at once."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import weakref
from pathlib import Path

logger = logging.getLogger(__name__)

# Seconds between two looks at the disk: shorter than a tick, so that few writes can fail before the room is back.
EVERY_S = 0.02
# Free bytes below which the disk counts as full. Room given back while the other program still writes would be its own.
FULL = 1_000_000
# Bytes that are taken at a time: there are file systems on which this takes a while.
STEP = 8_000_000


class Ballast:
    """Holds room with a file that has no name, so that nothing is left of it when the process ends, however it ends.

    The file is filled and watched on a thread of its own, and given back as soon as nobody refers to this object.

    Args:
        folder: On the disk.
        size: Bytes. Where they cannot be had (no room, a quota, a system without `posix_fallocate`), none are held, and
            the log says so.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self._let_go, self._held = threading.Event(), [0]
        self._thread: threading.Thread | None = None
        if not hasattr(os, "posix_fallocate"):
            logger.info("This system holds no room: a disk that is full at once may cost the recording.")
            self._let_go.set()
            return
        parts = (folder, size, self._let_go, self._held)  # not self, which could never be given up then
        self._thread = threading.Thread(target=_hold, args=parts, name="wallwm-ballast", daemon=True)
        self._thread.start()
        weakref.finalize(self, self._let_go.set)

    @property
    def held(self) -> int:
        """Bytes that are on the disk now."""
        return self._held[0]

    @property
    def let_go(self) -> bool:
        """Whether the room was given back, or could not be held."""
        return self._let_go.is_set()

    def drop(self) -> None:
        """Gives the room back, and returns when the disk has it, or after a second. May be called again."""
        self._let_go.set()
        if self._thread is not None:
            self._thread.join(1.0)


def _hold(folder: Path, size: int, let_go: threading.Event, held: list[int]) -> None:
    """Takes the room, and returns when it was given back."""
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=".wallwm_ballast_") as file:
            for begin in range(0, size, STEP):
                if let_go.is_set():
                    break
                os.posix_fallocate(file.fileno(), begin, min(STEP, size - begin))
                held[0] = os.fstat(file.fileno()).st_blocks * 512
            while not let_go.wait(EVERY_S):
                room = os.statvfs(folder)
                if room.f_bavail * room.f_frsize < min(FULL, size // 4):
                    logger.warning(
                        "The disk of %s is full: %.0f MB are given back to it.", folder, size / 1e6
                    )
                    break
            held[0] = 0
            file.truncate(0)  # a process that was forked meanwhile has it open, too
    except OSError as error:
        logger.warning("No room can be held for the recording at %s: %s.", folder, error)
    held[0] = 0
    let_go.set()
