# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The recipe `paper`: what it sets, who wins, and that every stage trains and acts under it."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
import torch
from test_plugin import train

from lerobot_wallwm.hub.files.learned import Learned
from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig
from lerobot_wallwm.policies.model.flow_matching import schedule
from lerobot_wallwm.policies.model.sampling import _integrate
from lerobot_wallwm.policies.training.recipes import SETTINGS, clashes, described

TINY = {"recipe": "paper", "backbone": "nano", "image_size": (32, 32), "num_inference_steps": 2}


def config(**fields) -> WallwmConfig:
    return WallwmConfig(device="cpu", push_to_hub=False, **fields)


def test_one_flag_sets_the_papers_numbers():
    paper = config(recipe="paper")
    assert paper.backbone == "wan2.2-5b" and paper.image_size == (192, 224)
    assert paper.horizon == 128 and paper.actions_per_latent == 8
    assert len(paper.observation_delta_indices) == 65 and paper.observation_delta_indices[-1] == 128
    assert (paper.optimizer, paper.replan_steps, paper.landmarks) == ("muon", 0, 0)
    assert (paper.imagination, paper.num_inference_steps) == ("anchor", 50)
    stages = {
        stage: config(recipe="paper", stage=stage).training_stage
        for stage in ("video", "action", "next_chunk")
    }
    drop = config(recipe="paper", stage="video").caption_drop()
    assert (drop.least, drop.most, drop.short, drop.long) == (0.1, 0.9, 129, 220)
    assert stages["video"].ema_decay == 0.9999 and stages["video"].uniform_video_levels
    action = stages["action"]
    assert (action.future_fraction, action.anchored_fraction, action.action_draws) == (1.0, 1.0, 6)
    assert clashes(paper) == []


def test_the_default_is_nano_and_what_it_was():
    nano = config()
    assert nano.recipe == "nano"
    found = {name: getattr(nano, name) for name in SETTINGS}
    assert found == {
        **{"backbone": "nano", "image_size": (96, 96), "num_future_latents": 2, "video_stride": 4},
        **{"landmarks": 8, "optimizer": "adamw", "imagination": "none", "num_inference_steps": 1},
        "replan_steps": 4,
    }
    assert config(backbone="wan2.1-1.3b").num_inference_steps == 5
    with pytest.raises(ValueError, match="recipe=plov is not available: choose one of nano, paper"):
        config(recipe="plov")


def test_a_flag_wins_and_is_named():
    mixed = config(recipe="paper", num_future_latents=4, optimizer="adamw")
    assert mixed.horizon == 32 and mixed.optimizer == "adamw" and mixed.video_stride == 2
    assert clashes(mixed) == [
        "--policy.num_future_latents=4 (the recipe: 16)",
        "--policy.optimizer=adamw (the recipe: muon)",
    ]
    assert "Set otherwise, and so it stays: --policy.optimizer=adamw (the recipe: muon)" in described(mixed)


def test_a_saved_recipe_comes_back(tmp_path, make_config):
    before = make_config(recipe="paper", video_stride=3)
    before.save_pretrained(tmp_path)
    after = type(before).from_pretrained(tmp_path)
    assert {n: getattr(after, n) for n in ("recipe", *SETTINGS)} == {
        n: getattr(before, n) for n in ("recipe", *SETTINGS)
    }


@pytest.mark.parametrize("stage", ["video", "action", "joint", "next_chunk"])
def test_every_stage_trains_and_acts_under_it(make_policy, make_train_batch, make_observation, stage):
    policy = make_policy(stage=stage, shake=False, optimizer_lr=3e-3, **TINY)
    assert policy.model.action.place is None and policy.model.action.value_gain == 1.0
    assert policy.model.landmarks is None and policy.model.shape.video_prediction == "velocity"
    optimizer = policy.config.get_optimizer_preset().build(policy.get_optim_params())
    batch, losses = make_train_batch(policy.config), []
    for _ in range(8):
        policy.train()
        torch.manual_seed(0)
        loss, parts = policy({key: value for key, value in batch.items() if key != "index"})
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss))
    assert losses[-1] < losses[0]
    assert set(parts) <= {"loss_action", "loss_video", "loss_goal", "loss_remaining"}
    seen = make_observation(["reach for the red cube"])
    if stage == "joint":  # every sample showed its future: how long an event lasts the planner must say
        with pytest.raises(ValueError, match="how long"):
            policy.predict_action_chunk(seen)
    if stage == "next_chunk":
        actions = policy.predict_action_chunk(seen)
        assert torch.isfinite(actions).all() and actions.shape[1] == policy.config.horizon


@pytest.mark.slow  # five runs of lerobot-train
def test_the_papers_stages_follow_each_other(tiny_view, tmp_path):
    start = "--policy.type=wallwm"
    for stage in ("video", "action", "vlm", "staircase", "next_chunk"):
        flags = ["--policy.recipe=paper", "--policy.backbone=nano", f"--policy.stage={stage}"]
        folder = (
            train(tiny_view / "train", tmp_path / stage, 3, *flags, start=start) / "last/pretrained_model"
        )
        start = f"--policy.path={folder}"
        config = WallwmConfig.from_pretrained(folder)
        assert (config.recipe, config.stage, config.optimizer) == ("paper", stage, "muon")
    assert Learned.read(folder).stages == ["video", "action", "vlm", "staircase", "next_chunk"]


def test_integrating_the_true_velocity_lands_on_the_actions():
    wanted, levels = torch.randn(1, 5, 3), schedule(6, device=torch.device("cpu"))
    for velocity in (True, False):

        def predict(actions, step, velocity=velocity):
            return (actions - wanted) / levels[step] if velocity else wanted

        look = SimpleNamespace(begin=lambda valid: None, predict=predict)
        model = SimpleNamespace(shape=SimpleNamespace(parts=SimpleNamespace(action_velocity=velocity)))
        start, valid = torch.randn(1, 5, 3), torch.ones(1, 5, dtype=torch.bool)
        torch.testing.assert_close(
            _integrate(model, look, start, levels, valid), wanted, atol=1e-5, rtol=1e-5
        )


def test_training_under_it_prints_its_settings(make_config, tiny_stats, caplog):
    from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy

    meta = SimpleNamespace(features={}, fps=20, episodes=None, root=None, stats=tiny_stats)
    meta.tasks = SimpleNamespace(index=[])
    with caplog.at_level(logging.WARNING):
        WallwmPolicy(make_config(stage="action", **TINY), tiny_stats, meta)
    assert (
        "--policy.recipe=paper:" in caplog.text
        and "--policy.backbone=nano (the recipe: wan2.2-5b)" in caplog.text
    )
