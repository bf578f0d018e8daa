# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A checkpoint on another arm: known joints keep what was learned of them, wherever they are now."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lerobot.configs import PreTrainedConfig
from lerobot.policies.factory import make_policy as lerobot_make_policy
from tiny_arm import CAMERAS

from lerobot_wallwm.policies.assembly.joints import Joints, comparable, moved, moves

ARM = ["pan", "lift", "elbow", "flex", "roll", "gripper"]


def dataset_of(
    joints: list[str], scale: float = 1.0, degrees: dict[str, float] | None = None
) -> SimpleNamespace:
    """Metadata of a dataset of an arm, as far as the policy reads them; ``degrees`` scales single joints."""
    units = torch.tensor([scale * (degrees or {}).get(name, 1.0) for name in joints])
    vector = {"dtype": "float32", "shape": (len(joints),), "names": [f"{name}.pos" for name in joints]}
    image = {"dtype": "video", "shape": (32, 32, 3), "names": ["height", "width", "channels"]}
    one = {"min": -90 * units, "max": 90 * units, "mean": 5 * units, "std": 30 * units}
    features = {"action": vector, "observation.state": vector, **dict.fromkeys(CAMERAS, image)}
    stats = {"action": one, "observation.state": one}
    return SimpleNamespace(
        features=features, stats=stats, fps=10, episodes=None, root=None, camera_keys=CAMERAS
    )


def started(folder: Any, meta: SimpleNamespace) -> Any:
    config = PreTrainedConfig.from_pretrained(folder)
    config.pretrained_path = folder
    return lerobot_make_policy(config, ds_meta=meta)


@pytest.fixture
def checkpoint(make_policy, make_config, tmp_path):
    """A trained arm's checkpoint with names."""
    from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy

    torch.manual_seed(0)
    meta = dataset_of(ARM)
    policy = WallwmPolicy(make_config(), dataset_stats=meta.stats, dataset_meta=meta)
    for parameter in policy.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    policy.save_pretrained(tmp_path)
    return policy.eval(), tmp_path


def test_the_same_arm_is_taken_over_as_it_is(checkpoint):
    old, folder = checkpoint
    again = started(folder, dataset_of(ARM))
    for name, value in again.state_dict().items():
        assert torch.equal(value, old.state_dict()[name]), name


def test_fewer_joints_in_another_order_and_a_new_one(checkpoint, make_train_batch, caplog):
    old, folder = checkpoint
    joints = ["gripper", "pan", "thumb", "lift"]
    with caplog.at_level(logging.WARNING):
        new = started(folder, dataset_of(joints))
    assert "New, untrained: thumb. No longer there: elbow, flex, roll" in caplog.text
    before, now = old.state_dict(), new.state_dict()
    known = [(0, 5), (1, 0), (3, 1)]
    for key in ("model.goal_head.to_pose.weight", "model.action.head.2.weight", "action_space.scale"):
        for here, there in known:
            assert torch.equal(now[key][here], before[key][there]), key
    first = now["model.goal_head.trunk.0.weight"].shape[1] - 4
    assert torch.equal(
        now["model.goal_head.trunk.0.weight"][:, :first], before["model.goal_head.trunk.0.weight"][:, :first]
    )
    assert not now["model.action.head.2.weight"][2].any(), "a new joint adds nothing to its way at first"
    assert float(now["action_space.center"][2]) == pytest.approx(5.0)
    # It trains, acts, and is a checkpoint like any other.
    batch = make_train_batch(new.config)
    batch["observation.state"], batch["action"] = (
        batch["observation.state"][..., :4],
        batch["action"][..., :4],
    )
    loss, _ = new.train()(batch)
    loss.backward()
    assert torch.isfinite(loss)
    new.save_pretrained(folder / "new")
    again = type(new).from_pretrained(folder / "new")
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), new.parameters(), strict=True))


def test_other_units_come_from_the_dataset(checkpoint, caplog):
    old, folder = checkpoint
    with caplog.at_level(logging.WARNING):
        new = started(folder, dataset_of(ARM, degrees={"gripper": 0.01}))
    assert "In other units than the checkpoint's, which now come from the dataset: gripper." in caplog.text
    state = torch.full((1, 6), 35.0)
    hundredth = state.clone()
    hundredth[:, 5] *= 0.01
    torch.testing.assert_close(new.action_space.encode_state(hundredth), old.action_space.encode_state(state))


def test_actions_that_are_no_joints_are_not_relative_to_them(checkpoint, make_train_batch):
    """A hand's velocities, without names, beside a state of more joints: nothing can be taken from anything."""
    _, folder = checkpoint
    other = dataset_of(ARM)
    other.features["action"] = {"dtype": "float32", "shape": (7,), "names": None}
    other.stats["action"] = {
        key: torch.full((7,), value)
        for key, value in (("min", -1.0), ("max", 1.0), ("mean", 0.0), ("std", 0.5))
    }
    state = dataset_of([*ARM, "finger", "thumb", "palm"])
    other.features["observation.state"], other.stats["observation.state"] = (
        state.features["observation.state"],
        state.stats["observation.state"],
    )
    policy = started(folder, other)
    assert not policy.action_space.relative.any()
    torch.testing.assert_close(policy.action_space.scale, torch.full((7,), 0.5))
    batch = make_train_batch(policy.config)
    for key, count in (("observation.state", 9), ("action", 7)):
        batch[key] = batch[key].repeat(1, 1, 2)[..., :count]
    assert torch.isfinite(policy(batch)[0])


def test_joints_without_names_are_compared_by_position():
    before, now = Joints.of(None, None, 6, 6), Joints.of(None, None, 4, 4)
    keys = ["model.goal_head.to_pose.bias", "model.video.position"]
    assert moves(keys, before, before) == []
    assert moves(keys, before, now) == keys[:1]
    out = moved(keys[0], torch.arange(6.0), torch.full((4,), 9.0), before, now)
    assert out.tolist() == [0, 1, 2, 3]


def test_names_that_share_nothing_say_nothing():
    ours, theirs = Joints.of(ARM, ARM, 6, 6), Joints.of([f"j{i}" for i in range(6)], None, 6, 6)
    assert moves(["goal_head.to_pose.bias"], *comparable(theirs, ours)) == []
    assert comparable(ours, Joints.of(ARM[:2], ARM, 2, 6))[0] is ours
