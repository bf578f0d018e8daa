# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The benchmark's table from progress logs."""

import pytest

from benchmarks.so101 import runs as so101_runs, table as so101_table


def episode(passed, success=False):
    flags = {name: i < passed for i, name in enumerate(so101_table.MILESTONES)}
    progress = (0, 10, 35, 50, 70, 90, 100)[passed]
    return {"success": success, "task_progress": float(progress), **flags}


def test_summary_counts_successes_and_first_failures():
    rows = [episode(0), episode(1), episode(1), episode(6, success=True)]
    summary = so101_table.summarise(rows)
    assert summary["successes"] == 1
    assert summary["progress"] == pytest.approx((0 + 10 + 10 + 100) / 4)
    failed = summary["first_failing_phase"]
    assert (failed["reached"], failed["grasped"], failed["none"]) == (1, 2, 1)
    assert sum(failed.values()) == 4
    low, high = summary["success_interval"]
    assert low < 0.25 < high


def test_markdown_and_chart_show_every_run(tmp_path):
    results = {
        "wallwm/seen": so101_table.summarise([episode(3), episode(6, True)]),
        "act/left_out": so101_table.summarise([episode(0), episode(0)]),
    }
    training = {"wallwm": {"minutes": 60.0, "steps": 1000, "samples": 16000, "parameters": 7_000_000}}
    text = so101_table.markdown(results, training)
    assert "| wallwm | seen | 1/2 |" in text
    assert "| act | left out | 0/2 | 0 to 66 % | 0.0 |" in text
    assert "| wallwm | 60.0 | 1000 | 16000 | 7.0 M |" in text
    so101_table.chart(results, tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes()[:4] == b"\x89PNG"


def test_no_episodes_is_an_error():
    with pytest.raises(ValueError, match="no episodes"):
        so101_table.summarise([])


def test_steps_fill_the_same_time_for_slow_and_fast_policies():
    assert so101_runs.steps_in(10, 0.5) == 1200
    assert so101_runs.steps_in(10, 2.0) == 300
    assert so101_runs.steps_in(0.01, 60) == 10
