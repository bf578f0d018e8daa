# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""LeRobot's unmodified drivers on the emulated bus: all six devices, units, limits, torque, cameras."""

import time

import numpy as np
import pytest
from patience import connect_patiently, is_calibrated, patiently

from emulated_arm.arms import ARMS
from emulated_arm.journal import worst_goal
from lerobot_camera_emulated_arm import EmulatedCameraConfig
from lerobot_camera_emulated_arm.emulated import EmulatedCamera

FOLLOWERS = ("so100_follower", "so101_follower", "koch_follower")


def settle(robot, goal: dict[str, float], within: float = 0.24, seconds: float = 10.0) -> dict:
    """Reads until the joints are at the goal."""
    end = time.monotonic() + seconds
    while True:
        seen = patiently(robot.get_observation)
        if max(abs(seen[key] - value) for key, value in goal.items()) < within or time.monotonic() > end:
            return seen


@pytest.mark.parametrize("kind", FOLLOWERS)
def test_a_follower_connects_calibrated_and_goes_where_it_is_told(kind, start, device, calibration_file):
    emulator = start(kind, calibration=calibration_file(kind))
    robot = device(kind, emulator)
    connect_patiently(robot)
    assert is_calibrated(robot)
    keys = list(robot.action_features)
    for values in ([20, -30, 40, -15, 60, 80], [-35, 10, -5, 25, -70, 5]):
        goal = dict(zip(keys, map(float, values), strict=True))
        robot.send_action(goal)
        seen = settle(robot, goal)
        # A tick is 0.09 degrees or 0.1 of a range of 200, and LeRobot rounds towards zero.
        assert {key: pytest.approx(value, abs=0.25) for key, value in goal.items()} == seen
    told = emulator.lines("goal")
    assert len(told) == 12 and not any(goal["outside"] for goal in told)
    patiently(robot.disconnect)
    assert not any(joint["torque"] for joint in emulator.remote.ask("status")["joints"].values())
    # And again on the same line.
    connect_patiently(robot)
    assert is_calibrated(robot)


@pytest.mark.parametrize("kind", ["so100_leader", "so101_leader", "koch_leader"])
def test_a_leader_reads_what_the_hand_does(kind, start, device, calibration_file):
    emulator = start(kind, calibration=calibration_file(kind))
    leader = device(kind, emulator)
    connect_patiently(leader)
    assert is_calibrated(leader)
    values = dict(zip((j.name for j in ARMS[kind].joints), (20, -30, 40, -15, 60, 80), strict=True))
    emulator.remote.ask("hand move " + " ".join(f"{n}={v}" for n, v in values.items()) + " 0.2")
    emulator.remote.ask("hand wait")
    action = patiently(leader.get_action)
    # A Koch leader's gripper springs back to its goal, as LeRobot sets it up.
    springs = {"gripper"} if kind == "koch_leader" else set()
    for name, value in values.items():
        if name not in springs:
            assert action[f"{name}.pos"] == pytest.approx(value, abs=0.25)
    patiently(leader.disconnect)


def test_goals_beyond_the_limits_are_cut_and_recorded(start, device, calibration_file):
    emulator = start("so101_follower", calibration=calibration_file("so101_follower"))
    robot = device("so101_follower", emulator)
    connect_patiently(robot)
    # LeRobot does not clip degrees.
    robot.send_action(dict.fromkeys(robot.action_features, 0.0) | {"shoulder_pan.pos": 150.0})
    seen = settle(robot, {"shoulder_pan.pos": 110.0}, within=0.5)
    assert seen["shoulder_pan.pos"] == pytest.approx(110.0, abs=0.5)
    assert emulator.remote.ask("status")["goals_outside"] == 1
    emulator.remote.ask("flush")
    worst = worst_goal(emulator.journal)
    assert worst["id"] == 1 and worst["applied"] == worst["high"]
    assert worst["beyond"] == pytest.approx(40 * 4095 / 360, abs=2)


def test_without_torque_an_arm_stays_and_the_hand_moves_it(start, device, calibration_file):
    emulator = start("koch_follower", calibration=calibration_file("koch_follower"))
    robot = device("koch_follower", emulator)
    connect_patiently(robot)
    robot.send_action(dict.fromkeys(robot.action_features, 10.0))
    settle(robot, {"elbow_flex.pos": 10.0})
    emulator.remote.ask("hand move elbow_flex=-60 0.1")
    emulator.remote.ask("hand wait")
    assert settle(robot, {"elbow_flex.pos": 10.0})["elbow_flex.pos"] == pytest.approx(10, abs=0.3), (
        "it resists"
    )
    robot.bus.disable_torque(num_retry=30)
    robot.send_action(dict.fromkeys(robot.action_features, 50.0))
    time.sleep(0.3)
    assert patiently(robot.get_observation)["elbow_flex.pos"] == pytest.approx(10, abs=0.3)
    emulator.remote.ask("hand move elbow_flex=-60 0.1")
    emulator.remote.ask("hand wait")
    assert patiently(robot.get_observation)["elbow_flex.pos"] == pytest.approx(-60, abs=0.3)


def test_cameras_show_the_arm_move(start, device, calibration_file):
    emulator = start("so101_follower", calibration=calibration_file("so101_follower"), views="front,top")
    cameras = {
        name: EmulatedCameraConfig(port=emulator.port, view=name, width=160, height=120, fps=30)
        for name in ("front", "top")
    }
    robot = device("so101_follower", emulator, cameras=cameras)
    connect_patiently(robot)
    before = patiently(robot.get_observation)
    assert before["front"].shape == (120, 160, 3) and before["front"].dtype == np.uint8
    goal = {"shoulder_pan.pos": 60.0, "shoulder_lift.pos": 40.0, "gripper.pos": 100.0}
    robot.send_action(dict.fromkeys(robot.action_features, 0.0) | goal)
    settle(robot, goal)
    for name in ("front", "top"):
        robot.cameras[name].read()
        after = robot.cameras[name].read()
        assert np.abs(after.astype(int) - before[name]).mean() > 0.5
    first = robot.cameras["top"].async_read()
    assert first.shape == (120, 160, 3)
    patiently(robot.disconnect)


def test_the_pictures_of_an_arm_at_rest_differ_until_the_camera_freezes(start):
    """The policy's guard takes the same bytes from a moving arm for a frozen camera, and a drawn arm may move unseen."""
    emulator = start("so101_follower")
    camera = EmulatedCamera(
        EmulatedCameraConfig(port=emulator.port, view="wrist", width=64, height=48, fps=60)
    )
    camera.connect()
    seen = [camera.read().astype(int) for _ in range(6)]
    assert all(0 < np.abs(b - a).max() <= 1 for a, b in zip(seen, seen[1:], strict=False))
    emulator.remote.ask("fault camera_frozen seconds=60")
    # One picture may have been on its way.
    camera.read()
    assert np.array_equal(camera.read(), camera.read())
    camera.disconnect()


def test_a_camera_says_what_is_wrong(start, tmp_path):
    with pytest.raises(ValueError, match="width, height and fps"):
        EmulatedCameraConfig(port=tmp_path / "tty")
    with pytest.raises(ConnectionError, match="start one with"):
        EmulatedCamera(EmulatedCameraConfig(port=tmp_path / "tty", width=64, height=64, fps=30)).connect()
    emulator = start("so101_follower")
    with pytest.raises(ConnectionError, match="there are wrist, overhead"):
        EmulatedCamera(
            EmulatedCameraConfig(port=emulator.port, view="side", width=64, height=64, fps=30)
        ).connect()


def test_with_the_simulated_clock_time_goes_by_goals(start, device, calibration_file):
    emulator = start("so101_follower", calibration=calibration_file("so101_follower"), clock="sim", fps=20)
    camera = EmulatedCameraConfig(port=emulator.port, view="wrist", width=64, height=64, fps=20)
    robot = device("so101_follower", emulator, cameras={"wrist": camera})
    connect_patiently(robot)
    goal = dict.fromkeys(robot.action_features, 30.0)
    rows, pictures = [], []
    for _ in range(6):
        robot.send_action(goal)
        time.sleep(0.05)
        seen = patiently(robot.get_observation)
        rows.append(seen["shoulder_pan.pos"])
        pictures.append(seen["wrist"])
        again = patiently(robot.get_observation)
        assert again["shoulder_pan.pos"] == rows[-1], "time stands still between goals"
        assert np.array_equal(again["wrist"], pictures[-1])
    # First-order motion in steps of 1/20 s: every step leaves 1/e of the way, once below full speed.
    left = 30 - np.array(rows)
    assert left[4] / left[3] == pytest.approx(np.exp(-1), abs=0.15)
    assert all((a != b).any() for a, b in zip(pictures[:3], pictures[1:4], strict=True))
    assert emulator.remote.ask("status")["step"] == 6
