# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The SO-101 benchmark's rows from progress logs."""

import pytest

from benchmarks.harness.rows import CannotRunError
from benchmarks.so101 import bench


def episode(passed, success=False):
    flags = {name: i < passed for i, name in enumerate(bench.MILESTONES)}
    progress = (0, 10, 35, 50, 70, 90, 100)[passed]
    return {"success": success, "task_progress": float(progress), **flags}


def test_summary_counts_successes_and_first_failures():
    episodes = [episode(0), episode(1), episode(1), episode(6, success=True)]
    scored, failed = bench.summarise("wallwm", "left_out", episodes)
    assert scored.cells["success"].hits == 1 and scored.cells["colour pairs"] == "left out"
    assert scored.cells["Task Progress"] == pytest.approx((0 + 10 + 10 + 100) / 4)
    low, high = scored.cells["success"].interval
    assert low < 0.25 < high
    counts = failed.cells
    assert (counts["reached"], counts["grasped"], counts["none"]) == (1, 2, 1)


def test_no_episodes_is_an_error():
    with pytest.raises(CannotRunError, match="no episodes"):
        list(bench.summarise("act", "seen", []))


def test_steps_fill_the_same_time_for_slow_and_fast_policies():
    assert bench.steps_in(10, 0.5) == 1200
    assert bench.steps_in(10, 2.0) == 300
    assert bench.steps_in(0.01, 60) == 10
