# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Rotations against ``scipy.spatial.transform``."""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy.spatial.transform import Rotation

from lerobot_wallwm.embodiment.description import nearest
from lerobot_wallwm.embodiment.rotations import from_matrix, rewritten, to_matrix

WRITE = {
    "euler_xyz": lambda r: r.as_euler("xyz"),
    "axis_angle": lambda r: r.as_rotvec(),
    "quaternion": lambda r: r.as_quat(),
    "6d": lambda r: np.concatenate([r.as_matrix()[..., 0], r.as_matrix()[..., 1]], -1),
}
# At rest, half turns about each axis and near them, gimbal lock, tiny.
EDGES = Rotation.from_rotvec(
    np.concatenate([np.zeros((1, 3)), np.eye(3) * np.pi * 0.9999999, np.eye(3) * np.pi / 2, np.eye(3) * 1e-9])
)


@pytest.mark.parametrize("form", WRITE)
@given(seed=st.integers(0, 2**31))
def test_every_form_is_read_and_written_as_scipy_does(form, seed):
    turns = Rotation.concatenate([Rotation.random(20, rng=seed), EDGES])
    values, degrees = WRITE[form](turns), form in ("euler_xyz", "axis_angle") and seed % 2 == 0
    if degrees:
        values = np.rad2deg(values)
    matrix = to_matrix(torch.from_numpy(values), form, degrees)
    np.testing.assert_allclose(matrix.numpy(), turns.as_matrix(), atol=1e-6)
    back = nearest(from_matrix(matrix, form, degrees).numpy(), values, form, degrees)
    if form == "euler_xyz":  # in gimbal lock two of the angles are one
        back_matrix = to_matrix(torch.from_numpy(back), form, degrees)
        np.testing.assert_allclose(back_matrix.numpy(), turns.as_matrix(), atol=1e-6)
    else:
        np.testing.assert_allclose(back, values, atol=2e-5)


@given(seed=st.integers(0, 2**31))
def test_nearest_is_the_same_rotation_and_no_farther(seed):
    rng = np.random.default_rng(seed)
    turns = Rotation.random(30, rng=rng)
    small = Rotation.from_rotvec(rng.normal(scale=0.05, size=(30, 3)))
    for form, write in WRITE.items():
        reference, values = write(turns), write(small * turns)
        near = nearest(values, reference, form)
        matrices = (to_matrix(torch.from_numpy(v), form).numpy() for v in (near, values))
        np.testing.assert_allclose(*matrices, atol=1e-6)
        assert (
            np.linalg.norm(near - reference, axis=-1) <= np.linalg.norm(values - reference, axis=-1) + 1e-9
        ).all()


def test_one_form_is_rewritten_as_another_and_what_is_lost_stays_lost():
    turns = Rotation.random(5, rng=0)
    values = turns.as_euler("xyz", degrees=True)
    values[2] = np.nan
    found = rewritten(values, ("euler_xyz", "quaternion"), (True, False))
    sound = [0, 1, 3, 4]
    np.testing.assert_allclose(
        nearest(found[sound], turns.as_quat()[sound], "quaternion"), turns.as_quat()[sound]
    )
    assert np.isnan(found[2]).all()
