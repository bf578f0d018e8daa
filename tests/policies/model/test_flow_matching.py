# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st

from lerobot_wallwm.policies.model import flow_matching as fm

seeds = st.integers(0, 2**31 - 1)


def pair(seed: int, shape: tuple[int, ...] = (3, 5, 2)) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def test_path_starts_at_data_and_ends_at_noise():
    z_0, eps = pair(0)
    assert torch.equal(fm.add_noise(z_0, eps, torch.zeros(3)), z_0)
    assert torch.equal(fm.add_noise(z_0, eps, torch.ones(3)), eps)


def test_each_sample_gets_its_own_noise_level():
    z_0, eps = pair(1)
    z_t = fm.add_noise(z_0, eps, torch.tensor([0.0, 0.25, 1.0]))
    assert torch.equal(z_t[0], z_0[0]) and torch.equal(z_t[2], eps[2])
    torch.testing.assert_close(z_t[1], 0.75 * z_0[1] + 0.25 * eps[1])


@given(seed=seeds, t=st.floats(0.01, 0.98))
def test_velocity_is_the_derivative_of_the_path(seed, t):
    z_0, eps = (x.double() for x in pair(seed))
    h = 1e-3
    ahead, behind = (fm.add_noise(z_0, eps, torch.full((3,), s, dtype=torch.float64)) for s in (t + h, t - h))
    torch.testing.assert_close((ahead - behind) / (2 * h), eps - z_0, atol=1e-6, rtol=1e-6)


@given(seed=seeds, t=st.floats(0.05, 1.0))
def test_velocity_from_the_true_data_is_the_velocity(seed, t):
    z_0, eps = (x.double() for x in pair(seed))
    level = torch.full((3,), t, dtype=torch.float64)
    z_t = fm.add_noise(z_0, eps, level)
    torch.testing.assert_close(fm.velocity_from_data(z_t, z_0, level), eps - z_0, atol=1e-9, rtol=1e-9)


def test_velocity_from_data_stays_finite_at_zero_noise():
    z_0, _ = pair(0)
    assert torch.isfinite(fm.velocity_from_data(z_0 + 1e-3, z_0, torch.zeros(3))).all()


@given(seed=seeds, steps=st.integers(1, 12), shift=st.sampled_from([1.0, 3.0, 5.0]))
def test_euler_on_the_true_velocity_recovers_the_data(seed, steps, shift):
    z_0, eps = pair(seed)
    z = eps
    levels = fm.schedule(steps, shift)
    for t, s in zip(levels[:-1], levels[1:], strict=True):
        z = z + (s - t) * (eps - z_0)
    torch.testing.assert_close(z, z_0, atol=1e-5, rtol=1e-5)


@given(steps=st.integers(1, 60), shift=st.floats(1.0, 8.0))
def test_schedule_descends_from_one_to_zero(steps, shift):
    levels = fm.schedule(steps, shift)
    assert levels.shape == (steps + 1,) and levels.dtype == torch.float32
    assert float(levels[0]) == pytest.approx(1, abs=1e-6) and levels[-1] == 0
    assert bool((levels[1:] < levels[:-1]).all())


def test_schedule_without_a_step_is_an_error():
    with pytest.raises(ValueError, match="at least 1 step"):
        fm.schedule(0)


def test_shift_is_wans_formula():
    u = torch.tensor([0.0, 0.1, 0.5, 1.0])
    assert torch.equal(fm.shift_noise_level(u, 1.0), u)
    torch.testing.assert_close(fm.shift_noise_level(u, 5.0), torch.tensor([0.0, 0.5 / 1.4, 2.5 / 3, 1.0]))


def test_anchor_counts_steps_done_from_noise():
    assert fm.anchor_noise_level(5.0) == pytest.approx(0.357, abs=5e-4)
    assert fm.anchor_noise_level(3.0) == pytest.approx(0.25, abs=1e-6)
    assert fm.anchor_noise_level(1.0) == pytest.approx(0.1, abs=1e-6)
    assert fm.anchor_noise_level(5.0) == pytest.approx(float(fm.schedule(50, 5.0)[45]), abs=1e-6)


@given(
    seed=seeds,
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=4),
    garbage=st.sampled_from([0.0, 7.0, -1e4, 1e6]),
)
def test_padding_weighs_neither_in_the_sum_nor_in_the_denominator(seed, lengths, garbage):
    generator = torch.Generator().manual_seed(seed)
    error = torch.rand(len(lengths), 6, 3, generator=generator)
    valid = torch.arange(6)[None] < torch.tensor(lengths)[:, None]
    error = torch.where(valid[..., None], error, torch.full_like(error, garbage))
    parts = [row[:length] for row, length in zip(error, lengths, strict=True)]
    means = torch.stack([part.mean() if len(part) else torch.zeros(()) for part in parts])
    torch.testing.assert_close(fm.masked_mean_per_sample(error, valid), means)
    flat = torch.cat([part.flatten() for part in parts])
    torch.testing.assert_close(fm.masked_mean(error, valid), flat.mean() if len(flat) else torch.zeros(()))


def test_nothing_valid_gives_zero_with_a_gradient_path():
    error = torch.rand(2, 3, requires_grad=True)
    loss = fm.masked_mean(error, torch.zeros(2, 3, dtype=torch.bool))
    assert loss == 0
    loss.backward()
    assert error.grad is not None and torch.equal(error.grad, torch.zeros(2, 3))
