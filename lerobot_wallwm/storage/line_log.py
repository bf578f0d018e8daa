# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A rollout's log: one JSON object a line, written in the background so that a slow disk never delays a tick.

Every line has ``time`` (seconds since 1970), ``tick`` (of the rollout, from 0), ``robot`` (its row in the batch) and
``kind``.
"""

from __future__ import annotations

import atexit
import json
import logging
import queue
import threading
import time
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

# Lines that may wait for the disk before new ones are dropped and counted. Our choice: minutes of a busy rollout.
MOST_WAITING = 10_000
# Seconds that the end of the process waits for the disk.
_LAST_WAIT_S = 2.0
_CANNOT = (
    "%s=%s cannot be written (%s): the rollout goes on without it. Fix: free the disk, or name another file"
)


class LineLog:
    """Appends to a file; without a path it only counts.

    A disk that is full or gone costs lines, never the rollout: the first failure is logged, and `lost` counts.

    Args:
        path: The file, made with its folder at the first line. None writes nothing.
        flag: That the file was named by, for the warning.

    Attributes:
        counts: Lines by kind, whether they could be written or not.
        lost: Lines that could not be written.
    """

    def __init__(self, path: str | Path | None = None, flag: str = "--policy.event_log"):
        self.path, self.flag = Path(path) if path else None, flag
        self.counts: dict[str, int] = {}
        self.lost = 0
        self._lines: queue.Queue[str] = queue.Queue(MOST_WAITING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> LineLog:
        """A copy of a policy writes into the same file."""
        return self

    def write(self, kind: str, tick: int, robot: int = 0, **facts: Any) -> None:
        """Adds a line; never blocks and never raises for what the disk does."""
        with self._lock:
            self.counts[kind] = self.counts.get(kind, 0) + 1
            if self.path is not None and self._thread is None:
                self._thread = threading.Thread(target=self._run, name="wallwm-line-log", daemon=True)
                self._thread.start()
                atexit.register(self.flush)
        if self.path is None:
            return
        line = {"time": round(time.time(), 4), "tick": tick, "robot": robot, "kind": kind, **facts}
        try:
            self._lines.put_nowait(json.dumps(line, ensure_ascii=False, default=str))
        except queue.Full:
            self.lost += 1

    def flush(self, seconds: float = _LAST_WAIT_S) -> None:
        """Waits until all lines so far are written, or the time is up."""
        end = time.monotonic() + seconds
        while self._lines.unfinished_tasks and time.monotonic() < end:
            time.sleep(0.005)

    def _run(self) -> None:
        assert self.path is not None
        while True:
            text = self._lines.get() + "\n"
            taken = 1
            while not self._lines.empty():
                text += self._lines.get() + "\n"
                taken += 1
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(text)
            except OSError as error:
                if not self.lost:
                    logger.warning(_CANNOT, self.flag, self.path, error)
                self.lost += taken
            for _ in range(taken):
                self._lines.task_done()
