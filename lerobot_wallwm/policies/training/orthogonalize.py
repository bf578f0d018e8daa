# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Orthogonal factors of many small matrices, by a few odd polynomials of the singular values.

Shapes: ``x_PSL`` P blocks of S x L, S <= L. Polynomials: Polar Express (N. Amsel et al. 2025), for an interval of ours.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Rounding must not carry a singular value beyond the interval that a polynomial is made for: all explode there. Each
# takes its argument by so much smaller, our choice; in bfloat16 it does not work without.
MARGIN = 1.03
# Each is the odd quintic nearest to 1 on the interval that the one before leaves, the first on [SMALLEST, 1]; found by
# linear programming. Together, margins included, they bring [SMALLEST, 1] to [0.72, 1.2]. Our choice: on the heads'
# momenta, four of them do as well as K. Jordan's polynomial in five rounds.
SMALLEST = 0.003
POLYNOMIALS = tuple(
    (a / MARGIN, b / MARGIN**3, c / MARGIN**5)
    for a, b, c in (
        (8.3837, -24.7659, 18.3571),
        (4.0434, -3.0114, 0.5695),
        (3.5056, -2.6267, 0.5257),
        (2.4901, -1.8343, 0.4368),
    )
)
# From this ratio of the sides on, products of S x S matrices alone are cheaper.
LONG = 1.5


def orthogonalize(matrices_NMK: Tensor, grid: tuple[int, int] = (1, 1)) -> Tensor:
    """The nearest semi-orthogonal matrices, roughly: most singular values end between 0.7 and 1.2.

    Args:
        matrices_NMK: N matrices ``(M, K)``.
        grid: Rows and columns of blocks that a matrix is made of; each block is orthogonalised by itself.

    Returns:
        As many of the same shape: float32 on a CPU, bfloat16 on a GPU.
    """
    x = matrices_NMK.to(computing_dtype(matrices_NMK))
    (count, height, width), (rows, columns) = x.shape, grid
    x = x.view(count, rows, height // rows, columns, width // columns).transpose(2, 3).flatten(0, 2)
    tall = x.shape[-2] > x.shape[-1]
    x_PSL = x.mT if tall else x
    # Squares lose the small singular values in bfloat16, so there each round takes the matrix itself.
    long = x_PSL.shape[-1] >= LONG * x_PSL.shape[-2] and x.dtype == torch.float32
    y = iterate_on_squares(x_PSL) if long else iterate(x_PSL)
    y = (y.mT if tall else y).unflatten(0, (count, rows, columns))
    return y.transpose(2, 3).reshape(count, height, width).contiguous()


def computing_dtype(matrix: Tensor) -> torch.dtype:
    """What `orthogonalize` computes in where a matrix is."""
    return torch.bfloat16 if matrix.is_cuda else torch.float32


def multiplications(height: int, width: int, grid: tuple[int, int] = (1, 1)) -> float:
    """What `orthogonalize` costs for one matrix, in multiplications."""
    small, large = sorted((height // grid[0], width // grid[1]))
    rounds = len(POLYNOMIALS)
    whole = rounds * (2 * large + small)
    squares = 2 * large + (4 * rounds - 3) * small
    each = small * small * (squares if large >= LONG * small else whole)
    return float(grid[0] * grid[1] * each)


def iterate(x_PSL: Tensor) -> Tensor:
    """All rounds on the matrices themselves."""
    _, polynomial, scale = _first(x_PSL @ x_PSL.mT)
    x_PSL = (polynomial * scale) @ x_PSL
    for a, b, c in POLYNOMIALS[1:]:
        square = x_PSL @ x_PSL.mT
        x_PSL = torch.baddbmm(x_PSL, torch.baddbmm(square, square, square, beta=b, alpha=c), x_PSL, beta=a)
    return x_PSL


def iterate_on_squares(x_PSL: Tensor) -> Tensor:
    """The same rounds on ``X X^T``; ``X`` is met at both ends only. Needs float32.

    Polynomials of one matrix commute, so ``Q <- P Q`` collects what ``X`` will be multiplied with, while the square of
    ``P X`` is ``P (X X^T) P``.
    """
    square, polynomial, scale = _first(x_PSL @ x_PSL.mT)
    collected = polynomial
    for a, b, c in POLYNOMIALS[1:]:
        square = (polynomial @ square) @ polynomial
        polynomial = torch.baddbmm(square, square, square, beta=b, alpha=c)
        polynomial.diagonal(dim1=-2, dim2=-1).add_(a)
        collected = polynomial @ collected
    return (collected * scale) @ x_PSL


def _first(square: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The first round, with the scaling that brings the singular values below 1.

    The eighth root of the sum of their eighth powers is a bound that the first round yields for nothing, and closer
    than the Frobenius norm by up to ``S ** (3/8)``, which saves a round.

    Args:
        square: ``X X^T``, ``(P, S, S)``. It is overwritten.

    Returns:
        The scaled square, the first polynomial of it, and the factor ``(P, 1, 1)`` that ``X`` lacks.
    """
    a, b, c = POLYNOMIALS[0]
    # By the trace first: squares of squares of small gradients underflow.
    trace = square.diagonal(dim1=-2, dim2=-1).float().sum(-1).clamp_min(1e-30)
    square = square.mul_((1 / trace)[:, None, None])
    fourth = square @ square
    bound = fourth.float().flatten(1).norm(dim=1).sqrt().clamp_min(1e-6)
    square.mul_((1 / bound)[:, None, None])
    polynomial = fourth.mul_((c / bound**2)[:, None, None]).add_(square, alpha=b)
    polynomial.diagonal(dim1=-2, dim2=-1).add_(a)
    return square, polynomial, (trace * bound).rsqrt()[:, None, None].to(square.dtype)
