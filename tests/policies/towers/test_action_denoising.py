# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Denoising with the state's stream kept, beside the tower's own forward as the reference."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings, strategies as st
from tiny_models import SHAPE, tiny_model

from lerobot_wallwm.policies.towers.action_denoising import ActionDenoiser
from lerobot_wallwm.policies.towers.frame_layouts import over_video_tokens
from lerobot_wallwm.policies.towers.goal_head import Goal
from lerobot_wallwm.policies.towers.history import Given

VIEWS, LEVELS = 2, torch.tensor([1.0, 0.6, 0.25, 0.0])


def both(model, lengths: list[int], latents: list[int] | None, chunk: Given | None, goal: Goal | None):
    """Predictions at each level and the remaining time, from the denoiser and from the tower."""
    g = torch.Generator().manual_seed(0)
    batch, horizon, tokens = len(lengths), max(lengths), model.tokens_per_latent
    time = max(latents or [2])
    layers = [
        torch.randn(batch, VIEWS, time, tokens, SHAPE.video.width, generator=g) for _ in model.action.blocks
    ]
    video_valid = None
    if latents is not None:
        video_valid = torch.arange(time) < torch.tensor(latents)[:, None]
    state = torch.randn(batch, SHAPE.state_dim, generator=g)
    noised = torch.randn(batch, horizon, SHAPE.action_dim, generator=g)
    valid = torch.arange(horizon) < torch.tensor(lengths)[:, None]
    seen = model.action.read_video(layers, None, None if chunk is None else chunk.chunk)
    mask = over_video_tokens(video_valid, tokens, VIEWS)
    look = ActionDenoiser(model.action, state, seen, LEVELS, mask, goal, chunk)
    look.begin(valid)
    fast = [look.predict(noised, step) for step in range(len(LEVELS) - 1)]
    slow, remaining = [], None
    for level in LEVELS[:-1]:
        prediction, remaining = model.action(
            noised * valid[..., None],
            level.expand(batch),
            state,
            valid,
            seen,
            video_valid,
            tokens,
            VIEWS,
            goal,
            chunk,
        )
        slow.append(prediction)
    return torch.stack(fast)[:, valid], torch.stack(slow)[:, valid], look.log_remaining, remaining


@torch.no_grad()
@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, SHAPE.horizon), min_size=1, max_size=3),
    masked=st.booleans(),
    with_goal=st.booleans(),
    data=st.data(),
)
def test_it_equals_the_tower(lengths, masked, with_goal, data):
    batch = len(lengths)
    latents = None
    if masked:
        latents = data.draw(st.lists(st.integers(1, 3), min_size=batch, max_size=batch))
    goal = None
    if with_goal:
        goal = Goal(*(torch.randn(batch, n) for n in (3, SHAPE.action_dim, SHAPE.action_width, 5)))
    fast, slow, remaining, expected = both(tiny_model(), lengths, latents, None, goal)
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(remaining, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("history", [0, 1])
def test_it_equals_the_tower_in_chunks(history):
    model = tiny_model(history_latents=history, max_chunks=4)
    steps = history * SHAPE.actions_per_latent
    g = torch.Generator().manual_seed(1)
    past = torch.randn(3, steps, SHAPE.action_dim, generator=g)
    seen = torch.arange(steps)[None] >= torch.tensor([0, 2, steps])[:, None]
    chunk = Given.from_past(past, seen, torch.tensor([0, 1, 3]))
    fast, slow, remaining, expected = both(model, [SHAPE.horizon] * 3, [1, 2, 3], chunk, None)
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(remaining, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_predictions_differ_by_level_and_need_the_state():
    model = tiny_model()
    before, *_ = both(model, [8, 5], None, None, None)
    assert (before[0] - before[1]).abs().max() > 1e-3
    model.action.state_marker[::2] += 1.0
    after, *_ = both(model, [8, 5], None, None, None)
    assert (after - before).abs().max() > 1e-3
