# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
from __future__ import annotations

import pytest
import torch
from diffusers.models.embeddings import apply_rotary_emb, get_1d_rotary_pos_embed

from lerobot_wallwm.policies.towers.attention import rope_tables, rotate, rotate_both, rotate_real

TOKENS, HEADS, WIDTH = 7, 2, 12


def tables() -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines as diffusers makes them, ``(TOKENS, WIDTH)``."""
    cos, sin = get_1d_rotary_pos_embed(WIDTH, TOKENS, use_real=True, repeat_interleave_real=True)
    return cos.float(), sin.float()


def turned_and_gradients(turn, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor):
    inputs = [y.clone().requires_grad_() for y in (x, cos, sin)]
    out = turn(inputs[0], rope_tables(inputs[1][:, None], inputs[2][:, None]))
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    return [out, *torch.autograd.grad((out * weights).sum(), inputs)]


def test_both_forms_agree_with_diffusers_and_in_gradients():
    x = torch.randn(3, TOKENS, HEADS, WIDTH)
    fast, slow = (turned_and_gradients(turn, x, *tables()) for turn in (rotate, rotate_real))
    for a, b in zip(fast, slow, strict=True):
        # A table's two copies of a value may share its gradient in any way.
        a, b = (y if y.shape == x.shape else y.unflatten(-1, (-1, 2)).sum(-1) for y in (a, b))
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
    cos, sin = tables()
    expected = apply_rotary_emb(x.transpose(1, 2), (cos, sin)).transpose(1, 2)
    torch.testing.assert_close(fast[0], expected, atol=1e-5, rtol=1e-5)


def test_queries_and_keys_turn_as_one_by_one():
    q, k = torch.randn(2, 3, TOKENS, HEADS, WIDTH).unbind(0)
    rope = rope_tables(*(table[:, None] for table in tables()))
    for got, expected in zip(rotate_both(q, k, rope), (rotate(q, rope), rotate(k, rope)), strict=True):
        torch.testing.assert_close(got, expected)
    assert rotate_both(q, k, None) == (q, k)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_dtype_stays(dtype):
    x = torch.randn(TOKENS, HEADS, WIDTH, dtype=dtype)
    rope = rope_tables(*(table[:, None] for table in tables()))
    assert rotate(x, rope).dtype == dtype
    torch.testing.assert_close(rotate(x, rope).float(), rotate_real(x.float(), rope), atol=3e-2, rtol=3e-2)


def test_a_compiled_graph_turns_alike():
    x, (cos, sin) = torch.randn(TOKENS, HEADS, WIDTH), tables()

    def turn(x: torch.Tensor) -> torch.Tensor:
        return rotate(x, rope_tables(cos[:, None], sin[:, None]))

    compiled = torch.compile(turn, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), turn(x), atol=1e-6, rtol=1e-6)
