# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The DCT term of the action loss, against scipy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy.fft import dct
from tiny_models import random_event, tiny_model

from lerobot_wallwm.policies.model import objectives
from lerobot_wallwm.policies.model.objectives import dct_matrix, frequency_loss


@given(length=st.integers(1, 9), seed=st.integers(0, 99))
def test_the_transform_is_scipys_over_each_rows_own_length(length, seed):
    x = np.random.default_rng(seed).normal(size=(9, 2)).astype(np.float32)
    matrix = dct_matrix(torch.tensor([length, 9]), 9)
    ours = matrix @ torch.from_numpy(x)
    np.testing.assert_allclose(ours[0, :length], dct(x[:length], type=2, norm="ortho", axis=0), atol=1e-5)
    np.testing.assert_allclose(ours[1], dct(x, type=2, norm="ortho", axis=0), atol=1e-5)
    assert not ours[0, length:].any()


def plain(error: np.ndarray, t: float, length: int) -> float:
    """Equation 14 for one window, written out."""
    spectrum = dct(error[:length], type=2, norm="ortho", axis=0)
    total = 0.0
    for j in range(length):
        total += np.exp(-j / (length / 4)) * (spectrum[j] ** 2).mean()
    return (1 - t) ** 2 * total / length


def test_the_loss_equals_a_plain_loop():
    g = torch.Generator().manual_seed(0)
    error, lengths = torch.randn(4, 8, 3, generator=g), [8, 5, 1, 3]
    t = torch.tensor([0.0, 0.3, 0.7, 1.0])
    valid = torch.arange(8)[None] < torch.tensor(lengths)[:, None]
    expected = [plain(error[i].numpy(), float(t[i]), lengths[i]) for i in range(4)]
    assert frequency_loss(error, t, valid).tolist() == pytest.approx(expected, rel=1e-4, abs=1e-7)
    garbage = torch.where(valid[..., None], error, torch.full_like(error, 1e6))
    assert torch.equal(frequency_loss(error, t, valid), frequency_loss(garbage, t, valid))


def test_slow_errors_weigh_more_than_quick_ones():
    time = torch.arange(16)
    slow, quick = (torch.cos(torch.pi * (time + 0.5) * j / 16)[None, :, None] for j in (1, 12))
    valid = torch.ones(1, 16, dtype=torch.bool)
    t = torch.zeros(1)
    assert frequency_loss(slow, t, valid) > 10 * frequency_loss(quick, t, valid)


@torch.no_grad()
@pytest.mark.parametrize("prediction", ["x", "v"])
def test_it_adds_to_the_action_loss_what_it_says(prediction):
    """Both predictions recover the same kind of a_0; an untrained head predicts zero, so that it is known here."""
    event = random_event(lengths=(8, 5))
    changes = {"action_prediction": prediction, "action_draws": 1, "future_fraction": 0.0}
    seen = {}
    outs = []
    for weight in (0.0, 2.0):
        model = tiny_model(shaken=False, dct_loss_weight=weight, **changes)
        model.action.register_forward_pre_hook(lambda _, args: seen.update(noised=args[0], t=args[1]))
        torch.manual_seed(0)
        outs.append(objectives.losses(model, replace(event, future=event.future[:0])).action)
    # x: a_0 is recovered as zero; v: as the noised actions themselves.
    recovered = torch.zeros_like(event.actions) if prediction == "x" else seen["noised"]
    term = frequency_loss(recovered - event.actions, seen["t"], event.action_valid)
    assert bool((term > 0).all())
    torch.testing.assert_close(outs[1] - outs[0], 2.0 * term, rtol=1e-4, atol=1e-6)
