# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Towers on observation-centred windows: clean slots, tables on both sides, and what the past may change."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_models import SHAPE, random_event, tiny_model

from lerobot_wallwm.policies.model import objectives, sampling
from lerobot_wallwm.policies.model.windows import Chunk, EventWindows
from lerobot_wallwm.policies.model.world_action_model import ModelShape
from lerobot_wallwm.policies.towers.history import Given

IMAGINATIONS = ["none", "anchor", "full"]


def shape_of(history: int) -> ModelShape:
    return replace(SHAPE, history_latents=history, max_chunks=4)


def random_chunks(history: int = 1, unseen: tuple[int, ...] = (0, 0, 0, 0), seed: int = 0) -> EventWindows:
    """Windows of which the first ``unseen`` sampled frames lie before the rollout's start (one step per frame)."""
    event, g = random_event(lengths=(8, 8, 8, 5)), torch.Generator().manual_seed(seed + 1)
    batch, frames, lost = len(unseen), 4 * history, torch.tensor(unseen)[:, None]
    past = torch.rand(batch, 2, frames, 3, *SHAPE.image_size, generator=g) * 2 - 1
    past_valid = torch.arange(frames)[None] >= lost
    steps = history * SHAPE.actions_per_latent
    given = Given.from_past(
        torch.randn(batch, steps, SHAPE.action_dim, generator=g),
        (torch.arange(steps)[None] > lost) | (lost == 0),
        torch.arange(batch) % 4,
    )
    valid = torch.cat((past_valid, event.frame_valid), dim=1)
    return replace(event, frame_valid=valid, chunk=Chunk(past, past_valid, given))


def losses(model, event, seed: int = 0):
    torch.manual_seed(seed)
    return objectives.losses(
        model, replace(event, future=event.future[: objectives.future_rows(model, len(event.captions))])
    )


def plan(model, event, imagination: str, **kwargs):
    generator = torch.Generator().manual_seed(0)
    return sampling.plan(
        model,
        event.keyframes,
        event.state,
        event.captions,
        imagination=imagination,
        num_steps=3,
        generator=generator,
        chunk=event.chunk,
        **kwargs,
    )


def chunk_model(history: int, **changes):
    return tiny_model(history_latents=history, max_chunks=4, **changes)


class Spy:
    """Records what the video tower is called with."""

    def __init__(self, model):
        self.calls: list[tuple[torch.Tensor, torch.Tensor]] = []
        model.video.register_forward_pre_hook(lambda _, args: self.calls.append((args[0], args[1])))


def clip(event: EventWindows) -> torch.Tensor:
    return torch.cat((event.chunk.past, event.keyframes[:, :, None], event.future), dim=2)


# ---------------------------------------------------------------------- slots


@torch.no_grad()
@pytest.mark.parametrize("history", [0, 1, 2])
def test_training_noises_only_the_future(history):
    model, event = chunk_model(history, future_fraction=1.0), random_chunks(history)
    spy = Spy(model)
    losses(model, event)
    ((z, t),) = spy.calls
    clean = model.encode(clip(event))  # one codec pass over the whole window
    given = 1 + history
    assert z.shape[3] == given + SHAPE.num_future_latents == t.shape[1]
    assert torch.equal(z[:, :, :, :given], clean[:, :, :, :given])
    assert (z[:, :, :, given:] != clean[:, :, :, given:]).all()
    assert (t[:, :given] == 0).all() and (t[:, given:] > 0).all()


@torch.no_grad()
@pytest.mark.parametrize("history", [0, 1, 2])
@pytest.mark.parametrize("imagination", IMAGINATIONS)
def test_inference_sees_the_slots_of_training(history, imagination):
    model, event = chunk_model(history), random_chunks(history, unseen=(0, 1, 4, 3))
    spy = Spy(model)
    out = plan(model, event, imagination)
    clean, given = model.encode(clip(event)), 1 + history
    assert len(spy.calls) == {"none": 1, "anchor": 1 + 3 + 1, "full": 1 + 3}[imagination]
    for z, t in spy.calls:
        # The codec is causal: what was seen has the latents that it has with its future.
        assert torch.equal(z[:, :, :, :given], clean[:, :, : z.shape[2], :given])
        assert (t[:, :given] == 0).all() and (t[:, given:] > 0).all()
    assert out.actions.shape == (4, SHAPE.horizon, SHAPE.action_dim)
    assert out.length.tolist() == [SHAPE.horizon] * 4
    if imagination != "none":
        # The film starts with the observation, whatever was seen before.
        seen = model.decode(out.latents)[:, :, 0]
        torch.testing.assert_close(seen, event.keyframes, atol=1e-5, rtol=1e-4)


# ---------------------------------------------------------------------- from the event model


@torch.no_grad()
@pytest.mark.parametrize("imagination", IMAGINATIONS)
def test_fresh_tables_and_a_hidden_past_leave_the_event_model(imagination):
    event_model = tiny_model(landmarks=0)
    model = tiny_model(landmarks=0, max_chunks=4, shaken=False)
    missing, unexpected = model.load_state_dict(event_model.state_dict(), strict=False)
    assert unexpected == [] and missing == [f"action.chunk_tables.abs_{side}" for side in ("action", "video")]
    event = random_chunks(0)
    event.chunk.given.valid[:] = False  # the anchor token is all that M = 0 adds
    length = torch.full((4,), SHAPE.horizon)
    expected = plan(event_model, replace(event, chunk=None), imagination, length=length)
    torch.testing.assert_close(plan(model, event, imagination).actions, expected.actions)


def test_an_event_model_has_no_tables():
    assert not any("chunk_tables" in name for name, _ in tiny_model().named_parameters())


# ---------------------------------------------------------------------- tables


def test_tables_reach_queries_and_keys():
    """Each table's row changes the windows that it belongs to and no others."""
    event = random_chunks(2)
    model = chunk_model(2)
    tables = model.action.chunk_tables
    before = plan(model, event, "none").actions
    # Not a constant, which the tokens' normalisation would remove.
    bump = torch.linspace(-1, 1, SHAPE.action_width), torch.linspace(-1, 1, SHAPE.video.width)
    for name in ("abs_action", "abs_video"):
        changed = getattr(tables, name)
        kept = changed.data.clone()
        changed.data[2] += bump[name.endswith("video")]
        moved = (plan(model, event, "none").actions != before).flatten(1).any(1)
        assert moved.tolist() == [False, False, True, False], name  # chunk index of row i is i
        changed.data.copy_(kept)
    for name in ("tau_action", "tau_video"):
        changed = getattr(tables, name)
        for row in range(2):
            kept = changed.data.clone()
            changed.data[row] += bump[name.endswith("video")]
            assert (plan(model, event, "none").actions != before).flatten(1).any(1).all(), (name, row)
            changed.data.copy_(kept)


def test_codes_are_the_sum_of_both_tables():
    tower = chunk_model(2).action
    tables, per_latent = tower.chunk_tables, SHAPE.actions_per_latent
    chunk = torch.tensor([0, 3, 9])  # the last is beyond the table and shares its last row
    code = tables.action_code(tower.tau_action.weight, tower.tau, chunk)
    video = tables.video_code(tower.tau_video.weight, 5, chunk)
    for row, index in enumerate((0, 3, 3)):
        tau_tokens = [0, -2] + [-1] * per_latent + [0] * per_latent + [1] * per_latent + [2] * per_latent
        assert code.shape[1] == len(tau_tokens)
        for token, tau in enumerate(tau_tokens):
            table = tables.tau_action[tau + 2] if tau < 0 else tower.tau_action.weight[tau]
            torch.testing.assert_close(code[row, token], table + tables.abs_action[index])
        for slot in range(5):
            table = tables.tau_video[slot] if slot < 2 else tower.tau_video.weight[slot - 2]
            torch.testing.assert_close(video[row, slot], table + tables.abs_video[index])


# ---------------------------------------------------------------------- the past


@torch.no_grad()
@pytest.mark.parametrize("future_fraction", [0.0, 1.0])
def test_what_lies_before_the_start_changes_nothing(future_fraction):
    model = chunk_model(2, future_fraction=future_fraction)
    unseen = (0, 1, 4, 8)  # whole latents: the leading one, then groups of four
    event = random_chunks(2, unseen)
    whole = torch.zeros(4, 8, dtype=torch.bool)
    whole[1, :1], whole[2, :1], whole[3, :5] = True, True, True
    whole = whole | torch.cat((whole[:, :1], whole.new_zeros(4, 7)), dim=1)
    past = torch.where(whole[:, None, :, None, None, None], 7.0, event.chunk.past)
    tokens = torch.where(event.chunk.given.valid[..., None], event.chunk.given.tokens, 7.0)
    chunk = event.chunk
    garbage = replace(event, chunk=replace(chunk, past=past, given=replace(chunk.given, tokens=tokens)))
    clean, dirty = losses(model, event), losses(model, garbage)
    for name in ("action", "video"):
        torch.testing.assert_close(getattr(clean, name), getattr(dirty, name), atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_the_past_that_was_seen_matters():
    model, event = chunk_model(1, future_fraction=1.0), random_chunks(1)
    before = losses(model, event)
    for changed in (
        replace(event.chunk, past=-event.chunk.past),
        replace(event.chunk, given=replace(event.chunk.given, tokens=event.chunk.given.tokens + 1)),
    ):
        after = losses(model, replace(event, chunk=changed))
        assert (after.action != before.action).all()


def test_goal_and_remaining_time_are_left_out():
    model, event = chunk_model(1), random_chunks(1)
    out = losses(model, event)
    assert not out.has_goal.any() and not out.has_remaining.any()
    (out.action.mean() + out.video.mean()).backward()
    without = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    unused = ("goal_head.", "action.remaining_head.", "action.along.")
    assert {name for name in without if name.startswith(unused)} == {
        name for name, _ in model.named_parameters() if name.startswith(unused)
    }
    for name in ("tau_action", "tau_video", "abs_action", "abs_video"):
        assert f"action.chunk_tables.{name}" not in without
