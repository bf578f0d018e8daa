# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Base weights: some parts of a model and no arm, from which any arm's training begins."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from lerobot.configs import PreTrainedConfig
from lerobot.policies.factory import make_policy
from safetensors.torch import load_file, save_file
from test_joints import ARM, dataset_of, started

from lerobot_wallwm.hub.files.learned import Learned
from lerobot_wallwm.hub.files.safe_files import WeightsError
from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy

PARTS = ("model.landmarks.", "model.text_encoder.")


@pytest.fixture
def base(make_config, tmp_path) -> Any:
    """An eye and words that look like no new policy's."""
    torch.manual_seed(0)
    meta = dataset_of(ARM)
    policy = WallwmPolicy(make_config(), dataset_stats=meta.stats, dataset_meta=meta)
    for parameter in policy.parameters():
        parameter.data.add_(1.0)
    policy.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    save_file({k: v for k, v in load_file(file).items() if k.startswith(PARTS)}, file, {"format": "pt"})
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"input_features": {}, "output_features": {}}))
    Learned().write(tmp_path)
    return tmp_path


def test_training_begins_with_its_parts_and_with_the_datasets_arm(base, make_train_batch, caplog):
    meta = dataset_of([*ARM[:4], "gripper"], scale=0.01)
    with caplog.at_level(logging.WARNING):
        policy = started(base, meta)
    assert "From base weights: model.landmarks, model.text_encoder." in caplog.text
    kept, now = load_file(base / "model.safetensors"), policy.state_dict()
    assert all(torch.equal(now[key], value) for key, value in kept.items())
    plain = WallwmPolicy(policy.config, dataset_stats=meta.stats, dataset_meta=meta)
    for name, value in plain.action_space.state_dict().items():
        assert torch.equal(now[f"action_space.{name}"], value), name
    assert not now[
        "model.video.proj_out.weight"
    ].any()  # as new, and not as the policy that the parts are from
    batch = make_train_batch(policy.config)
    for key in ("observation.state", "action"):
        batch[key] = batch[key][..., :5]
    policy.train()(batch)[0].backward()
    policy.save_pretrained(base / "trained")
    again = WallwmPolicy.from_pretrained(base / "trained")
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), policy.parameters(), strict=True))


def test_the_weight_average_begins_with_it(base):
    config = PreTrainedConfig.from_pretrained(base, cli_overrides=["--ema_decay=0.9"])
    config.pretrained_path = base
    policy = make_policy(config, ds_meta=dataset_of(ARM)).eval()  # shows its average
    kept, now = load_file(base / "model.safetensors"), policy.state_dict()
    assert all(torch.equal(now[key], value) for key, value in kept.items())


def test_it_does_not_act(base):
    meta = dataset_of(ARM)
    config = PreTrainedConfig.from_pretrained(base)
    trained = started(base, meta).config
    config.input_features, config.output_features = trained.input_features, trained.output_features
    with pytest.raises(WeightsError, match=r"holds base weights .* no policy that acts.*Fix: train from it"):
        WallwmPolicy.from_pretrained(base, config=config)


def test_parts_of_another_size_are_refused(base):
    file = base / "model.safetensors"
    parts = load_file(file)
    parts["model.landmarks.identity"] = parts["model.landmarks.identity"][:, :1].contiguous()
    save_file(parts, file, {"format": "pt"})
    with pytest.raises(WeightsError, match=r"1 mis-shaped: model\.landmarks\.identity"):
        started(base, dataset_of(ARM))


def test_the_committed_weights_are_those_of_their_card_and_start_a_policy():
    folder = Path(__file__).parents[3] / "weights" / "nano-base"
    weights = folder / "model.safetensors"
    assert hashlib.sha256(weights.read_bytes()).hexdigest() in (folder / "README.md").read_text()
    kept, now = load_file(weights), started(folder, dataset_of(ARM)).state_dict()
    assert kept and all(torch.equal(now[key], value) for key, value in kept.items())
