# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The SO-101 benchmark's rows from progress logs."""

import json
from argparse import Namespace

import av
import numpy as np
import pytest
from PIL import Image

from benchmarks.harness.rows import CannotRunError
from benchmarks.so101 import bench, failures


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


def test_failures_that_fail_again_are_drawn_and_others_are_not(tmp_path, monkeypatch):
    episodes = [
        {"seed": seed, "cube": "red", "disc": "blue", "steps": 9, **episode(seed - 1)} for seed in (1, 2)
    ]
    log = tmp_path / "progress.jsonl"
    log.write_text("".join(json.dumps(e) + "\n" for e in episodes))

    def play(policy, split, count, out, *_, seed, **__):
        """Alone, the second scene fails as before and the first one otherwise."""
        out.mkdir(parents=True)
        (out / "progress.jsonl").write_text(json.dumps(episodes[1]) + "\n")
        with av.open(str(out / "a.mp4"), "w") as film:
            stream = film.add_stream("mpeg4", rate=10, options={})
            stream.width = stream.height = 32
            for _ in range(12):
                frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 200, np.uint8))
                film.mux(stream.encode(frame))
            film.mux(stream.encode())

    monkeypatch.setattr(failures, "evaluate", play)
    args = Namespace(policy=tmp_path, log=log, split="seen", out=tmp_path / "out")
    found = {
        row.cells["phase that failed"]: row.cells for row in failures.rows(args) if "scenes" in row.cells
    }
    assert found["reached"] == {"phase that failed": "reached", "scenes": 1, "played again": False}
    assert found["grasped"]["played again"] and found["lifted"]["scenes"] == 0
    with Image.open(tmp_path / "out/failures.png") as sheet:
        assert sheet.size == (failures.MOMENTS * failures.SIDE, failures.SIDE + 22)
