# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Packed batches against the padded reference: the same losses, the same gradients, from the same noise."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, strategies as st
from tiny_models import changed, random_event, tiny_model
from torch import Tensor

from lerobot_wallwm.policies.geometry.tube_masks import TubeShape
from lerobot_wallwm.policies.model import objectives, sampling
from lerobot_wallwm.policies.model.objectives import Losses
from lerobot_wallwm.policies.model.windows import EventWindows
from lerobot_wallwm.policies.model.world_action_model import WorldActionModel
from lerobot_wallwm.policies.towers.attention import PackedSequences, attend_by_runs, attend_jagged
from lerobot_wallwm.policies.training.stages import STAGES

LENGTHS = st.lists(st.integers(1, 10), min_size=1, max_size=5)


def losses_and_gradients(model: WorldActionModel, event: EventWindows) -> tuple[Losses, dict[str, Tensor]]:
    model.zero_grad()
    torch.manual_seed(0)
    losses = objectives.losses(model, event)
    sum(getattr(losses, name).mean() for name in model.shape.stage.losses).backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return losses, gradients


def assert_same(model: WorldActionModel, event: EventWindows, first: dict, second: dict) -> None:
    """Runs one model twice with other numbers in its shape and compares."""
    results = []
    for changes in (first, second):
        model.shape = changed(model.shape, **changes)
        results.append(losses_and_gradients(model, event))
    (a, grads_a), (b, grads_b) = results
    for name in Losses.__dataclass_fields__:
        torch.testing.assert_close(getattr(a, name), getattr(b, name), atol=1e-5, rtol=1e-5)
    assert grads_a.keys() == grads_b.keys()
    # A bias of keys moves all scores of a query alike: its gradient is zero but for rounding, and has no direction.
    rounding = 1e-7 * float(torch.stack([g.norm() for g in grads_a.values()]).norm())
    for name, gradient in grads_a.items():
        assert float((gradient - grads_b[name]).norm()) <= 1e-4 * float(gradient.norm()) + rounding, name


def sight(model: WorldActionModel, event: EventWindows, views: int) -> Tensor:
    """Random masks in which each token sees at least itself."""
    tokens = views * math.prod(model.video.grid)
    seen = torch.rand(len(event.captions), 3, tokens, tokens) > 0.4
    return seen | torch.eye(tokens, dtype=torch.bool)


@given(
    lengths=LENGTHS,
    views=st.integers(1, 2),
    draws=st.integers(1, 3),
    fraction=st.sampled_from([0.0, 0.5, 1.0]),
    masked=st.booleans(),
)
def test_packed_losses_and_gradients_equal_padded_ones(lengths, views, draws, fraction, masked):
    model = tiny_model(action_draws=draws, future_fraction=fraction)
    event = random_event(lengths=tuple(lengths), views=views)
    event = replace(event, future=event.future[: objectives.future_rows(model, len(lengths))])
    if masked:
        event = replace(event, sight=sight(model, event, views))
    assert_same(model, event, {"packing": False}, {"packing": True})


VARIANTS = {
    "velocity": {"video_prediction": "velocity"},
    "tubes": {"tube": TubeShape(1.0, 0.5, 1, 2, 3.0)},
    "frozen video": {"stage": STAGES["action"]},
    "video alone": {"stage": STAGES["video"]},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_packing_changes_no_variant_of_the_losses(variant):
    model = tiny_model(future_fraction=0.6, **VARIANTS[variant]).train()
    for part in (model.landmarks, model.goal_head):
        part.eval()  # what they draw depends on how many samples go through them together
    event = random_event(lengths=(8, 3, 1, 5, 2))
    shown = torch.rand(5, 2, *model.video.grid) > 0.3
    rows = objectives.future_rows(model, 5)
    event = replace(event, future=event.future[:rows], token_valid=shown, view_ids=torch.tensor([1, 0]))
    assert_same(model, event, {"packing": False}, {"packing": True})


def test_without_a_valid_future_nothing_but_keyframes_is_computed():
    model = tiny_model(future_fraction=1.0, packing=True)
    event = random_event(lengths=(1, 1, 1))
    widths = []
    model.video.blocks[0].ffn.register_forward_hook(lambda _, args, __: widths.append(args[0].shape[0]))
    losses = objectives.losses(model, event)
    assert widths == [3 * 2]  # a frame of each sample and view
    assert not losses.has_video.any() and torch.isfinite(losses.action).all()


def test_an_event_without_valid_actions_costs_nothing_and_keeps_the_others():
    model = tiny_model(future_fraction=1.0)
    event = random_event(lengths=(5, 0, 3))
    event.frame_valid[:, 0] = True
    assert_same(model, event, {"packing": False}, {"packing": True})


SEQUENCES = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 6)), min_size=1, max_size=6)
SOME_QUERY = SEQUENCES.filter(lambda pairs: any(q for q, _ in pairs))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("attend", [attend_by_runs, attend_jagged])
@given(pairs=SOME_QUERY)
def test_variable_length_attention_equals_a_loop_over_sequences(attend, pairs):
    queries, keys = zip(*pairs, strict=True)
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(sum(n), 2, 4, generator=g, requires_grad=True) for n in (queries, keys, keys))
    expected = []
    for q_s, k_s, v_s in zip(q.split(queries), k.split(keys), v.split(keys), strict=True):
        weights = torch.einsum("qhd,khd->hqk", q_s, k_s).mul(0.5).softmax(-1)
        expected.append(torch.einsum("hqk,khd->qhd", weights, v_s))
    wanted = torch.cat(expected)
    out = attend(q, k, v, PackedSequences(queries, keys))
    torch.testing.assert_close(out, wanted)
    for a, b in zip(*(torch.autograd.grad(x.square().sum(), (q, k, v)) for x in (out, wanted)), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("imagination", ["none", "anchor", "full"])
@pytest.mark.parametrize("lengths", [(1, 8), (5, 2)])
def test_a_plan_is_cut_to_the_longest_event_and_not_changed(imagination, lengths):
    model, event = tiny_model(), random_event(lengths=lengths)

    def plan(rows: slice):
        own = [torch.Generator().manual_seed(row) for row in range(2)][rows]
        return sampling.plan(
            model,
            event.keyframes[rows],
            event.state[rows],
            event.captions[rows],
            event.here[rows],
            imagination,
            3,
            own,
            torch.tensor(lengths)[rows],
        )

    together = plan(slice(0, 2))
    for row, length in enumerate(lengths):
        alone = plan(slice(row, row + 1))
        assert alone.actions.shape == (1, model.shape.horizon, model.shape.action_dim)
        torch.testing.assert_close(
            together.actions[row, :length], alone.actions[0, :length], atol=1e-5, rtol=1e-5
        )
        if imagination != "none":
            assert alone.latents.shape[3] == 1 + model.shape.num_future_latents
            torch.testing.assert_close(together.latents[row], alone.latents[0], atol=1e-5, rtol=1e-5)
