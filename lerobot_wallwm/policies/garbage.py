# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Python's garbage collection beside a control loop.

A full collection looks at every object there is. LeRobot and PyTorch make half a million when they are imported, which takes
0.35 s on two cores, ten ticks in which an arm gets no goal, once in some minutes. These objects stay for good, so they are set
aside before the first goal, and later collections look at what a rollout itself makes.
"""

from __future__ import annotations

import gc

# An interpreter sets some hundred objects aside when it starts.
_FEW = 10_000


def set_aside() -> None:
    """Collects once in a process, and leaves what survives out of all later collections."""
    if gc.get_freeze_count() < _FEW:
        gc.collect()
        gc.freeze()
