# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Captions dropped by the event's length."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, strategies as st

from lerobot_wallwm.policies.training.caption_drop import CaptionDrop

PAPER = CaptionDrop(0.1, 0.9, 129, 220)
shares = st.floats(0, 1)
frames = st.integers(1, 1000)


def rate(drop: CaptionDrop, *lengths: int) -> list[float]:
    return drop.rate(torch.tensor(lengths)).tolist()


def test_the_papers_ends_and_middle():
    assert rate(PAPER, 1, 129, 220, 5000) == pytest.approx([0.1, 0.1, 0.9, 0.9])
    assert rate(CaptionDrop(0.1, 0.9, 100, 200), 150) == pytest.approx([0.5])
    assert rate(PAPER, 160) == pytest.approx([0.1 + 0.8 * (1 - math.cos(math.pi * 31 / 91)) / 2])


@given(least=shares, most=shares, short=frames, more=frames, a=frames, b=frames)
def test_it_goes_one_way_from_end_to_end(least, most, short, more, a, b):
    drop = CaptionDrop(least, most, short, short + more)
    first, second = rate(drop, min(a, b), max(a, b))
    assert (second - first) * (most - least) >= -1e-6
    low, high = sorted((least, most))
    assert low - 1e-6 <= first <= high + 1e-6


@given(short=frames, more=frames, step=st.integers(0, 1000))
def test_it_is_symmetric_about_its_middle(short, more, step):
    drop, step = CaptionDrop(0.1, 0.9, short, short + more), min(step, more)
    assert sum(rate(drop, short + step, short + more - step)) == pytest.approx(1.0, abs=1e-5)


def test_so_many_captions_are_dropped_and_the_rest_stay():
    captions = [f"event {i}" for i in range(4000)]
    lengths = torch.tensor([100, 300] * 2000)
    torch.manual_seed(0)
    left = PAPER(captions, lengths)
    assert all(kept in ("", caption) for kept, caption in zip(left, captions, strict=True))
    gone = torch.tensor([caption == "" for caption in left]).view(-1, 2).float().mean(0)
    torch.testing.assert_close(gone, torch.tensor([0.1, 0.9]), atol=0.02, rtol=0)
    torch.manual_seed(0)
    assert PAPER(captions, lengths) == left


def test_without_a_share_nothing_is_drawn():
    state = torch.get_rng_state()
    assert CaptionDrop(0.0, 0.0, 1, 2)(["a", "b"], torch.tensor([1, 9])) == ["a", "b"]
    assert torch.equal(torch.get_rng_state(), state)
