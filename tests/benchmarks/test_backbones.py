# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The backbone table against what the towers do: counted FLOPs, the policy's own, published parameters."""

from dataclasses import replace

import pytest
import torch

from benchmarks.harness.batches import nano, observation
from benchmarks.harness.timing import flop_counter
from benchmarks.speed.backbone_table import (
    PUBLISHED,
    SIZES,
    action_forward,
    action_tower,
    inference,
    parameters,
    training_step,
    video_forward,
    video_keys_values,
    video_tower,
)


def run_video(tower, size, latents, channels, predict):
    """One forward on noise; the layers, and the prediction after them where there is one."""
    dtype = tower.proj_out.weight.dtype
    side = (size.grid[0] * size.video.patch, size.grid[1] * size.video.patch)
    z = torch.randn(1, size.views, channels, latents, *side, dtype=dtype)
    text = torch.randn(1, size.text_tokens, size.video.text_dim, dtype=dtype)
    features = tower(z, torch.zeros(1, latents), text, predict=predict, given=1)
    return features.layers if features.prediction is None else [*features.layers, features.prediction]


def run_action(tower, size, layers, horizon, draws):
    """Keys and values, then one forward on noise."""
    dtype = tower.norm_out.weight.dtype
    valid = torch.ones(draws, horizon, dtype=torch.bool)
    noised = torch.randn(draws, horizon, size.action_dim, dtype=dtype)
    state = torch.randn(draws, size.state_dim, dtype=dtype)
    flow, remaining = tower(noised, torch.rand(draws), state, valid, tower.video_keys_values(layers))
    return flow.sum() + remaining.sum()


def watched_flops(size):
    """Counted FLOPs and the formula's, for each part and for a joint training step."""
    video, action = video_tower(size), action_tower(size)
    channels = size.video.latent_channels
    found = {}
    with torch.no_grad():
        with flop_counter() as counter:
            layers = run_video(video, size, size.latents, channels, predict=True)[: size.video.depth]
        found["video forward"] = (counter.get_total_flops(), video_forward(size, size.latents))
        with flop_counter() as counter:
            run_video(video, size, 1, size.still_channels, predict=False)
        still = video_forward(size, 1, head=False, channels=size.still_channels)
        found["keyframe forward"] = (counter.get_total_flops(), still)
        with flop_counter() as counter:
            run_action(action, size, layers, size.horizon, 1)
        expected = action_forward(size, size.latents) + video_keys_values(size, size.latents)
        found["action forward"] = (counter.get_total_flops(), expected)
    with flop_counter() as counter:
        outputs = run_video(video, size, size.latents, channels, predict=True)
        loss = run_action(action, size, outputs[: size.video.depth], size.horizon, size.draws)
        (loss + outputs[-1].sum()).backward()
    found["joint training step"] = (counter.get_total_flops(), training_step(size, "joint"))
    return found


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


def test_unknown_imagination_is_an_error():
    with pytest.raises(ValueError, match="imagination='some'"):
        inference(SIZES["nano"], "some")
