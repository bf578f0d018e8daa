# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Sight cones against brute force: depths on a fine grid, and points drawn inside true cones."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from lerobot_wallwm.policies.geometry.sight_cones import Cones, covisible, sight_cone_mask

NEAR, FAR = 0.05, 1.0


def random_cones(count: int, seed: int, parallel: bool = False) -> tuple[Cones, Cones]:
    """Pairs that meet about as often as not: each axis aims near a point of a common space."""
    g = torch.Generator().manual_seed(seed)

    def uniform(*size: int) -> torch.Tensor:
        return torch.rand(*size, generator=g, dtype=torch.float64)

    def normal(scale: float) -> torch.Tensor:
        return torch.randn(count, 3, generator=g, dtype=torch.float64) * scale

    cones = []
    target = uniform(count, 3) * 0.8 - 0.4
    for i in range(2):
        apex = uniform(count, 3) * 1.6 - 0.8
        axis = normalize(target + normal(0.12) - apex, dim=-1)
        if parallel and i:
            tilt = normal(1e-7)
            tilt[: count // 2] = 0
            axis = normalize(cones[0].axis[:, 0] + tilt, dim=-1)
            apex = cones[0].apex[:, 0] + normal(0.06)
        half = uniform(count) * 0.12 + 0.01
        cones.append(Cones(apex[:, None], axis[:, None], half[:, None]))
    return cones[0], cones[1]


def excess(one: Cones, other: Cones, t1: torch.Tensor, t2: torch.Tensor) -> torch.Tensor:
    """Gap between balls, ``(pairs, ...)``."""
    balls = []
    for cone, t in ((one, t1), (other, t2)):
        centre = cone.apex[:, 0, None, None] + t[..., None] * cone.axis[:, 0, None, None]
        balls.append((centre, t * cone.half_angle[:, 0, None, None]))
    (x1, r1), (x2, r2) = balls
    return (x1 - x2).norm(dim=-1) - r1 - r2


def by_brute_force(one: Cones, other: Cones, steps: int = 33) -> torch.Tensor:
    """The smallest gap on a grid of depths that is refined around the best cell, ``(pairs,)``."""
    low1 = low2 = torch.full((len(one.apex), 1, 1), NEAR, dtype=torch.float64)
    width = FAR - NEAR
    unit = torch.linspace(0, 1, steps, dtype=torch.float64)
    best = None
    for _ in range(7):
        t1 = (low1 + width * unit[:, None]).clamp(NEAR, FAR).expand(-1, steps, steps)
        t2 = (low2 + width * unit[None, :]).clamp(NEAR, FAR).expand(-1, steps, steps)
        values = excess(one, other, t1, t2).flatten(1)
        best, at = values.min(1)
        pick = [t.reshape(len(at), -1).gather(1, at[:, None])[..., None] for t in (t1, t2)]
        width = width * 6 / (steps - 1)
        low1, low2 = pick[0] - width / 2, pick[1] - width / 2
    return best


def test_agrees_with_a_fine_grid_of_depths_on_10000_pairs():
    found, gaps = [], []
    for seed in range(20):
        one, other = random_cones(500, seed)
        found.append(covisible(one, other, NEAR, FAR)[:, 0, 0])
        gaps.append(by_brute_force(one, other))
    found, gaps = torch.cat(found), torch.cat(gaps)
    assert len(found) == 10_000 and 0.25 < found.float().mean() < 0.75, "the pairs do not test much"
    # The grid can only miss a minimum: what it finds must be found; what it misses by a hair is undecided.
    assert found[gaps <= 0].all()
    assert not found[gaps > 1e-5].any()


def test_points_of_both_true_cones_make_them_covisible():
    one, other = random_cones(10_000, 99)
    found = covisible(one, other, NEAR, FAR)[:, 0, 0]
    g = torch.Generator().manual_seed(1)
    seen = torch.zeros(len(found), dtype=torch.bool)
    for _ in range(300):
        depth = torch.rand(len(found), 1, generator=g, dtype=torch.float64) * (FAR - NEAR) + NEAR
        side = torch.randn(len(found), 3, generator=g, dtype=torch.float64)
        axis = one.axis[:, 0]
        side = normalize(side - (side * axis).sum(-1, keepdim=True) * axis, dim=-1)
        radius = torch.rand(len(found), 1, generator=g, dtype=torch.float64).sqrt()
        # Balls of radius t sin(gamma) at depth t fill the true cone; gamma exceeds its sine, so the true cone is inside.
        point = one.apex[:, 0] + depth * (axis + side * radius * torch.sin(one.half_angle))
        ray = point - other.apex[:, 0]
        along = (ray * other.axis[:, 0]).sum(-1)
        away = (ray - along[:, None] * other.axis[:, 0]).norm(dim=-1)
        inside = (away <= along * torch.sin(other.half_angle[:, 0])) & (along > NEAR) & (along < FAR)
        seen |= inside
    assert seen.float().mean() > 0.1
    assert found[seen].all()


def by_the_paper(one: Cones, other: Cones) -> torch.Tensor:
    """The paper's test (eqs. 2-6): closest points of the axes, clamped one after the other."""
    w = (one.apex - other.apex)[:, 0]
    d1, d2 = one.axis[:, 0], other.axis[:, 0]
    b, dw, ew = (d1 * d2).sum(-1), (d1 * w).sum(-1), (d2 * w).sum(-1)
    t1 = ((b * ew - dw) / (1 - b * b).clamp_min(1e-6)).clamp(NEAR, FAR)
    t2 = (ew + b * t1).clamp(NEAR, FAR)
    gap = (w + t1[:, None] * d1 - t2[:, None] * d2).norm(dim=-1)
    return gap <= t1 * one.half_angle[:, 0] + t2 * other.half_angle[:, 0]


def test_finds_what_the_papers_test_finds_and_is_symmetric():
    one, other = random_cones(10_000, 7)
    found = covisible(one, other, NEAR, FAR)[:, 0, 0]
    paper = by_the_paper(one, other)
    assert found[paper].all()
    assert (found == paper).float().mean() > 0.95
    torch.testing.assert_close(covisible(other, one, NEAR, FAR)[:, 0, 0], found)


def test_parallel_axes():
    one, other = random_cones(2_000, 3, parallel=True)
    found = covisible(one, other, NEAR, FAR)[:, 0, 0]
    gaps = by_brute_force(one, other)
    assert 0.2 < found.float().mean() < 0.99
    assert found[gaps <= 0].all() and not found[gaps > 1e-5].any()

    # Two cones one metre apart, side by side, that never meet; and two that look at each other.
    def pair(apex, axis, half=0.1):
        zero, ahead = torch.zeros(1, 3), torch.tensor([[0.0, 0.0, 1.0]])
        half = torch.tensor([half])
        return Cones(zero, ahead, half), Cones(torch.tensor([apex]), torch.tensor([axis]), half)

    assert not covisible(*pair([1.0, 0, 0], [0.0, 0, 1]), NEAR, FAR)
    assert covisible(*pair([0.19, 0, 0], [0.0, 0, 1]), NEAR, FAR)
    assert covisible(*pair([0.0, 0, 1.0], [0.0, 0, -1]), NEAR, FAR)
    assert not covisible(*pair([0.0, 0, -1.0], [0.0, 0, -1]), NEAR, FAR), "back to back"


def test_mask_keeps_each_view_whole_and_moves_with_the_cameras():
    g = torch.Generator().manual_seed(0)
    axes = normalize(torch.randn(2, 9, 3, generator=g) + torch.tensor([0, 0, 3.0]), dim=-1)
    half = torch.full((9,), 0.1)
    views = [Cones(torch.zeros(9, 3), axis, half) for axis in axes]
    turn = torch.eye(4)
    cos, sin = math.cos(0.4), math.sin(0.4)
    turn[:3, :3] = torch.tensor([[cos, 0, sin], [0, 1.0, 0], [-sin, 0, cos]])
    turn[:3, 3] = torch.tensor([-0.3, 0.1, 0.0])
    placed = [views[0].moved(torch.eye(4)), views[1].moved(turn)]
    mask = sight_cone_mask(placed, NEAR, FAR)
    assert mask.shape == (18, 18) and torch.equal(mask, mask.T)
    assert mask[:9, :9].all() and mask[9:, 9:].all()
    assert 0 < mask[:9, 9:].float().mean() < 1
    # The whole scene moved: nothing changes. A batch of poses: each its own mask.
    other = torch.eye(4)
    other[:3, 3] = torch.tensor([5.0, -2.0, 1.0])
    elsewhere = sight_cone_mask([v.moved(other @ turn) for v in placed], NEAR, FAR)
    assert torch.equal(mask, elsewhere)
    batch = torch.stack((turn, torch.eye(4)))
    both = sight_cone_mask([views[0].moved(torch.eye(4).expand(2, 4, 4)), views[1].moved(batch)], NEAR, FAR)
    assert torch.equal(both[0], mask) and not torch.equal(both[1], mask)


@pytest.mark.parametrize(("near", "far"), [(-0.1, 1.0), (1.0, 1.0), (2.0, 1.0)])
def test_refuses_senseless_depths(near, far):
    one, other = random_cones(1, 0)
    with pytest.raises(ValueError, match="near"):
        covisible(one, other, near, far)
