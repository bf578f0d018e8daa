# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
import numpy as np
import torch

from lerobot_wallwm.policies.safety.arm_check import differences

NAMES = ["pan", "lift", "elbow", "gripper"]
LOW, HIGH = np.array([-50.0, -95.0, 5.0, 0.0]), np.array([50.0, 20.0, 90.0, 100.0])
CAMERAS = {"observation.images.top": (3, 48, 64), "observation.images.wrist": (3, 48, 64)}


def observation(**cameras: tuple[int, ...]) -> dict:
    shapes = cameras or {"top": (3, 48, 64), "wrist": (3, 48, 64)}
    return {f"observation.images.{name}": torch.zeros(1, *shape) for name, shape in shapes.items()}


def check(batch=None, state=(0.0, 0.0, 40.0, 50.0), allow_missing=False, margin=0.25, names=NAMES):
    return differences(
        batch or observation(), CAMERAS, allow_missing, np.array([state], float), names, LOW, HIGH, margin
    )


def test_the_checkpoints_own_arm_is_accepted():
    assert check() == []
    assert check(state=(-60.0, -110.0, 0.0, -5.0)) == []  # a little outside the data


def test_a_missing_camera_is_named():
    (found,) = check(observation(top=(3, 48, 64)))
    assert "no camera 'wrist'" in found and "--robot.cameras" in found
    assert check(observation(top=(3, 48, 64)), allow_missing=True) == []


def test_a_renamed_camera_gets_the_flag_that_maps_it():
    (found,) = check(observation(top=(3, 48, 64), hand=(3, 48, 64)))
    assert (
        """--rename_map='{"observation.images.hand": "observation.images.wrist"}'""" in found
        and "no camera 'wrist', but 'hand'" in found
    )


def test_a_camera_of_another_size_is_told_in_pixels():
    (found,) = check(observation(top=(3, 96, 128), wrist=(3, 48, 64)))
    assert "'top' gives 128 x 96 pixels, the checkpoint's 64 x 48: set its width=64, height=48" in found


def test_another_number_of_joints():
    (found,) = check(state=(0.0, 0.0, 0.0))
    assert found == "the robot has 3 joints, the checkpoint 4 (pan, lift, elbow, gripper)"


def test_joints_that_stand_where_the_data_never_was_are_named():
    (found,) = check(state=(0.0, 140.0, 40.0, 50.0))
    assert "lift stands at 140.0, the data's range is -95.0 to 20.0" in found and "pan" not in found
    assert check(state=(0.0, 140.0, 40.0, 50.0), margin=0.0) == []


def test_normalised_units_are_suspected_where_degrees_cannot_be_meant():
    """All of the data lie within LeRobot's -100 to 100; a pose beyond that can only be in degrees."""
    (found,) = check(state=(0.0, -160.0, 40.0, 50.0))
    assert "try --robot.use_degrees=false" in found


def test_joints_in_another_order_are_suspected_where_an_order_would_fit():
    (found,) = check(state=(90.0, 0.0, -50.0, 45.0))
    assert "another order" in found
    (found,) = check(state=(95.0, 95.0, 95.0, 95.0))
    assert "another order" not in found and "calibrated otherwise" in found


def test_differences_come_in_one_go():
    found = check(observation(top=(3, 96, 128)), state=(0.0, 0.0, 0.0))
    assert len(found) == 3
