# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A policy that is not ours trains on a carved view: LeRobot's ACT under the unmodified `lerobot-train`."""

import json

import pytest
import torch
from safetensors.torch import load_file
from test_plugin import TRAIN, run

from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.source.events import read_events
from lerobot_wallwm.processors.view.carver import EventCarver

ACT = [
    "--policy.type=act",
    "--policy.push_to_hub=false",
    "--policy.device=cpu",
    "--policy.pretrained_backbone_weights=null",
    "--policy.dim_model=32",
    "--policy.n_heads=2",
    "--policy.dim_feedforward=32",
    "--policy.n_encoder_layers=1",
    "--policy.n_vae_encoder_layers=1",
    "--policy.latent_dim=8",
    "--policy.chunk_size=8",
    "--policy.n_action_steps=8",
]


@pytest.mark.slow
@pytest.mark.parametrize("level", ["action", "task"])
def test_act_trains_on_a_balanced_view_with_language(tiny_dataset, tiny_view, tmp_path, level):
    """Copies balance what is drawn; language columns are there and in nobody's way."""
    events = read_events(tiny_view / "events.parquet")
    own = [e for e in events if e.level == level]
    copies = {own[0].event_id: 3, own[1].event_id: 0}
    view = tmp_path / "view"
    result = EventCarver(level, language="action", copy_videos=True)(
        SourceDataset.open(tiny_dataset), events, view, copies=copies
    )
    assert result.episodes == len(own) + 1
    out = tmp_path / "run"
    printed = run(
        TRAIN,
        *ACT,
        "--dataset.repo_id=test/tiny_events",
        f"--dataset.root={view}",
        f"--output_dir={out}",
        "--steps=6",
        "--batch_size=4",
        "--num_workers=0",
        "--log_freq=2",
    )
    assert f"num_episodes={len(own) + 1}" in printed
    checkpoint = out / "checkpoints" / "last" / "pretrained_model"
    config = json.loads((checkpoint / "config.json").read_text())
    assert config["type"] == "act"
    assert set(config["input_features"]) == {
        "observation.state",
        "observation.images.overhead",
        "observation.images.wrist",
    }
    weights = load_file(checkpoint / "model.safetensors")
    assert weights and all(torch.isfinite(value).all() for value in weights.values())
