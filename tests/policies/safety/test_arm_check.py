# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
import numpy as np
import pytest
import torch

from lerobot_wallwm.embodiment.recognise import recognise
from lerobot_wallwm.policies.safety.arm_check import differences, start_room

NAMES = ["pan", "lift", "elbow", "gripper"]
LOW, HIGH = np.array([-50.0, -95.0, 5.0, 0.0]), np.array([50.0, 20.0, 90.0, 100.0])
POSE = (0.0, 0.0, 40.0, 50.0)
RENAMED = """--rename_map='{"observation.images.hand": "observation.images.wrist"}'"""
OTHER_SIZE = "'top' gives 128 x 96 pixels, the checkpoint's 64 x 48: set its width=64, height=48"
CAMERAS = {"observation.images.top": (3, 48, 64), "observation.images.wrist": (3, 48, 64)}


def observation(**cameras: tuple[int, ...]) -> dict:
    shapes = cameras or {"top": (3, 48, 64), "wrist": (3, 48, 64)}
    return {f"observation.images.{name}": torch.zeros(1, *shape) for name, shape in shapes.items()}


def check(batch=None, state=POSE, allow_missing=False, margin=0.25):
    seen, state = batch or observation(), np.array([state], float)
    room = start_room(recognise(NAMES, NAMES, (4, 4), None), LOW, HIGH, margin) if margin else None
    return differences(seen, CAMERAS, allow_missing, state, NAMES, LOW, HIGH, room)


def test_the_checkpoints_own_arm_is_accepted():
    assert check() == []
    assert check(state=(-60.0, -110.0, 0.0, -5.0)) == []  # a little outside the data


@pytest.mark.parametrize(
    ("batch", "state", "says", "unsaid"),
    [
        (observation(top=(3, 48, 64)), POSE, ["no camera 'wrist'", "--robot.cameras"], "pan"),
        (
            observation(top=(3, 48, 64), hand=(3, 48, 64)),
            POSE,
            [RENAMED, "no camera 'wrist', but 'hand'"],
            "pan",
        ),
        (observation(top=(3, 96, 128), wrist=(3, 48, 64)), POSE, [OTHER_SIZE], "pan"),
        (None, (0.0, 140.0, 40.0, 50.0), ["lift stands at 140.0, the data's range is -95.0 to 20.0"], "pan"),
        # All of the data lie within LeRobot's -100 to 100; a pose beyond that can only be in degrees.
        (None, (0.0, -160.0, 40.0, 50.0), ["try --robot.use_degrees=false"], "another order"),
        (None, (90.0, 0.0, -50.0, 45.0), ["another order"], "calibrated otherwise"),
        (None, (95.0, 95.0, 95.0, 95.0), ["calibrated otherwise"], "another order"),
    ],
)
def test_a_difference_is_named_with_what_to_do(batch, state, says, unsaid):
    (found,) = check(batch, state=state)
    assert all(words in found for words in says) and unsaid not in found


def test_another_number_of_joints():
    assert check(state=POSE[:3]) == ["the robot has 3 joints, the checkpoint 4 (pan, lift, elbow, gripper)"]


def test_some_differences_may_be_allowed():
    assert check(observation(top=(3, 48, 64)), allow_missing=True) == []
    assert check(state=(0.0, 140.0, 40.0, 50.0), margin=0.0) == []


def test_differences_come_in_one_go():
    found = check(observation(top=(3, 96, 128)), state=(0.0, 0.0, 0.0))
    assert len(found) == 3
