# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""One inference at a time beside the control loop.

Python runs one thread at a time, and PyTorch lets go of that lock only inside its operators. How many threads those use
belongs to the process: the recipes start LeRobot with ``OMP_NUM_THREADS=1``, so that the loop never waits for a core.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any


class BackgroundWorker[T]:
    """Runs one job at a time on a thread of its own, which ends with the process."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._job: Future[T] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> BackgroundWorker[T]:
        """A copy of a policy works on a thread of its own."""
        return BackgroundWorker()

    @property
    def busy(self) -> bool:
        """Whether a job was submitted whose result was not taken."""
        return self._job is not None

    def submit(self, job: Callable[[], T]) -> None:
        """Starts a job."""
        assert self._job is None, "one job at a time"
        self._pool = self._pool or ThreadPoolExecutor(1, "wallwm-inference")
        self._job = self._pool.submit(job)

    def take(self) -> T | None:
        """The job's result once it is there; raises what the job raised."""
        if self._job is None or not self._job.done():
            return None
        job, self._job = self._job, None
        return job.result()

    def drop(self) -> None:
        """Waits for a job in flight and forgets its result: for a reset, never within a tick."""
        if self._job is not None:
            wait([self._job])
            self._job = None
