# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Training batches as the network sees them. What `windows_from_batch` does with pads and goals is in test_modeling."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_arm import CAMERAS, JOINT_NAMES

from lerobot_wallwm.policies.batches.dataset_facts import episode_column
from lerobot_wallwm.policies.geometry.tube_masks import TubeShape
from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy


@pytest.fixture
def calibration(tmp_path) -> Path:
    """An arm that pans, with a camera on it that looks ahead, and one that looks at the arm from the side."""
    hand, side = np.eye(4), np.eye(4)
    hand[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]  # z ahead along the base's x
    side[:3, :3] = [[1, 0, 0], [0, 0, 1], [0, -1, 0]]  # z along the base's y
    side[:3, 3] = [0.4, -0.5, 0.06]
    lens = {"width": 32, "height": 32, "fx": 120.0, "fy": 120.0, "cx": 15.5, "cy": 15.5}
    cameras = {
        CAMERAS[0]: {**lens, "mounted_on": "base", "pose": side.tolist()},
        CAMERAS[1]: {**lens, "mounted_on": JOINT_NAMES[0], "pose": hand.tolist()},
    }
    pan = {"name": JOINT_NAMES[0], "axis": [0, 0, 1], "radians_per_unit": np.pi / 180}
    joints = [{**pan, "origin": np.eye(4).tolist()}]
    path = tmp_path / "arm.json"
    path.write_text(json.dumps({"length_unit": "m", "cameras": cameras, "joints": joints}))
    return path


def test_masks_follow_the_arm_through_the_latent_frames(make_policy, make_train_batch, calibration):
    policy = make_policy(calibration=str(calibration))
    batch = make_train_batch(policy.config, batch=2)
    states = torch.zeros_like(batch["observation.state"])
    states[1, :, 0] = 180.0  # the arm looks away
    states[1, 4, 0] = 0.0  # but at the first future latent
    batch["observation.state"] = states
    sight = policy.windows_from_batch(batch).sight
    tokens = int(np.prod(policy.model.video.grid))
    assert sight.shape == (2, 1 + policy.config.num_future_latents, 2 * tokens, 2 * tokens)
    across = sight[:, :, :tokens, tokens:].flatten(2).any(-1)
    assert across.tolist() == [[True, True, True], [False, True, False]]
    assert sight[:, :, :tokens, :tokens].all() and sight[:, :, tokens:, tokens:].all()
    assert not sight[0, 0, :tokens, tokens:].all()


def test_training_is_masked_and_acting_is_not(make_policy, make_train_batch, make_observation, calibration):
    masked, free = make_policy(calibration=str(calibration)), make_policy()
    batch = make_train_batch(free.config)
    losses = []
    for policy in (masked, free):
        torch.manual_seed(0)
        losses.append(policy(batch)[1])
    assert losses[0]["loss_action"] != losses[1]["loss_action"]
    assert losses[0]["loss_video"] != losses[1]["loss_video"]
    observation = make_observation(["reach for the red cube"])
    assert torch.equal(masked.predict_action_chunk(observation), free.predict_action_chunk(observation))


def test_a_checkpoint_acts_where_its_calibration_is_not(
    make_policy, make_train_batch, make_observation, calibration, tmp_path
):
    policy = make_policy(calibration=str(calibration))
    policy.save_pretrained(tmp_path / "checkpoint")
    calibration.unlink()
    loaded = WallwmPolicy.from_pretrained(tmp_path / "checkpoint").eval()
    assert torch.isfinite(loaded.predict_action_chunk(make_observation(["grasp the red cube"]))).all()
    with pytest.raises(ValueError, match="arm.json.*check the path"):
        loaded(make_train_batch(loaded.config))


def test_an_event_is_as_long_as_its_episode_or_as_what_is_seen_of_it(make_policy, make_train_batch):
    policy = make_policy()
    batch = make_train_batch(policy.config, valid=[8, 5, 3, 1])
    batch["episode_index"] = torch.tensor([1, 0, 0, 2])
    event = policy.windows_from_batch(batch)
    assert policy._events.event_frames(batch, event).tolist() == [8, 5, 3, 1]
    policy._events.episode_length = episode_column(
        SimpleNamespace(episodes={"length": [30, 200, 7]}), "length"
    )
    assert policy._events.event_frames(batch, event).tolist() == [200, 30, 30, 7]
    assert episode_column(None, "length") is None


def test_masks_leave_a_missing_camera_out(make_policy, make_train_batch, calibration):
    policy = make_policy(calibration=str(calibration), allow_missing_cameras=True)
    batch = make_train_batch(policy.config, batch=2)
    both = policy.windows_from_batch(batch).sight
    alone = {key: value for key, value in batch.items() if not key.startswith(CAMERAS[0])}
    sight = policy.windows_from_batch(alone).sight
    tokens = int(np.prod(policy.model.video.grid))
    assert sight.shape == (2, 3, tokens, tokens) and sight.all()
    assert torch.equal(policy.windows_from_batch(batch).sight, both)  # and it may come back


def test_tubes_hide_only_what_another_camera_sees(make_policy, make_train_batch, calibration):
    flags = {"image_size": (64, 64), "future_fraction": 1.0, "calibration": str(calibration)}
    tubed = make_policy(tube_probability=1.0, **flags).train()
    one_token = TubeShape(1.0, condition_probability=0.0, largest=1)
    tubed.model.shape = replace(tubed.model.shape, tube=one_token)
    batch = make_train_batch(tubed.config, batch=2)
    batch["observation.state"] = torch.zeros_like(batch["observation.state"])
    batch["observation.state"][1, :, 0] = 180.0  # the arm looks away: nothing to hide
    seen = []
    for policy in (tubed, make_policy(**flags).train()):
        latents = []
        policy.model.video.register_forward_pre_hook(lambda _, args, latents=latents: latents.append(args[0]))
        policy(batch)
        seen.append(latents[0])
    event = tubed.windows_from_batch(batch)
    hidden = (seen[0] != seen[1]).any(2)  # (B, V, T, H, W)
    tokens = int(np.prod(tubed.model.video.grid))
    assert event.sight[0, :, :tokens, tokens:].any() and not hidden[1].any()
    # One token of one view, four latent pixels, on both future latents; the keyframe stays.
    assert hidden[0].sum(dim=(2, 3)).sum(0).tolist() == [0, 4, 4]
    view, row, column = hidden[0, :, 1].nonzero()[0].tolist()
    token = (row // 2) * tubed.model.video.grid[1] + column // 2
    others = slice(tokens, None) if view == 0 else slice(tokens)
    assert event.sight[0, :, view * tokens + token, others].any(-1).all()
