# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The optional frequency term of the action loss (paper p. 11, eq. 14): slow components count more.

Shapes: R rows (samples times draws), H horizon, A action dims.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def dct_matrix(length_R: Tensor, horizon: int) -> Tensor:
    """Orthonormal DCT-II of each row's own length, zero beyond it.

    Args:
        length_R: Lengths, 1 to ``horizon``.
        horizon: H.

    Returns:
        ``(R, H, H)``, frequency by time; float32.
    """
    index = torch.arange(horizon, device=length_R.device)
    length = length_R[:, None, None].float()
    angle = math.pi * (index + 0.5) * index[:, None] / length
    scale = torch.where(index[:, None] == 0, 1 / length, 2 / length).sqrt()
    inside = (index < length_R[:, None])[:, :, None] & (index < length_R[:, None])[:, None]
    return torch.cos(angle) * scale * inside


def frequency_loss(error_RHA: Tensor, t_R: Tensor, valid_RH: Tensor) -> Tensor:
    """Squared DCT-II of the error of the recovered actions, low frequencies and low noise first.

    ``(1 - t)^2 sum_j exp(-j / (T / 4)) DCT(error)_j^2``, where the transform is linear: the DCT of the difference is the
    difference of the DCTs. The paper leaves the transform's scale open and knows no padding. Our choices: the
    orthonormal one, over each window's own length T; divided by T (a constant factor where windows are full), so that
    short events count as much as long ones; the mean over action dims.

    Args:
        error_RHA: Recovered minus true actions.
        t_R: Noise levels in [0, 1] at which they were recovered.
        valid_RH: False beyond the event's end; valid steps come first.

    Returns:
        ``(R,)``; 0 for a window without a valid step.
    """
    horizon = error_RHA.shape[1]
    length = valid_RH.sum(1).clamp_min(1)
    spectrum = dct_matrix(length, horizon) @ (error_RHA * valid_RH[..., None]).float()
    index = torch.arange(horizon, device=t_R.device)
    weight = torch.exp(-4 * index / length[:, None])
    per_row = (weight[..., None] * spectrum.square()).sum(1).mean(1) / length
    return (1 - t_R) ** 2 * per_row
