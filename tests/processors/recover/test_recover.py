# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm recover`: the starts it prints."""

import json
import subprocess
import sys

import numpy as np
import pytest
from tiny_arm import JOINT_NAMES

from lerobot_wallwm.cli import main
from lerobot_wallwm.processors.recover.command import perturbed_starts
from lerobot_wallwm.storage.errors import DataError


def test_starts_lie_in_the_ball_around_recorded_contacts(source, events):
    names, starts = perturbed_starts(source, events, starts=15, radius=6.0, seed=3)
    assert names == JOINT_NAMES and len(starts) == 15
    states = np.concatenate([episode.state for episode in source])
    moved = []
    for start in starts:
        episode = source.read(source.episode_indices.index(start.event.episode_index))
        np.testing.assert_array_equal(start.contact, episode.state[start.event.start])
        assert start.event.label == "grasp" and start.start[5] == start.contact[5]
        moved.append(np.linalg.norm(start.start - start.contact))
        assert (start.start >= states.min(axis=0)).all() and (start.start <= states.max(axis=0)).all()
    assert min(moved) > 0 and 3 < max(moved) <= 6.0
    # Six grasps: each is used twice before any is used three times.
    times = np.bincount([start.event.episode_index for start in starts])
    assert times.min() >= 2 and times.max() <= 3
    again = perturbed_starts(source, events, starts=15, radius=6.0, seed=3)[1]
    assert all((a.start == b.start).all() for a, b in zip(starts, again, strict=True))
    other = perturbed_starts(source, events, starts=15, radius=6.0, seed=4)[1]
    assert any((a.start != b.start).any() for a, b in zip(starts, other, strict=True))


def test_starts_refuse_what_they_cannot_do(source, events):
    with pytest.raises(DataError, match=r"events pour: occur nowhere.*--events= one or more of .*grasp"):
        perturbed_starts(source, events, ["pour"])
    for flags in ({"radius": 0.0}, {"radius": float("nan")}, {"starts": 0}):
        with pytest.raises(ValueError, match="--"):
            perturbed_starts(source, events, **flags)


def test_lines_of_json_name_every_joint(source, events, tiny_dataset, capsys):
    assert main(["recover", f"--dataset.root={tiny_dataset}", "--starts=2", "--json=true"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    _, starts = perturbed_starts(source, events, starts=2)
    for number, (row, start) in enumerate(zip(rows, starts, strict=True), 1):
        assert row["start"] == number and row["label"] == "grasp"
        assert row["joints"] == pytest.approx(dict(zip(JOINT_NAMES, start.start, strict=True)), abs=1e-3)
    # The gripper's number is in the table as recorded; open, before the grasp.
    assert rows[0]["joints"]["gripper.pos"] > 60


def test_bad_flags_get_one_line(tiny_dataset, capsys):
    for flag, needed in (
        ("--events=pour", "occur nowhere"),
        ("--starts=0", "--starts must be at least 1"),
        ("--table=/nowhere.parquet", "/nowhere.parquet"),
        ("--robot.type=so101_follower", "--robot.type"),
    ):
        try:
            assert main(["recover", f"--dataset.root={tiny_dataset}", flag]) == 2
        except SystemExit as end:  # argparse's own word on a flag that is not there
            assert end.code == 2
        assert needed in capsys.readouterr().err


def test_no_robot_is_imported():
    """An arm is moved by LeRobot's tools alone."""
    code = (
        "import sys, lerobot_wallwm.processors.recover.command\n"
        "assert not any(name.startswith('lerobot.') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_table_is_printed(tiny_dataset, tiny_view, capsys):
    flags = [f"--dataset.root={tiny_dataset}", f"--table={tiny_view / 'events.parquet'}", "--events=release"]
    assert main(["recover", *flags, "--starts=3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and "shoulder_pan" in lines[0] and "moved by" in lines[0]
    assert all("release" in line for line in lines[1:])
