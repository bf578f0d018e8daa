# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Reads from the video tower where the named event will end.

Not in the paper: our choice for models that learn from a few dozen demonstrations. Where an event ends depends on the
pictures alone; how the arm gets there hardly does. The end is therefore predicted by itself, as a pose, from the
landmarks that leave the tower's last block, and the action tower expresses its steps along the way there.

What a caption means is which places and joints matter, and how: a product of its words with both, which the head has
beside a small network. The network alone learns it late, and is off by millimetres where the goal is nearly the pose.

Ends are absolute: a learned share of the observed pose comes nearer to ends where the arm already is, and teaches the
head to stay near and not to look (docs/results/sight.md).

Shapes: B batch, V views, K landmarks of a view, L text tokens, E text width, P proprioception dims, A action dims.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lerobot_wallwm.policies.towers.landmarks import mean_word


@dataclass
class Goal:
    """Where an event ends.

    Attributes:
        pose: ``(B, A)`` predicted pose at the event's end, in `ActionSpace`'s goal units.
        way: ``(B, A)`` from the observed pose to ``pose``, in the units of the action sequence.
        features: ``(B, D)``, for the action tower's state token.
        read: ``(B, I)``, what it was read from.
    """

    pose: Tensor
    way: Tensor
    features: Tensor
    read: Tensor

    def repeat(self, draws: int) -> Goal:
        """Each row ``draws`` times in a row."""
        return Goal(*(x.repeat_interleave(draws, 0) for x in vars(self).values()))


class GoalHead(nn.Module):
    """The tower's landmarks, state and caption to the pose at the event's end.

    Args:
        text_dim: E.
        state_dim: P.
        action_dim: A.
        width: The action tower's.
        max_views: Most cameras.
        landmarks: K.
        hidden: Width of the layers between.
        dropout: Share of their units that training leaves out.
    """

    # Our choice: spread of the weights by which words choose, weight of the state beside the places, and the error, in
    # goal units, up to which the loss is a square.
    CHOICE, NEAR, BETA = 0.3, 4.0, 0.03

    def __init__(
        self,
        text_dim: int,
        state_dim: int,
        action_dim: int,
        width: int,
        max_views: int,
        landmarks: int,
        hidden: int = 256,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.state_dim = state_dim
        self.per_view, self.coordinates = 2 * landmarks, 2 * landmarks * max_views
        self.trunk = nn.Sequential(
            nn.Linear(self.coordinates + text_dim + state_dim, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
        )
        self.to_pose = nn.Linear(hidden, action_dim)
        self.words = nn.Linear(text_dim, hidden)
        self.straight = nn.Linear(self.coordinates + state_dim, hidden)
        self.to_shift = nn.Linear(hidden, action_dim, bias=False)
        nn.init.normal_(self.words.weight, std=self.CHOICE)
        nn.init.zeros_(self.to_shift.weight)
        self.to_features = nn.Linear(hidden + action_dim, width)

    def close_slots(self, start: int, stop: int) -> None:
        """Makes the goal blind to the views of slots ``start .. stop - 1`` until it learns to read them."""
        first = self.trunk[0]
        assert isinstance(first, nn.Linear)
        for layer in (first, self.straight):
            layer.weight[:, start * self.per_view : stop * self.per_view] = 0.0

    def forward(
        self,
        places_BVK2: Tensor,
        state_BP: Tensor,
        text_BLE: Tensor,
        here_BA: Tensor,
        view_ids: Tensor | None = None,
        frame_BAA: Tensor | None = None,
    ) -> Goal:
        """Reads the goal.

        Args:
            places_BVK2: Where the landmarks lie as they leave the tower's last block (`PlaceCode.read`).
            state_BP: Proprioception in network units.
            text_BLE: Caption tokens; unused slots are zero.
            here_BA: The observed pose in goal units (`ActionSpace.here`).
            view_ids: ``(V,)`` rows of the view table, whose slots the views take; None for the first V. The other
                slots are zero.
            frame_BAA: Turns the way into the observed pose's axes, in which rotations and positions are learned; None
                where nothing turns.
        """
        places = places_BVK2.flatten(2)  # (B, V, 2 K)
        slots = places.new_zeros(len(places), self.coordinates // self.per_view, self.per_view)
        slots[:, slice(places.shape[1]) if view_ids is None else view_ids] = places
        read = torch.cat((slots.flatten(1), mean_word(text_BLE), state_BP), dim=1)
        pose, hidden = self.pose(read)
        way = pose - here_BA
        if frame_BAA is not None:
            way = torch.einsum("bij,bj->bi", frame_BAA, way)
        return Goal(pose, way, self.to_features(torch.cat((hidden, way), dim=1)), read)

    def pose(self, read_BI: Tensor) -> tuple[Tensor, Tensor]:
        """The pose at the event's end ``(B, A)``, and what the trunk makes of what was read ``(B, hidden)``."""
        places, text, state = read_BI.split((self.coordinates, self.words.in_features, self.state_dim), dim=1)
        hidden = self.trunk(read_BI)
        product = self.words(text) * self.straight(torch.cat((places, self.NEAR * state), dim=1))
        return self.to_pose(hidden) + self.to_shift(product), hidden

    def loss(self, pose_BA: Tensor, true_BA: Tensor) -> Tensor:
        """How far goals are from where events ended, ``(B,)``."""
        return nn.functional.smooth_l1_loss(pose_BA, true_BA, beta=self.BETA, reduction="none").mean(1)
