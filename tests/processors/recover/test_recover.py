# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm recover`: the starts it prints, and the arm it drives."""

import json

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays
from tiny_arm import JOINT_NAMES
from tiny_robot import TinyRobot, TinyRobotConfig

from lerobot_wallwm.cli import main
from lerobot_wallwm.processors.recover.command import RecoverConfig, recover, timed_path
from lerobot_wallwm.processors.recover.starts import perturbed_starts
from lerobot_wallwm.storage.errors import DataError
from lerobot_wallwm.storage.places import DatasetConfig


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
        np.testing.assert_array_equal(start.way[-1], start.contact)
        assert (start.way[:, 5] == start.contact[5]).all() and len(start.way) <= 21
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
    for flags in ({"radius": 0.0}, {"radius": float("nan")}, {"starts": 0}, {"way_s": 0.0}):
        with pytest.raises(ValueError, match="--"):
            perturbed_starts(source, events, **flags)


ways = arrays(float, st.tuples(st.integers(2, 6), st.integers(1, 6)), elements=st.floats(-90, 90))


@given(ways, st.floats(2, 200))
def test_no_joint_is_faster_than_the_limit(points, speed):
    rate = 30.0
    path = timed_path(points, speed, rate)
    steps = np.diff(np.vstack([points[:1], path]), axis=0) * rate
    assert np.abs(steps).max() <= speed * (1 + 1e-6) + 1e-6
    np.testing.assert_array_equal(path[-1], points[-1])
    low, high = points.min(axis=0) - 1e-9, points.max(axis=0) + 1e-9
    assert (path >= low).all() and (path <= high).all()


def run(tiny_dataset, answers=(), **fields):
    """Runs the command with a tiny arm and no waiting; returns the exit code, the robot's log and the questions."""
    robot = TinyRobotConfig(**fields.pop("robot", {}))
    TinyRobot.log.clear()
    asked, replies = [], iter(answers)

    def ask(question):
        asked.append(question)
        return next(replies)

    fields = {"starts": 2, "speed": 30.0, **fields}
    config = RecoverConfig(dataset=DatasetConfig(root=tiny_dataset), robot=robot, **fields)
    code = recover(config, ask=ask, sleep=lambda seconds: None)
    return code, list(TinyRobot.log), asked


def printed(capsys, *flags):
    assert main(["recover", *flags, "--json=true"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_arm_is_driven_to_each_start_and_its_port_freed(tiny_dataset, capsys):
    starts = printed(capsys, f"--dataset.root={tiny_dataset}", "--starts=2")
    code, log, asked = run(tiny_dataset, ["y", "", "y", ""])
    assert code == 0 and len(asked) == 4 and "start 1" in asked[0]
    ends = [i for i, entry in enumerate(log) if entry == "held"]
    assert log[0] == "connect" and len(ends) == 2 and log[ends[0] + 1] == "connect"
    for end, start in zip(ends, starts, strict=True):
        np.testing.assert_allclose(log[end - 1], list(start["joints"].values()), atol=1e-3)
    commands = np.array([entry for entry in log[: ends[0]] if isinstance(entry, tuple)])
    steps = np.abs(np.diff(np.vstack([np.zeros(6), commands]), axis=0)) * 30
    assert steps.max() <= 30 * (1 + 1e-6) and steps[0].max() < 3  # bounded, and it begins gently
    # The gripper's number is in the table as recorded; open, before the grasp.
    assert starts[0]["joints"]["gripper.pos"] > 60


def test_nothing_moves_without_a_yes(tiny_dataset):
    assert run(tiny_dataset, ["", "n"])[:2] == (0, [])
    assert run(tiny_dataset, ["q"])[:2] == (0, [])
    code, log, asked = run(tiny_dataset, yes=True, only=2)
    assert code == 0 and asked == [] and log.count("connect") == 1


def test_ctrl_c_stops_and_holds(tiny_dataset, capsys):
    code, log, _ = run(tiny_dataset, ["y"], robot={"interrupt_at": 20})
    assert code == 130 and "Stopped" in capsys.readouterr().out
    commands = [entry for entry in log if isinstance(entry, tuple)]
    assert len(commands) == 20 and commands[-1] == commands[-2]  # 19, and the present place as the last goal
    assert log[-1] == "held"
    assert run(tiny_dataset, ["y"], robot={"interrupt_at": 20}, hold=False)[1][-1] == "limp"


def test_an_arm_that_meets_something_stays_where_it_is(tiny_dataset):
    with pytest.raises(ValueError, match=r"gripper.pos is \d+\.\d away from .* Fix: "):
        run(tiny_dataset, ["y"], robot={"stuck": "gripper.pos"})
    assert TinyRobot.log[-1] == "held" and TinyRobot.log[-2][5] == 0.0


@pytest.mark.parametrize(
    ("robot", "says"),
    [
        ({"port": "missing"}, r"does not answer: no such port.* Fix: check --robot.port"),
        ({"small": True}, r"--robot.type=tiny_arm moves .* Fix: use the arm"),
    ],
)
def test_an_arm_that_does_not_answer_or_is_another_does_not_move(tiny_dataset, robot, says):
    with pytest.raises(ValueError, match=says):
        run(tiny_dataset, ["y"], robot=robot)
    assert TinyRobot.log == []


def test_the_command_line_knows_lerobots_robots(tiny_dataset, capsys):
    TinyRobot.log.clear()
    base = ["recover", f"--dataset.root={tiny_dataset}", "--starts=1", "--only=1", "--yes=true"]
    assert main([*base, "--robot.type=tiny_arm", "--robot.port=x", "--speed=4000", "--way_s=0.2"]) == 0
    assert "At start 1" in capsys.readouterr().out and TinyRobot.log[-1] == "held"
    for flags, needed in (
        (["--events=pour"], "occur nowhere"),
        (["--only=2"], "--only must be from 1 to 1"),
        (["--table=/nowhere.parquet"], "/nowhere.parquet"),
        (["--robot.type=tiny_arm", "--speed=0"], "--speed must be above 0"),
    ):
        assert main([*base, *flags]) == 2
        error = capsys.readouterr().err
        assert needed in error and "Fix: " in error
    with pytest.raises(SystemExit):
        main([*base, "--robot.type=so101_followr"])
    assert "'so101_follower'" in capsys.readouterr().err


def test_a_table_is_printed(tiny_dataset, tiny_view, capsys):
    flags = [f"--dataset.root={tiny_dataset}", f"--table={tiny_view / 'events.parquet'}", "--events=release"]
    assert main(["recover", *flags, "--starts=3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and "shoulder_pan" in lines[0] and "moved by" in lines[0]
    assert all("release" in line for line in lines[1:])
