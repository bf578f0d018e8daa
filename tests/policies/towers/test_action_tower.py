# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_models import shake

from lerobot_wallwm.policies.towers.action_tower import ActionTower

WIDTH, DEPTH, VIDEO_WIDTH, A, P, H, K_P, TOKENS, VIEWS, TIME = 16, 2, 24, 3, 4, 8, 4, 5, 2, 3


def tower(seed: int = 0) -> ActionTower:
    torch.manual_seed(seed)
    model = ActionTower(WIDTH, DEPTH, 2, 24, VIDEO_WIDTH, A, P, H, K_P, VIEWS, TOKENS)
    shake(model, 0.2, seed)
    return model.eval()


def video(batch: int = 2, seed: int = 0, time: int = TIME) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, VIEWS, time, TOKENS, VIDEO_WIDTH, generator=g) for _ in range(DEPTH)]


def actions(rows: int = 2, seed: int = 1):
    """Noised actions, noise levels, states, and all steps valid."""
    g = torch.Generator().manual_seed(seed)
    noised = torch.randn(rows, H, A, generator=g)
    return (
        noised,
        torch.rand(rows, generator=g),
        torch.randn(rows, P, generator=g),
        torch.ones(rows, H, dtype=torch.bool),
    )


@torch.no_grad()
def test_remaining_time_sees_neither_actions_nor_mask_nor_noise_level():
    model = tower()
    seen = model.read_video(video())
    noised, t, state, valid = actions()
    _, expected = model(noised, t, state, valid, seen)
    short = valid.clone()
    short[:, 3:] = False
    for changed in (
        (noised * 9 + 1, t, state, valid),
        (noised, 1 - t, state, valid),
        (noised, t, state, short),
        (noised[:, :0], t, state, valid[:, :0]),
    ):
        torch.testing.assert_close(model(*changed, seen)[1], expected, atol=1e-6, rtol=1e-5)
    # It does see where the arm is, and the scene.
    assert not torch.allclose(model(noised, t, state + 1, valid, seen)[1], expected, atol=1e-3)
    other = model.read_video(video(seed=9))
    assert not torch.allclose(model(noised, t, state, valid, other)[1], expected, atol=1e-3)


@torch.no_grad()
def test_velocity_sees_all_its_inputs():
    model = tower()
    seen = model.read_video(video())
    noised, t, state, valid = actions()
    base = model(noised, t, state, valid, seen)[0]
    later = noised.clone()
    later[:, -1] += 2
    for changed, keys in (
        ((later, t, state, valid), seen),
        ((noised, 1 - t, state, valid), seen),
        ((noised, t, state + 1, valid), seen),
        ((noised, t, state, valid), model.read_video(video(seed=9))),
    ):
        assert not torch.allclose(model(*changed, keys)[0][:, 0], base[:, 0], atol=1e-4)


@torch.no_grad()
def test_padded_steps_never_influence_valid_ones():
    model = tower()
    seen = model.read_video(video())
    noised, t, state, valid = actions()
    valid[0, 5:] = False
    valid[1, 1:] = False
    garbage = torch.where(valid[..., None], noised, torch.full_like(noised, 1e3))
    clean, dirty = (model(x, t, state, valid, seen)[0] for x in (noised, garbage))
    torch.testing.assert_close(clean[valid], dirty[valid], atol=1e-6, rtol=1e-5)
    # ... and a padded sequence is a shorter one.
    first = replace(seen, layers=[h[:1] for h in seen.layers])
    short = model(noised[:1, :5], t[:1], state[:1], valid[:1, :5], first)[0]
    torch.testing.assert_close(clean[:1, :5], short, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_draws_on_one_video_forward_equal_separate_forwards():
    model, draws = tower(), 3
    layers = video()
    noised, t, state, valid = actions(rows=2 * draws)
    state = state[::draws].repeat_interleave(draws, 0)
    valid[:3, 5:] = False
    frames = torch.tensor([[True, True, False], [True, True, True]])
    shared = model(noised, t, state, valid, model.read_video(layers), frames, TOKENS, VIEWS)
    for row in range(2 * draws):
        own = [layer[row // draws : row // draws + 1] for layer in layers]
        one = slice(row, row + 1)
        alone = model(
            noised[one],
            t[one],
            state[one],
            valid[one],
            model.read_video(own),
            frames[row // draws : row // draws + 1],
            TOKENS,
            VIEWS,
        )
        torch.testing.assert_close(shared[0][one], alone[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(shared[1][one], alone[1], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_masked_video_frames_equal_frames_left_out():
    model = tower()
    layers = video()
    noised, t, state, valid = actions()
    frames = torch.tensor([[True, True, False]] * 2)
    masked = model(noised, t, state, valid, model.read_video(layers), frames, TOKENS, VIEWS)
    short = model(noised, t, state, valid, model.read_video([layer[:, :, :2] for layer in layers]))
    for a, b in zip(masked, short, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_each_action_shares_the_frame_index_of_its_latent():
    expected = [0] + [k // K_P + 1 for k in range(H)]  # paper p. 10, eq. 10
    assert tower().tau.tolist() == expected
    assert ActionTower(16, 1, 2, 8, 8, A, P, 6, 4, 1, 1).tau.tolist() == [0, 1, 1, 1, 1, 2, 2]


def test_frame_index_is_added_on_both_sides():
    model = tower()
    layers = video()
    noised, t, state, valid = actions()
    velocity, remaining = model(noised, t, state, valid, model.read_video(layers))
    (velocity.sum() + remaining.sum()).backward()
    for table in (model.tau_action, model.tau_video):
        assert bool((table.weight.grad.abs().sum(1) > 0).all())


def test_video_never_reads_actions():
    model = tower()
    layers = [layer.requires_grad_() for layer in video()]
    seen = model.read_video(layers)
    noised, t, state, valid = (x.requires_grad_() if x.is_floating_point() else x for x in actions())
    for k, v in (block.read_video(layer) for block, layer in zip(model.blocks, seen.by_layer(), strict=True)):
        gradients = torch.autograd.grad(
            k.sum() + v.sum(), [noised, state], retain_graph=True, allow_unused=True
        )
        assert gradients == (None, None)
    velocity, _ = model(noised, t, state, valid, seen)
    assert all(g is not None and g.abs().sum() > 0 for g in torch.autograd.grad(velocity.sum(), layers))


def test_layers_are_matched_one_to_one():
    model = tower()
    with pytest.raises(ValueError, match="one to one"):
        model.read_video(video()[:1])
    layers = video()
    noised, t, state, valid = actions()
    swapped = model(noised, t, state, valid, model.read_video(layers[::-1]))[0]
    assert not torch.allclose(swapped, model(noised, t, state, valid, model.read_video(layers))[0], atol=1e-4)


def test_untrained_tower_predicts_no_flow():
    torch.manual_seed(0)
    model = ActionTower(WIDTH, DEPTH, 2, 24, VIDEO_WIDTH, A, P, H, K_P, VIEWS, TOKENS)
    velocity, _ = model(*actions(), model.read_video(video()))
    assert torch.equal(velocity, torch.zeros(2, H, A))
