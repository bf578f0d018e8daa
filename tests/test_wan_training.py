# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A Wan backbone under the unmodified `lerobot-train`."""

import json
import shutil

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file
from test_plugin import act, run, train
from tiny_wan import save_backbone

from lerobot_wallwm.hub.files.learned import Learned
from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy


@pytest.mark.slow
def test_lerobot_train_starts_from_a_backbone_and_its_checkpoints_load_anywhere(
    tiny_view, tmp_path, monkeypatch
):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "text"))  # of the processes that train
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "text"))
    folder = save_backbone(tmp_path / "wan", "wan2.1-1.3b")
    flags = (
        "--policy.backbone=wan2.1-1.3b",
        f"--policy.backbone_path={folder}",
        "--policy.max_text_tokens=24",
    )
    checkpoints = train(tiny_view / "train", tmp_path / "run", 6, "--save_freq=3", *flags)
    last = checkpoints / "last" / "pretrained_model"
    config = json.loads((last / "config.json").read_text())
    assert config["backbone"] == "wan2.1-1.3b" and config["backbone_path"] == str(folder)
    assert Learned.read(last).backbone_shape["latent_channels"] == 4

    # All captions of the dataset, and no caption for when they are dropped, were encoded before the first step.
    events = len(list((tmp_path / "text").rglob("*.safetensors")))
    tasks = json.loads((tiny_view / "train" / "meta" / "info.json").read_text())["total_tasks"]
    assert events == tasks + 1

    # The tower learned from where Wan was.
    wan = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    learned = load_file(last / "model.safetensors")
    changes = [(learned[f"model.video.{key}"] - value).abs().max() for key, value in wan.items()]
    assert 0 < max(changes) < 0.01  # six steps of 1e-4 at most
    assert not [key for key in learned if "vae" in key or "encoder.encoder" in key]

    # Taken up again, and acted on in a fresh process, where the transformer is gone.
    shutil.rmtree(folder / "transformer")
    more = tmp_path / "more"
    run(
        "from lerobot.scripts.lerobot_train import main; main()",
        f"--policy.path={last}",
        "--policy.push_to_hub=false",
        "--dataset.repo_id=test/tiny_events",
        f"--dataset.root={tiny_view / 'train'}",
        f"--output_dir={more}",
        "--steps=2",
        "--batch_size=4",
        "--num_workers=0",
    )
    tuned = WallwmPolicy.from_pretrained(more / "checkpoints" / "last" / "pretrained_model")
    assert all(torch.isfinite(value).all() for value in tuned.state_dict().values())
    first, second = (act(last, tmp_path / f"{name}.pt") for name in "ab")
    assert torch.equal(first, second) and first.shape == (12, 6)
