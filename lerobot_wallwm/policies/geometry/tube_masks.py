# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Tube masks: a window of one view hidden on all latent frames, to be told from the other views (paper p. 8-9).

With probability p_tube a sample draws one view, a k x k window of its tokens inside the region that another view sees
too, and loses what it shows there: the noised tokens become pure noise, on every latent frame, while target and noise
level stay. Training only, and off in the paper's main recipe.

The paper also masks, with a nested probability, its conditioning channel y. This tower has none: the clean keyframe in
latent slot 0 is the condition. There the window turns to zero, the mid-grey of a standardised latent (our choice).

Shapes: B batch, V views, T latent frames, C latent channels, (H, W) latent pixels, (h, w) token grid, N = h w, S = V N.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass
class Tubes:
    """The hidden windows of a batch.

    Attributes:
        window: ``(B, V, h, w)``, True where hidden; all False for a sample without a tube.
        condition: ``(B,)``, True where the keyframe is hidden, too.
        loss_weight: Weight of hidden tokens in the loss, lambda_mask.
    """

    window: Tensor
    condition: Tensor
    loss_weight: float

    def hide(self, z_t_BVCTHW: Tensor, noise_BVCTHW: Tensor) -> Tensor:
        """Latents with their windows hidden.

        Args:
            z_t_BVCTHW: Noised latents after the clean ones: the keyframe in slot 0 or, in a chunk, the past too.
            noise_BVCTHW: The noise in the slots after those.
        """
        patch = z_t_BVCTHW.shape[-1] // self.window.shape[-1]
        window = per_latent_pixel(self.window, patch)[:, :, None, None]
        given = z_t_BVCTHW.shape[3] - noise_BVCTHW.shape[3]
        nothing = torch.cat((torch.zeros_like(z_t_BVCTHW[:, :, :, :given]), noise_BVCTHW), dim=3)
        slots = self.condition[:, None].repeat(1, z_t_BVCTHW.shape[3])
        slots[:, given:] = True
        return torch.where(window & slots[:, None, None, :, None, None], nothing, z_t_BVCTHW)


def covisible_region(sight_BTSS: Tensor, views: int, grid: tuple[int, int]) -> Tensor:
    """U, the tokens that a token of another view sees at every latent frame, ``(B, V, h, w)``.

    The paper's U belongs to one latent frame while its window spans all; "at every frame" is our choice.
    """
    sight = sight_BTSS.unflatten(3, (views, -1)).unflatten(2, (views, -1)).any(-1)  # (B, T, V, N, V)
    own = torch.eye(views, dtype=torch.bool, device=sight.device)[:, None]
    return (sight & ~own).any(-1).all(1).unflatten(2, grid)


def draw_tubes(tube: TubeShape, region_BVhw: Tensor) -> Tubes:
    """Draws a window for some samples of a batch.

    Each drawn view is any of the V; each side k is any of ``smallest .. largest`` that the view holds; each place is any at which the
    whole window lies inside U. A sample without such a place keeps everything, and so does one with a single view,
    whose hidden tokens no other view could tell.

    Args:
        tube: The numbers.
        region_BVhw: U; all True where no calibration says what is co-visible (our choice).
    """
    batch, views, rows, columns = region_BVhw.shape
    device = region_BVhw.device
    chosen = torch.rand(batch, device=device) < tube.probability
    condition = chosen & (torch.rand(batch, device=device) < tube.condition_probability)
    view = torch.randint(views, (batch,), device=device)
    largest = min(tube.largest, rows, columns)
    side = torch.randint(tube.smallest, largest + 1, (batch,), device=device)
    region = region_BVhw[torch.arange(batch, device=device), view]  # (B, h, w)
    one = torch.zeros_like(region)
    for k in range(tube.smallest, largest + 1):
        fits = (
            F.max_pool2d((~region).float()[:, None], k, stride=1)[:, 0] == 0
        )  # by the window's first corner
        lot = torch.rand(fits.shape, device=device).masked_fill(~fits, -1.0)
        corner = lot.flatten(1).argmax(1)
        top, left = corner // fits.shape[2], corner % fits.shape[2]
        down = torch.arange(rows, device=device) - top[:, None]
        across = torch.arange(columns, device=device) - left[:, None]
        window = ((down >= 0) & (down < k))[:, :, None] & ((across >= 0) & (across < k))[:, None, :]
        mine = chosen & (side == k) & fits.flatten(1).any(1)
        one = one | (window & mine[:, None, None])
    mask = one[:, None] & (torch.arange(views, device=device) == view[:, None])[:, :, None, None]
    return Tubes(mask & (views > 1), condition, tube.loss_weight)


def video_loss_weights(valid_BVhw: Tensor, tubes: Tubes | None) -> Tensor:
    """Weights whose product with the error, averaged over all tokens, is eq. 8 as a mean over valid tokens.

    Args:
        valid_BVhw: Tokens that enter the loss (see `border_masks`).
        tubes: Hidden windows, or None.

    Returns:
        ``(B, V, h, w)`` float; exactly one everywhere if all is valid and nothing hidden.
    """
    valid = valid_BVhw.float()
    share = valid.mean(dim=(1, 2, 3), keepdim=True)
    weights = valid / torch.where(share > 0, share, 1.0)
    return weights if tubes is None else torch.where(tubes.window, weights * tubes.loss_weight, weights)


def per_latent_pixel(x_BVhw: Tensor, patch: int) -> Tensor:
    """Each token's value at each of its latent pixels, ``(B, V, H, W)``."""
    return x_BVhw.repeat_interleave(patch, -1).repeat_interleave(patch, -2)


@dataclass(frozen=True)
class TubeShape:
    """The numbers of tube masks (see `tube_masks`); the paper gives none, our choices.

    Attributes:
        probability: Of a sample having one, p_tube.
        condition_probability: Of the keyframe being hidden, too, given that: p_tube^cond.
        smallest: Side of the smallest window in tokens, l_min.
        largest: Of the largest, l_max.
        loss_weight: Of hidden tokens, lambda_mask.
    """

    probability: float
    condition_probability: float = 0.5
    smallest: int = 1
    largest: int = 3
    loss_weight: float = 1.0
