# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""One inference at a time beside the control loop.

Python runs one thread at a time, and PyTorch lets go of that lock only inside its operators, for microseconds. A loop that
wakes up then asks for the lock and gets it after the switch interval, 5 ms by default, and again after each operator of its
own. So the interval is shortened, and the worker leaves one core alone. It has no lower priority than the loop: a thread
that is set aside while it holds the lock keeps the loop waiting.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import torch

# Seconds after which a thread that waits for Python's lock gets it. Our choice: a tick asks for it some dozen times.
SWITCH_S = 0.0002

# PyTorch's threads before the first loop was left with one.
_had = 1


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def share_the_machine(wanted: int = 0) -> int:
    """Lets a control loop, on whose thread this is called, run beside an inference in the same process.

    It gets Python's lock soon, and PyTorch's operators in it use one thread. They are small, and a second thread would have
    them wait for a core on which the inference computes.

    Args:
        wanted: Threads of PyTorch's operators in the inference; 0: all cores but one.

    Returns:
        That number, but no more than the process had: ``OMP_NUM_THREADS``, say, is a person's word.
    """
    global _had
    sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_S))
    _had = max(_had, torch.get_num_threads())
    torch.set_num_threads(1)
    return min(wanted or max(1, cores() - 1), _had)


class BackgroundWorker[T]:
    """Runs one job at a time on a thread of its own.

    Args:
        threads: Threads of PyTorch's operators in the jobs; 0 takes all cores but one.
    """

    def __init__(self, threads: int = 0):
        self.threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._job: Future[T] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> BackgroundWorker[T]:
        """A copy of a policy works on a thread of its own."""
        return BackgroundWorker(self.threads)

    @property
    def busy(self) -> bool:
        """Whether a job was submitted whose result was not taken."""
        return self._job is not None

    def submit(self, job: Callable[[], T]) -> None:
        """Starts a job."""
        assert self._job is None, "one job at a time"
        if self._pool is None:
            threads = share_the_machine(self.threads)
            # The pool's threads end with the process, which waits for a job in flight. PyTorch keeps a number for each.
            self._pool = ThreadPoolExecutor(
                1, "wallwm-inference", initializer=torch.set_num_threads, initargs=(threads,)
            )
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


# An interpreter sets some hundred objects aside when it starts.
_FEW = 10_000


def set_aside() -> None:
    """Collects once in a process, and leaves what survives out of all later collections."""
    if gc.get_freeze_count() < _FEW:
        gc.collect()
        gc.freeze()
