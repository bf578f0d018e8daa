# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Flow matching on straight paths: noising, targets, schedules, and the anchor step s*.

Convention everywhere: ``t`` is the noise level, 1 is pure noise and 0 is data.

    z_t = (1 - t) * z_0 + t * eps          the path
    v   = dz_t / dt = eps - z_0            the target (paper p. 8, eq. 7)
    z_s = z_t + (s - t) * v                one Euler step from t down to s
"""

from __future__ import annotations

import torch
from torch import Tensor

# s* = 45 on a 50-step schedule; the paper (p. 20) calls the level moderate. Our choice: the index counts steps done from
# pure noise, so that 45 of 50 with shift 5 leaves t = 0.357.
ANCHOR_STEP, ANCHOR_STEPS = 45, 50
# Half width of the noise levels around s* that training draws (our choice).
ANCHOR_JITTER = 0.02


def add_noise(z_0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
    """Moves data ``z_0`` along the straight path to noise level ``t``.

    Args:
        z_0: Data, any shape.
        eps: Standard normal noise, same shape.
        t: Noise levels in [0, 1], broadcastable to ``z_0`` after right-padding with ones.

    Returns:
        ``(1 - t) z_0 + t eps``, same shape as ``z_0``.
    """
    return torch.lerp(z_0.to(t.dtype), eps.to(t.dtype), expand_right(t, z_0))


def velocity_from_data(z_t: Tensor, z_0_hat: Tensor, t: Tensor, t_min: float = 0.05) -> Tensor:
    """Velocity implied by a prediction of the data, ``(z_t - z_0_hat) / t``.

    Args:
        z_t: Noised data.
        z_0_hat: Predicted data, same shape.
        t: Noise levels, right-padded to ``z_t``.
        t_min: Lower clamp of the divisor. Our choice: the paper predicts the velocity itself.

    Returns:
        The velocity, same shape as ``z_t``.
    """
    return (z_t - z_0_hat) / expand_right(t, z_t).clamp_min(t_min)


def expand_right(t: Tensor, like: Tensor) -> Tensor:
    """Appends singleton axes to ``t`` until it broadcasts against ``like``."""
    return t.reshape(t.shape + (1,) * (like.ndim - t.ndim))


def shift_noise_level(u: Tensor, shift: float) -> Tensor:
    """Wan's timestep shift ``shift * u / (1 + (shift - 1) * u)``; 1 leaves ``u`` as it is."""
    return shift * u / (1 + (shift - 1) * u)


def schedule(num_steps: int, shift: float = 1.0, device: torch.device | str | None = None) -> Tensor:
    """Noise levels of a sampler with ``num_steps`` Euler steps.

    Returns:
        Descending float32 levels from 1 to 0, shape ``(num_steps + 1,)``.

    Raises:
        ValueError: ``num_steps`` is below 1.
    """
    if num_steps < 1:
        raise ValueError(f"A schedule needs at least 1 step, got {num_steps}.")
    return shift_noise_level(torch.linspace(1.0, 0.0, num_steps + 1, device=device), shift)


def anchor_noise_level(shift: float) -> float:
    """Noise level at the anchor step s*, at which the video is held.

    Args:
        shift: Timestep shift of the video schedule.
    """
    return float(shift_noise_level(torch.tensor(1.0 - ANCHOR_STEP / ANCHOR_STEPS), shift))


def masked_mean(error: Tensor, valid: Tensor) -> Tensor:
    """Mean of ``error`` over valid entries only.

    Padding must weigh neither in the numerator nor in the denominator: dividing by the padded size makes short
    events count less than long ones.

    Args:
        error: Any shape.
        valid: Boolean, a prefix of ``error``'s shape.

    Returns:
        A scalar; exactly 0 (with a gradient path) when nothing is valid.
    """
    weight = expand_right(valid, error).to(error.dtype).expand_as(error)
    return (error * weight).sum() / weight.sum().clamp_min(1.0)


def masked_mean_per_sample(error: Tensor, valid: Tensor) -> Tensor:
    """Like `masked_mean`, but one mean per leading index; shape ``(B,)``."""
    weight = expand_right(valid, error).to(error.dtype).expand_as(error)
    dims = tuple(range(1, error.ndim))
    return (error * weight).sum(dims) / weight.sum(dims).clamp_min(1.0)
