# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Landmarks: tokens of the video tower that say where in the keyframes lies what the caption names.

Not in the paper, whose tower starts from web-scale weights: our choice for models that learn to see from a few dozen
demonstrations. Patches of 16 pixels, averaged by attention that knows nothing yet, do not tell places to a pixel. A
landmark does: it is a token like the others, but two directions of its hidden state *are* its place in the picture. It
enters the tower beside the patches of its view, every block reads and writes it, and what leaves the last block is read
by the action tower, as all tokens are, and by the goal head (`goal_head`).

Shapes: B batch, V views, K landmarks of a view, C channels, L text tokens, E text width, D the video tower's width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lerobot_wallwm.hub.files.tables import Tables


class PlaceCode(Tables):
    """Two orthonormal directions of the hidden state in which a landmark's place is written and read back.

    Both ways are fixed. Our choice: the weights of a read-out that learns would be about as small as the optimiser's
    first updates. Fixed and learned read-outs were not compared in one run.

    Args:
        width: D.
    """

    # Coordinates lie in [-1, 1] and crowd around the middle at first: to about unit variance, and large beside what
    # the blocks add. Our choice.
    GAIN = 3.0
    SIZE = 2.0

    directions: Tensor

    def __init__(self, width: int):
        super().__init__()
        self.keep(directions=torch.linalg.qr(torch.randn(width, 2)).Q)
        self.scale = self.SIZE * math.sqrt(width)

    def write(self, points: Tensor, rest: Tensor) -> Tensor:
        """Hidden states ``(..., D)`` of points ``(..., 2)`` in [-1, 1], with ``rest`` in all other directions."""
        to = self.directions.T
        return rest + (self.GAIN * self.scale * points - rest @ self.directions) @ to

    def read(self, hidden: Tensor) -> Tensor:
        """Places ``(..., 2)`` of about unit variance; in float32, whatever the tower computes in."""
        with torch.autocast(hidden.device.type, enabled=False):
            return hidden.float() @ self.directions / self.scale


class Landmarks(nn.Module):
    """Finds the caption's landmarks in pictures: expected coordinates under softmax maps that its words choose.

    A small convolutional stem, then dot products between its features and K queries that are linear in the caption's
    words, so that "red" asks for the same thing in every sentence. After Finn et al. 2016 (Deep spatial autoencoders),
    whose maps are fixed channels.

    In training each picture is moved by a few pixels, and its landmarks are moved back. The stem sees blocks of
    pixels; from a few dozen scenes it would learn only the places within a block that these happened to show.

    Args:
        text_dim: E.
        count: K.
        max_views: Rows of the table that tells landmarks apart.
        width: D.
        channels: C.
    """

    STRIDE = 4
    DEPTH = 2

    def __init__(self, text_dim: int, count: int, max_views: int, width: int, channels: int = 32):
        super().__init__()
        # Blocks of pixels become channels: as fine as strided convolutions, and twice as fast on a CPU.
        self.stem = nn.Conv2d(3 * self.STRIDE**2, channels, 3, padding=1)
        self.mix = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(self.DEPTH))
        self.to_keys = nn.Conv2d(channels, channels, 1)
        self.norm_keys = nn.LayerNorm(channels)
        self.to_queries = nn.Linear(text_dim, count * channels)
        self.norm_content = nn.LayerNorm(channels)
        self.to_content = nn.Linear(channels, width, bias=False)
        nn.init.normal_(self.to_content.weight, std=0.1)
        self.identity = nn.Parameter(torch.randn(max_views, count, width))
        self.code = PlaceCode(width)
        self.count = count

    def forward(self, frames_BV3HW: Tensor, text_BLE: Tensor, view_ids: Tensor | None = None) -> Tensor:
        """Tokens ``(B, V, K, D)``.

        Args:
            frames_BV3HW: Keyframes in [-1, 1].
            text_BLE: Caption tokens; unused slots are zero.
            view_ids: ``(V,)`` rows of the view table; None for the first V.
        """
        batch, views = frames_BV3HW.shape[:2]
        frames, words = frames_BV3HW.flatten(0, 1), mean_word(text_BLE).repeat_interleave(views, 0)
        if self.training:
            moved, shift = self.move(frames)
            points, content = self._look(moved, words)
            points = points - shift[:, None]
        else:
            points, content = self._look(frames, words)
        points, content = (x.unflatten(0, (batch, views)) for x in (points, content))
        identity = self.identity[slice(views) if view_ids is None else view_ids]
        return self.code.write(points, identity + self.to_content(self.norm_content(content)))

    def move(self, frames_N3HW: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures moved by up to a block of whole pixels, borders repeated, and the shifts ``(N, 2)`` as (x, y)."""
        reach, (height, width) = self.STRIDE, frames_N3HW.shape[-2:]
        padded = F.pad(frames_N3HW, (reach,) * 4, mode="replicate")
        corner = torch.randint(0, 2 * reach + 1, (len(padded), 2), device=padded.device)
        moved = [
            frame[:, y : y + height, x : x + width]
            for frame, (x, y) in zip(padded, corner.tolist(), strict=True)
        ]
        # From pixels to [-1, 1], which spans the first to the last block.
        span = padded.new_tensor([width, height]).sub(self.STRIDE).clamp_min(1) / 2
        return torch.stack(moved), (reach - corner) / span

    def maps(self, frames_N3HW: Tensor, words_NE: Tensor) -> tuple[Tensor, Tensor]:
        """How well each block fits each landmark ``(N, K, h, w)``, before the softmax, and its features ``(N, h w, C)``."""
        x = F.gelu(self.stem(F.pixel_unshuffle(frames_N3HW, self.STRIDE)))
        for mix in self.mix:
            x = x + F.gelu(mix(x))
        keys = self.norm_keys(self.to_keys(x).flatten(2).transpose(1, 2))
        queries = self.to_queries(words_NE).unflatten(-1, (self.count, -1))
        return (queries @ keys.transpose(-2, -1)).unflatten(-1, x.shape[-2:]), x.flatten(2).transpose(1, 2)

    def _look(self, frames_N3HW: Tensor, words_NE: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates ``(N, K, 2)`` as (x, y) in [-1, 1], and what lies there ``(N, K, C)``, of one picture per row."""
        fits, features = self.maps(frames_N3HW, words_NE)
        maps = fits.flatten(2).softmax(-1)
        return maps @ block_places(fits), maps @ features


def block_places(maps: Tensor) -> Tensor:
    """Where the blocks of maps ``(..., h, w)`` lie: ``(h w, 2)`` as (x, y), from -1 for the first to 1 for the last."""
    height, width = maps.shape[-2:]
    ys = torch.linspace(-1.0, 1.0, height, device=maps.device, dtype=maps.dtype)
    xs = torch.linspace(-1.0, 1.0, width, device=maps.device, dtype=maps.dtype)
    return torch.stack((xs.repeat(height), ys.repeat_interleave(width)), dim=-1)


def mean_word(text_BLE: Tensor) -> Tensor:
    """A caption's tokens ``(B, L, E)``, whose unused slots are zero, averaged over its words: ``(B, E)``."""
    used = (text_BLE != 0).any(-1).sum(1, keepdim=True).clamp_min(1)
    return text_BLE.sum(1) / used
