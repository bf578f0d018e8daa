# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What the network sees of a dataset does not depend on how the dataset writes it."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from demonstrations import FORMS, hand_steps, metadata, turning_poses
from hypothesis import given, settings, strategies as st

from lerobot_wallwm.embodiment.dataset import describe
from lerobot_wallwm.policies.batches.action_space import ActionSpace
from lerobot_wallwm.policies.batches.dataset_facts import learn_motion_limits, measure
from lerobot_wallwm.policies.safety.goal_guard import MotionLimits

HORIZON = 8


def space_of(meta, root) -> ActionSpace:
    what = describe(root, meta.features, meta.fps)
    turning = {d for turn, _ in what.turns for d in turn.dims}
    relative = [
        (dim.follows >= 0 or d in turning) and dim.kind == "position" and dim.quantity != "gripper"
        for d, dim in enumerate(what.action)
    ]
    space = ActionSpace(what, relative)
    space.fit(meta.stats, measure(root, HORIZON, space))
    return space


def windows(rows, space: ActionSpace) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised actions ``(B, H, A)`` and states ``(B, P)`` of all windows, as LeRobot hands them over."""
    actions, states = [], []
    for action, state in rows:
        for t in range(len(action) - HORIZON):
            actions.append(action[t : t + HORIZON])
            states.append(state[t])
    raw = torch.tensor(np.array(actions), dtype=torch.float32)
    return space.normalized(raw), torch.tensor(np.array(states), dtype=torch.float32)


@settings(max_examples=8)
@given(seed=st.integers(0, 10_000))
def test_a_pose_through_half_a_turn_is_the_same_in_every_form(seed):
    """Show f: the same targets, inputs and goals; decoded, the recorded action within 1e-4."""
    found = {}
    for form in FORMS:
        names, rows = turning_poses(form, seed)
        with tempfile.TemporaryDirectory() as folder:
            meta = metadata(Path(folder), names, names, rows)
            space = space_of(meta, Path(folder))
        assert len(space.scale) == 3 + 6 + 1 == len(space.state_mean) and space.relative.tolist() == [
            1
        ] * 9 + [0]
        actions, states = windows(rows, space)
        targets = space.encode_actions(actions, states)
        goal, frame = space.encode_goal(space.absolute(actions[:, -1])), space.frame(states)
        found[form] = targets, space.encode_state(states), goal
        # A goal is where the sequence's zero and the way there say.
        way = torch.einsum("bij,bj->bi", frame, goal - space.here(states))
        torch.testing.assert_close(way, targets[:, -1], atol=2e-4, rtol=1e-4)
        torch.testing.assert_close(space.goal_of(targets[:, -1], states), goal, atol=2e-4, rtol=1e-4)
        back = space.absolute(space.decode_actions(targets, states)).numpy()
        recorded = space.absolute(actions).numpy()
        assert np.abs(space.what.difference(back, recorded)).max() < (1e-4 if "degrees" not in form else 1e-2)
    for form, parts in found.items():
        for part, first in zip(parts, found["quaternion"], strict=True):
            torch.testing.assert_close(
                part, first, atol=2e-4, rtol=1e-4, msg=lambda m, form=form: f"{form}: {m}"
            )


def test_a_pose_is_relative_to_the_observed_one_as_se3_has_it(tmp_path):
    """Turning the whole scene, hand and goal, about the base changes nothing of what is learned."""
    from scipy.spatial.transform import Rotation

    names, rows = turning_poses("quaternion", 3)
    space = space_of(metadata(tmp_path, names, names, rows), tmp_path)
    scene = Rotation.from_euler("z", 40, degrees=True)

    def moved(values):
        out = values.copy()
        out[:, :3] = scene.apply(values[:, :3]) + [0.1, 0.2, 0.3]
        out[:, 3:7] = (scene * Rotation.from_quat(values[:, 3:7])).as_quat()
        return out

    plain, turned = (
        space.encode_actions(*windows(r, space)) for r in (rows, [(moved(a), moved(s)) for a, s in rows])
    )
    torch.testing.assert_close(turned, plain, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("length", [1.0, 1000.0])
@pytest.mark.parametrize("top", [1.0, 100.0, 850.0])
def test_units_of_a_dataset_do_not_reach_the_network(length, top, tmp_path):
    """Show d: the same demonstrations in other units are the same to 1e-5, limits and all."""
    found = []
    for name, units in (("first", (1.0, 1.0)), ("second", (length, top))):
        states, actions, rows = hand_steps(0, *units)
        root = tmp_path / name
        meta = metadata(root, actions, states, rows)
        space = space_of(meta, root)
        a, s = windows(rows, space)
        limits = learn_motion_limits(root, meta.stats, None, space.what)
        low, high = (np.asarray(meta.stats["action"][key], float) for key in ("min", "max"))
        kept = MotionLimits.build(low, high, limits, 1.5, space.what)
        factor = np.array([units[0]] * 3 + [1.0] * 3 + [units[1]])
        found.append(
            (
                space.encode_actions(a, s),
                space.encode_state(s),
                space.encode_goal(space.absolute(a[:, 0])),
                torch.from_numpy(kept.step / factor),
                torch.from_numpy(kept.reach / factor),
                torch.from_numpy(kept.constant),
            )
        )
        assert space.encode_actions(a, s)[..., :3].std() > 0.5  # small numbers are not squashed
    for first, second in zip(*found, strict=True):
        torch.testing.assert_close(second, first, atol=1e-5, rtol=1e-5)
