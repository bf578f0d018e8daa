# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
from dataclasses import replace

import pytest
import torch
from hypothesis import given, strategies as st
from tiny_models import random_event, tiny_model

from lerobot_wallwm.policies.assembly.build import model_shape
from lerobot_wallwm.policies.geometry.tube_masks import (
    Tubes,
    TubeShape,
    covisible_region,
    draw_tubes,
    per_latent_pixel,
    video_loss_weights,
)
from lerobot_wallwm.policies.model import objectives, sampling

TUBE = TubeShape(probability=1.0, condition_probability=0.5, smallest=1, largest=3, loss_weight=2.0)


@st.composite
def regions(draw):
    """Co-visible regions of several views, from none to all."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    views, rows, columns = draw(st.integers(2, 3)), draw(st.integers(3, 5)), draw(st.integers(3, 6))
    share = draw(st.sampled_from([0.0, 0.5, 0.8, 0.95, 1.0]))
    return torch.rand(8, views, rows, columns, generator=generator) < share


@given(regions(), st.integers(0, 1000))
def test_a_window_is_a_square_inside_one_views_covisible_region(region, seed):
    torch.manual_seed(seed)
    tubes = draw_tubes(TUBE, region)
    assert not (tubes.window & ~region).any()
    for window in tubes.window:
        if not window.any():
            continue
        view, row, column = (axis.unique() for axis in window.nonzero().T)
        assert len(view) == 1
        assert 1 <= len(row) == len(column) <= 3
        for line in (row, column):
            assert line.tolist() == list(range(int(line[0]), int(line[-1]) + 1))
        assert window.sum() == len(row) ** 2
    if region.all():
        assert tubes.window.flatten(1).any(1).all()
    if not region.any():
        assert not tubes.window.any()


def test_views_sides_places_and_probabilities_all_come_up_evenly():
    torch.manual_seed(0)
    region = torch.ones(6000, 2, 4, 5, dtype=torch.bool)
    tubes = draw_tubes(replace(TUBE, probability=0.5, largest=2), region)
    has = tubes.window.flatten(1).any(1)
    assert has.float().mean() == pytest.approx(0.5, abs=0.03)
    assert tubes.condition[has].float().mean() == pytest.approx(0.5, abs=0.03)
    assert not tubes.condition[~has].any()
    windows = tubes.window[has]
    assert windows[:, 0].flatten(1).any(1).float().mean() == pytest.approx(0.5, abs=0.03)
    size = windows.flatten(1).sum(1)
    assert (size == 1).float().mean() == pytest.approx(0.5, abs=0.03)
    first = windows[size == 4].any(1).flatten(1).float().argmax(1)  # of 3 x 4 places
    assert len(first.unique()) == 12
    assert (first.bincount()[first.unique()] / len(first) - 1 / 12).abs().max() < 0.03


def test_one_view_has_no_tube_and_probability_zero_neither():
    assert not draw_tubes(TUBE, torch.ones(50, 1, 4, 4, dtype=torch.bool)).window.any()
    never = draw_tubes(replace(TUBE, probability=0.0), torch.ones(50, 2, 4, 4, dtype=torch.bool))
    assert not never.window.any() and not never.condition.any()


@given(st.integers(0, 1000))
def test_hiding_replaces_the_window_on_all_frames_and_touches_nothing_else(seed):
    g = torch.Generator().manual_seed(seed)
    z, noise = torch.randn(4, 2, 3, 4, 6, 8, generator=g), torch.randn(4, 2, 3, 3, 6, 8, generator=g)
    torch.manual_seed(seed)
    tubes = draw_tubes(TUBE, torch.ones(4, 2, 3, 4, dtype=torch.bool))
    hidden = tubes.hide(z, noise)
    for b in range(4):
        for v, y, x in torch.cartesian_prod(torch.arange(2), torch.arange(6), torch.arange(8)).tolist():
            inside = bool(tubes.window[b, v, y // 2, x // 2])
            future, key = hidden[b, v, :, 1:, y, x], hidden[b, v, :, 0, y, x]
            assert torch.equal(future, noise[b, v, :, :, y, x] if inside else z[b, v, :, 1:, y, x])
            blind = inside and bool(tubes.condition[b])
            assert torch.equal(key, torch.zeros(3) if blind else z[b, v, :, 0, y, x])


def test_the_covisible_region_equals_a_loop():
    g = torch.Generator().manual_seed(0)
    views, grid = 3, (2, 3)
    tokens = 6
    sight = torch.rand(2, 4, views * tokens, views * tokens, generator=g) < 0.2
    region = covisible_region(sight, views, grid)
    for b in range(2):
        for v in range(views):
            for n in range(tokens):
                others = [u for u in range(views * tokens) if u // tokens != v]
                seen = all(sight[b, t, v * tokens + n, others].any() for t in range(4))
                assert bool(region[b, v, n // 3, n % 3]) == seen
    assert region.any() and not region.all()


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.5, 1.0, 3.0]))
def test_weights_are_equation_8_over_valid_tokens(seed, weight):
    g = torch.Generator().manual_seed(seed)
    error, valid = torch.rand(3, 2, 3, 4, generator=g), torch.rand(3, 2, 3, 4, generator=g) > 0.3
    window = torch.rand(3, 2, 3, 4, generator=g) > 0.7
    tubes = Tubes(window, torch.zeros(3, dtype=torch.bool), weight)
    loss = (video_loss_weights(valid, tubes) * error).mean(dim=(1, 2, 3))
    for b in range(3):
        outside, inside = error[b][valid[b] & ~window[b]].sum(), error[b][valid[b] & window[b]].sum()
        expected = (outside + weight * inside) / valid[b].sum()
        assert float(loss[b]) == pytest.approx(float(expected), rel=1e-4)
    everything = torch.ones_like(valid)
    assert torch.equal(video_loss_weights(everything, None), torch.ones_like(error))
    assert not video_loss_weights(~everything, None).any()


def test_each_token_is_repeated_over_its_latent_pixels():
    x = torch.tensor([[[[1, 2], [3, 4]]]])
    assert per_latent_pixel(x, 2).tolist() == [[[[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]]]


def run(model, event, seed: int = 0):
    torch.manual_seed(seed)
    return objectives.losses(model, event)


@torch.no_grad()
def test_only_training_hides_anything():
    event, tube = random_event(), replace(TUBE, largest=2)
    plain, tubed = tiny_model(future_fraction=1.0), tiny_model(future_fraction=1.0, tube=tube)
    assert torch.equal(run(plain, event).video, run(tubed, event).video)
    arguments = (event.keyframes, event.state, event.captions, event.here)
    actions = []
    for model in (plain, tubed):
        flags = {"imagination": "full", "num_steps": 2, "generator": torch.Generator().manual_seed(0)}
        actions.append(sampling.plan(model, *arguments, **flags).actions)
    assert torch.equal(*actions)
    tubed.train()
    assert not torch.allclose(run(plain, event).video, run(tubed, event).video, rtol=1e-3)


def test_the_hidden_window_is_worth_lambda_in_the_loss():
    """The tower sees the same with every lambda, so the loss is linear in it; lambda = 0 leaves hidden tokens out."""
    event = random_event()
    loss = []
    for weight in (0.0, 1.0, 2.0):
        tube = replace(TUBE, smallest=1, largest=1, loss_weight=weight)
        model = tiny_model(future_fraction=1.0, tube=tube).train()
        loss.append(run(model, event).video.detach())
    torch.testing.assert_close(loss[2] - loss[1], loss[1] - loss[0], rtol=1e-3, atol=1e-4)
    assert bool((loss[1][:3] > loss[0][:3]).all())


def test_a_policy_trains_with_tubes_and_repeats_itself(make_policy, make_train_batch):
    policy = make_policy(tube_probability=1.0, image_size=(64, 64), future_fraction=1.0).train()
    batch = make_train_batch(policy.config)
    assert policy.model.shape.tube == TubeShape(probability=1.0)
    losses = []
    for _ in range(2):
        policy.train_steps.zero_()
        losses.append(float(policy(batch)[0].detach()))
    assert losses[0] == losses[1]


def test_off_is_the_default(make_config):
    assert model_shape(make_config()).tube is None
    with pytest.raises(ValueError, match=r"--policy.tube_probability must lie in \[0, 1\], got 1.5"):
        make_config(tube_probability=1.5)
