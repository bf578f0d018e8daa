# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The record of a run: every goal written and every fault injected, one JSON object a line."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

# Our choice: lines lie in memory at most this long, so that a killed emulator loses little.
FLUSH_EVERY = 0.2


class Journal:
    """Writes the lines. Every line has ``event`` and ``t``, seconds of the system's clock since 1970.

    A goal: ``{"event": "goal", "t", "step", "id", "ticks", "low", "high", "outside", "applied", "torque"}``.

    Args:
        path: The file; it is appended to. None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._file: IO[str] | None = path.open("a", encoding="utf-8") if path else None
        self._lock = threading.Lock()
        self._flushed = 0.0

    def write(self, event: str, details: dict[str, Any]) -> None:
        """Adds a line."""
        if self._file is None:
            return
        line = json.dumps({"event": event, "t": round(time.time(), 6), **details})
        with self._lock:
            self._file.write(line + "\n")

    def flush(self, force: bool = False) -> None:
        """Brings the lines to the file if it is time."""
        now = time.monotonic()
        if self._file is not None and (force or now - self._flushed > FLUSH_EVERY):
            self._flushed = now
            with self._lock:
                self._file.flush()


def read_journal(path: Path, event: str | None = None) -> Iterator[dict]:
    """Yields the lines of a journal, all or of one event; a line cut short by a kill is passed over."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if event in (None, entry["event"]):
                yield entry


def worst_goal(path: Path) -> dict | None:
    """The goal that lies furthest beyond its servo's limits, or None if no goal does.

    Returns:
        Its line, with ``beyond``: ticks past the nearer limit.
    """
    worst = None
    for goal in read_journal(path, "goal"):
        beyond = max(goal["low"] - goal["ticks"], goal["ticks"] - goal["high"])
        if goal["outside"] and beyond > 0 and (worst is None or beyond > worst["beyond"]):
            worst = {**goal, "beyond": beyond}
    return worst
