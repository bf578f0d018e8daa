# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
from __future__ import annotations

import pytest
import torch

from lerobot_wallwm.policies.training.orthogonalize import (
    POLYNOMIALS,
    SMALLEST,
    iterate,
    iterate_on_squares,
    multiplications,
    orthogonalize,
)

SHAPES = [(8, 8), (5, 20), (20, 5), (1, 6), (12, 13), (32, 128)]


def by_the_book(matrix: torch.Tensor) -> torch.Tensor:
    """One matrix, double precision, through its singular values."""
    u, s, v = torch.linalg.svd(matrix.double(), full_matrices=False)
    s = s / s.pow(8).sum().pow(1 / 8)
    for a, b, c in POLYNOMIALS:
        s = a * s + b * s**3 + c * s**5
    return (u * s) @ v


def with_spectrum(decades: float, shape: tuple[int, int], count: int = 3) -> torch.Tensor:
    """Random matrices whose singular values fall evenly over some decades."""
    g = torch.Generator().manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(count, *shape, generator=g).double(), full_matrices=False)
    return ((u * torch.logspace(0, -decades, min(shape)).double()) @ v).float()


def test_the_polynomials_bring_their_interval_to_one():
    values = torch.logspace(torch.tensor(SMALLEST).log10(), 0, 20_000, dtype=torch.float64)
    for a, b, c in POLYNOMIALS:
        values = a * values + b * values**3 + c * values**5
    assert values.min() > 0.7 and values.max() < 1.21


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1e-12, 1.0, 1e6])
def test_acts_on_the_singular_values_alone(shape, size):
    batch = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0)) * size
    for matrix, result in zip(batch, orthogonalize(batch), strict=True):
        torch.testing.assert_close(result.double(), by_the_book(matrix), atol=2e-4, rtol=1e-3)
        assert torch.linalg.svdvals(result).max() < 1.21
    assert not orthogonalize(torch.zeros(1, *shape)).any(), "no gradient, no update"


@pytest.mark.parametrize("decades", [0, 2, 5, 12])
def test_products_of_squares_equal_products_of_the_matrix(decades):
    """Also where squares lose the small singular values altogether."""
    batch = with_spectrum(decades, (32, 128))
    fast = iterate_on_squares(batch)
    torch.testing.assert_close(fast, iterate(batch), atol=2e-3, rtol=0)
    for matrix, result in zip(batch, fast, strict=True):
        torch.testing.assert_close(result.double(), by_the_book(matrix), atol=2e-3, rtol=0)


@pytest.mark.parametrize("decades", [0, 0.3, 1, 3, 30])
@pytest.mark.parametrize("shape", [(24, 40), (32, 128)])
def test_stays_bounded_in_bfloat16(shape, decades):
    values = torch.linalg.svdvals(iterate(with_spectrum(decades, shape).bfloat16()).float())
    assert values.max() < 1.25


@pytest.mark.parametrize(("shape", "grid"), [((8, 12), (4, 1)), ((8, 12), (1, 3)), ((8, 12), (2, 3))])
def test_blocks_are_treated_one_by_one(shape, grid):
    batch = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    height, width = shape[0] // grid[0], shape[1] // grid[1]
    together = orthogonalize(batch, grid)
    for row in range(0, shape[0], height):
        for column in range(0, shape[1], width):
            part = (..., slice(row, row + height), slice(column, column + width))
            torch.testing.assert_close(together[part], orthogonalize(batch[part].contiguous()))


def test_heads_cost_less_than_the_whole():
    assert multiplications(128, 128, (4, 1)) < 0.2 * multiplications(128, 128)
    assert multiplications(128, 128, (4, 1)) == 4 * multiplications(32, 128) == 4 * multiplications(128, 32)
