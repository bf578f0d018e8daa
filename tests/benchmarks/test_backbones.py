# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The cost formulas agree with what PyTorch counts and keeps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks.harness.batches import nano, observation
from benchmarks.harness.timing import flop_counter
from benchmarks.speed.backbone_costs import activations, inference, smallest_gpu, training_step
from benchmarks.speed.backbone_sizes import PUBLISHED, SIZES
from benchmarks.speed.backbone_table import (
    fit_kept,
    layer_bytes,
    parameters,
    run_video,
    small,
    video_tower,
    watched_flops,
)


@pytest.mark.parametrize("views", [1, 2, 3])
def test_forward_formulas_count_every_product(views):
    size = replace(SIZES["nano"], views=views, latents=5, action_dim=7, state_dim=9, horizon=12)
    for name, (counted, formula) in watched_flops(size).items():
        if name == "joint training step":
            assert counted == pytest.approx(formula, rel=0.1)
        else:
            assert counted == formula, name


@pytest.mark.parametrize("imagination", ["none", "full"])
def test_acting_formula_covers_the_policy(imagination):
    policy, size = nano(imagination=imagination), SIZES["nano"]
    batch = observation(policy.config)
    with flop_counter() as counter:
        policy.predict_action_chunk(batch)
    # The policy's own extras: codec, text table, goal reader (imagination none: a fifth more).
    assert 1.0 <= counter.get_total_flops() / inference(size, imagination) < 1.35


@pytest.mark.parametrize("name", ["wan2.1-1.3b", "wan2.2-5b"])
def test_meta_models_have_the_published_parameters(name):
    counts = parameters(name, SIZES[name])
    for part in ("transformer", "VAE", "umT5"):
        assert counts[part] == PUBLISHED[name, part]
    # The tower is the transformer with the branch, and a table of places and of views besides.
    extra = counts["video tower"] - counts["transformer"] - counts["cross-view"]
    width, tokens = SIZES[name].video.width, SIZES[name].tokens
    assert extra == SIZES[name].views * (tokens * width + 16) + 16 * (128 - 4 * (128 // 6)) // 2


def test_kept_bytes_of_other_towers_follow_from_the_fit():
    torch.manual_seed(0)
    kept = fit_kept()
    size = small(width=192, ffn=320, views=3, latents=4, draws=2)
    deep = replace(size, video=replace(size.video, depth=1))
    watched = {tower: layer_bytes(size, tower) for tower in ("video", "action")}
    video = activations(deep, "video", kept, checkpointing=False)
    assert watched["video"] == pytest.approx(video, rel=0.02)
    joint = activations(deep, "joint", kept, checkpointing=False)
    assert watched["action"] == pytest.approx(joint - video, rel=0.1)


def test_checkpointing_trades_memory_for_a_forward():
    kept = fit_kept()
    size = SIZES["wan2.2-5b"]
    for stage in ("video", "action", "joint"):
        assert activations(size, stage, kept, True) < 0.3 * activations(size, stage, kept, False)
        assert 1.0 < training_step(size, stage, True) / training_step(size, stage) <= 4 / 3


@pytest.mark.parametrize(
    ("peak", "gpu"), [(1e9, "8 GB"), (23e9, "24 GB"), (25e9, "48 GB"), (90e9, "2 x 80 GB")]
)
def test_smallest_gpu(peak, gpu):
    assert smallest_gpu(peak) == gpu


def test_unknown_stage_and_imagination_are_errors():
    with pytest.raises(ValueError, match="stage='all'"):
        training_step(SIZES["nano"], "all")
    with pytest.raises(ValueError, match="imagination='some'"):
        inference(SIZES["nano"], "some")


def test_tower_of_the_table_is_the_one_that_runs():
    size = SIZES["nano"]
    layers = run_video(video_tower(size), size, size.latents, size.video.latent_channels, predict=True)
    assert len(layers) == size.video.depth + 1
    assert layers[-1].shape == (1, size.views, size.video.latent_channels, size.latents - 1, 12, 12)
