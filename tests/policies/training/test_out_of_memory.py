# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What is refused before memory or hours are lost, and what the error says when memory runs out."""

from __future__ import annotations

import pytest
import torch
from lerobot.configs.train import TrainPipelineConfig
from torch import nn

from lerobot_wallwm.policies.assembly import build


def test_fsdp2_is_refused_where_lerobot_has_none(make_policy, monkeypatch):
    monkeypatch.setattr(build, "fsdp_version", lambda: 2)
    with pytest.raises(ValueError, match=r"fsdp_version: 2.*Fix: fsdp_version: 1"):
        make_policy()
    monkeypatch.setitem(TrainPipelineConfig.__dataclass_fields__, "parallelism", None)
    make_policy()


def test_the_error_names_settings_and_what_they_save(make_policy, make_train_batch):
    policy = make_policy(video_width=48, video_ffn_width=192).train()

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.")

    policy.model.video.forward = full
    with pytest.raises(torch.OutOfMemoryError) as caught:
        policy(make_train_batch(policy.config))
    said = str(caught.value)
    matrices = sum(
        m.weight.numel() for m in policy.modules() if isinstance(m, nn.Linear) and m.weight.requires_grad
    )
    blocks = sum(
        m.weight.numel()
        for tower in (policy.model.video, policy.model.action)
        for m in tower.blocks.modules()
        if isinstance(m, nn.Linear)
    )
    assert f"muon: {4 * blocks / 1e6:.1f} MB" in said and 0 < blocks < matrices
    assert "--batch_size=2: half" in said and "gradient_checkpointing=true: about 48% of" in said
    assert "FSDP on two devices" in said and "Tried to allocate 20 GiB" in said
    policy.config.optimizer, policy.config.gradient_checkpointing = "muon", True
    with pytest.raises(torch.OutOfMemoryError) as caught:
        policy(make_train_batch(policy.config, batch=1))
    for used in ("optimizer=muon", "gradient_checkpointing", "batch_size"):
        assert used not in str(caught.value)
