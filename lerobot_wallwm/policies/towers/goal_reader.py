# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Reads from the keyframes where the named event will end: caption-queried keypoints, then the pose at its end.

Not in the paper, whose towers start from web-scale weights: our choice for models that learn to see from a few dozen
demonstrations. Where an event ends depends on the pictures alone; how the arm gets there hardly does. The end is
therefore predicted by itself, as an absolute pose, and the action tower expresses its steps along the way there.

Shapes: B batch, V views, K keypoints, C channels, L text tokens, E text width, P proprioception dims, A action dims.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass
class Goal:
    """Where an event ends, as read from its keyframes.

    Attributes:
        pose: ``(B, A)`` predicted pose at the event's end, in `ActionSpace`'s goal units.
        way: ``(B, A)`` from the observed pose to ``pose``, in the units of the action sequence.
        features: ``(B, D)``, for the action tower's state token.
    """

    pose: Tensor
    way: Tensor
    features: Tensor

    def rows(self, index: slice) -> Goal:
        """A part of the batch."""
        return Goal(self.pose[index], self.way[index], self.features[index])

    def repeat(self, draws: int) -> Goal:
        """Each row ``draws`` times in a row."""
        return Goal(*(x.repeat_interleave(draws, 0) for x in (self.pose, self.way, self.features)))


class SpatialSoftmax(nn.Module):
    """Keypoints of pictures that the caption chooses: expected coordinates under softmax maps.

    A small convolutional stem, then dot products between its features and K queries that are linear in the caption's
    words, so that "red" asks for the same thing in every sentence. After Finn et al. 2016 (Deep spatial autoencoders),
    whose maps are fixed channels.

    In training each picture is moved by a few pixels, and its keypoints are moved back. The stem sees blocks of
    pixels; from a few dozen scenes it would learn only the places within a block that these happened to show.

    Args:
        text_dim: E.
        keypoints: K, per view.
        channels: C.
    """

    STRIDE = 4
    DEPTH = 3

    def __init__(self, text_dim: int, keypoints: int, channels: int = 32):
        super().__init__()
        # Blocks of pixels become channels: as fine as strided convolutions, and twice as fast on a CPU.
        self.stem = nn.Conv2d(3 * self.STRIDE**2, channels, 3, padding=1)
        self.mix = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(self.DEPTH))
        self.to_keys = nn.Conv2d(channels, channels, 1)
        self.norm_keys = nn.LayerNorm(channels)
        self.to_queries = nn.Linear(text_dim, keypoints * channels)
        self.keypoints = keypoints

    def forward(self, frames_BV3HW: Tensor, words_BE: Tensor) -> Tensor:
        """Coordinates ``(B, V, K, 2)`` as (x, y) in [-1, 1].

        Args:
            frames_BV3HW: Pictures in [-1, 1].
            words_BE: The caption, averaged over its words.
        """
        batch, views = frames_BV3HW.shape[:2]
        frames = frames_BV3HW.flatten(0, 1)
        if self.training:
            moved, shift = self._move(frames)
            points = self._look(moved, words_BE.repeat_interleave(views, 0)) - shift[:, None]
        else:
            points = self._look(frames, words_BE.repeat_interleave(views, 0))
        return points.unflatten(0, (batch, views))

    def _move(self, frames_N3HW: Tensor) -> tuple[Tensor, Tensor]:
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

    def _look(self, frames_N3HW: Tensor, words_NE: Tensor) -> Tensor:
        """Coordinates ``(N, K, 2)`` of one picture per row."""
        x = F.gelu(self.stem(F.pixel_unshuffle(frames_N3HW, self.STRIDE)))
        for mix in self.mix:
            x = x + F.gelu(mix(x))
        height, width = x.shape[-2:]
        keys = self.norm_keys(self.to_keys(x).flatten(2).transpose(1, 2))
        queries = self.to_queries(words_NE).unflatten(-1, (self.keypoints, -1))
        maps = (queries @ keys.transpose(-2, -1)).softmax(-1)  # (N, K, H W)
        ys = torch.linspace(-1.0, 1.0, height, device=x.device, dtype=x.dtype)
        xs = torch.linspace(-1.0, 1.0, width, device=x.device, dtype=x.dtype)
        grid = torch.stack((xs.repeat(height), ys.repeat_interleave(width)), dim=-1)
        return maps @ grid


class GoalReader(nn.Module):
    """Keyframes, state and caption to the pose at the event's end.

    Args:
        text_dim: E.
        state_dim: P.
        action_dim: A.
        width: D, the action tower's width.
        max_views: Most cameras.
        keypoints: K, per view.
        hidden: Width of the layers between.
        dropout: Share of their units that training leaves out.
    """

    # Coordinates lie in [-1, 1] and crowd around the middle at first: to about unit variance.
    COORDINATE_GAIN = 3.0

    def __init__(
        self,
        text_dim: int,
        state_dim: int,
        action_dim: int,
        width: int,
        max_views: int,
        keypoints: int,
        hidden: int = 256,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.look = SpatialSoftmax(text_dim, keypoints)
        self.coordinates = 2 * keypoints * max_views
        self.trunk = nn.Sequential(
            nn.Linear(self.coordinates + text_dim + state_dim, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
        )
        self.to_pose = nn.Linear(hidden, action_dim)
        self.to_features = nn.Linear(hidden + action_dim, width)

    def close_slots(self, start: int, stop: int) -> None:
        """Makes the goal blind to the views of slots ``start .. stop - 1`` until it learns to read them."""
        first = self.trunk[0]
        assert isinstance(first, nn.Linear)
        per_view = 2 * self.look.keypoints
        first.weight[:, start * per_view : stop * per_view] = 0.0

    def forward(
        self,
        keyframes: Tensor,
        state_BP: Tensor,
        text_BLE: Tensor,
        here_BA: Tensor,
        view_ids: Tensor | None = None,
    ) -> Goal:
        """Reads the goal.

        Args:
            keyframes: ``(B, V, 3, H, W)`` in [-1, 1].
            state_BP: Proprioception in network units.
            text_BLE: Caption tokens; unused slots are zero.
            here_BA: The observed pose in goal units (`ActionSpace.here`).
            view_ids: ``(V,)`` rows of the view table, whose slots the views' keypoints take; None for the first V.
                The other slots are zero.
        """
        used = (text_BLE != 0).any(-1).sum(1, keepdim=True).clamp_min(1)
        words = text_BLE.sum(1) / used
        seen = self.look(keyframes, words).flatten(2) * self.COORDINATE_GAIN  # (B, V, 2 K)
        slots = seen.new_zeros(len(seen), self.coordinates // seen.shape[2], seen.shape[2])
        slots[:, slice(seen.shape[1]) if view_ids is None else view_ids] = seen
        points = slots.flatten(1)
        hidden = self.trunk(torch.cat((points, words, state_BP), dim=1))
        pose = self.to_pose(hidden)
        way = pose - here_BA
        return Goal(pose, way, self.to_features(torch.cat((hidden, way), dim=1)))
