# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
from __future__ import annotations

import pytest
import torch
from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed

from lerobot_wallwm.policies.towers.attention import rope_tables, rotate
from lerobot_wallwm.policies.towers.cross_view import CameraRoPE

HEAD_DIM, GRID, TOKENS = 24, (3, 2), 6


def tables(view_ids: list[int], frames: int = 2, seed: int = 0) -> tuple[CameraRoPE, tuple, tuple]:
    """The module, Wan's tables for ``frames`` latents, and the view tables for these views."""
    torch.manual_seed(seed)
    wan = WanRotaryPosEmbed(HEAD_DIM, (1, 2, 2), 64)
    camera = CameraRoPE(wan.t_dim, max_views=4)
    rope = wan(torch.zeros(1, 1, frames, 2 * GRID[0], 2 * GRID[1]))
    return camera, rope, camera(rope, torch.tensor(view_ids), TOKENS)


def turn(x_SD: torch.Tensor, rope: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Applies tables ``(1, S, 1, D)`` to ``(S, D)``."""
    return rotate(x_SD[None, None], rope_tables(rope[0][0, :, 0], rope[1][0, :, 0]))[0, 0]


def test_it_is_a_rotation():
    _, _, view_rope = tables([0, 1, 2])
    x = torch.randn(3 * TOKENS, HEAD_DIM)
    turned = turn(x, view_rope)
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(
        view_rope[0].square() + view_rope[1].square(), torch.ones(1, 3 * TOKENS, 1, HEAD_DIM)
    )
    assert not torch.allclose(turned, x)


def test_height_and_width_bands_are_wans():
    camera, rope, view_rope = tables([0, 1])
    band = 2 * camera.to_angle.out_features
    for mine, wans in zip(view_rope, rope, strict=True):
        for view in range(2):
            torch.testing.assert_close(
                mine[:, view * TOKENS : (view + 1) * TOKENS, :, band:], wans[:, :TOKENS, :, band:].float()
            )


def test_frame_band_carries_the_view_alone():
    camera, _, (cos, _) = tables([0, 1])
    by_view = cos[0, :, 0, : 2 * camera.to_angle.out_features].view(2, TOKENS, -1)
    assert torch.equal(by_view, by_view[:, :1].expand_as(by_view))  # the same for each token of a view
    assert not torch.allclose(by_view[0], by_view[1])


def test_scores_depend_on_the_pair_of_views_and_not_on_the_latent_frame():
    camera, rope, both = tables([0, 1], frames=4)
    q, k = torch.randn(HEAD_DIM), torch.randn(HEAD_DIM)
    other = camera(rope, torch.tensor([0, 2]), TOKENS)

    def score(view_rope, i, j):
        turned_q, turned_k = (turn(x.expand(2 * TOKENS, -1), view_rope) for x in (q, k))
        return (turned_q[i] @ turned_k[j]).item()

    assert score(both, 0, TOKENS) != pytest.approx(score(other, 0, TOKENS), abs=1e-4)
    assert score(both, 0, 1) == pytest.approx(score(other, 0, 1), abs=1e-5)  # within a view its angle cancels
    # Within a view a score is Wan's own for two tokens of one latent frame.
    wans = tuple(table[:, :TOKENS].float() for table in rope)
    own = turn(q.expand(TOKENS, -1), wans)[0] @ turn(k.expand(TOKENS, -1), wans)[5]
    assert score(both, TOKENS, TOKENS + 5) == pytest.approx(float(own), abs=1e-5)


def test_swapping_view_ids_swaps_the_tables():
    _, _, (cos, sin) = tables([0, 1])
    _, _, (cos_swapped, sin_swapped) = tables([1, 0])
    assert torch.equal(cos[:, :TOKENS], cos_swapped[:, TOKENS:]) and torch.equal(
        sin[:, TOKENS:], sin_swapped[:, :TOKENS]
    )
    assert not torch.equal(cos, cos_swapped)


def test_views_learn():
    camera, _, (cos, _) = tables([0, 2])
    cos.sum().backward()
    learnt = camera.view_embedding.weight.grad.abs().sum(1) > 0
    assert learnt.tolist() == [True, False, True, False]


def test_more_views_than_rows_is_an_error():
    with pytest.raises(ValueError, match="holds 4 views but view 4 was asked for; raise --policy.max_views"):
        tables([0, 4])
