# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A batch of training windows, each an event seen from one of its frames.

Shapes: B batch, V views, F = 1 + 4 M + 4 N frames, T = 1 + M + N latents (M = 0 in an event), K action draws,
H horizon, A action dims, P proprioception dims. Frames are in [-1, 1], state and actions in the model's own units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lerobot_wallwm.policies.towers.history import Given


@dataclass
class EventWindows:
    """A batch of event-centred windows.

    Attributes:
        keyframes: ``(B, V, 3, H, W)``, the observation.
        future: ``(S, V, 4 N, 3, H, W)``, the future frames of the first S samples (`future_rows`); decoded frames of
            the others are never touched, which would cost more than the network.
        frame_valid: ``(B, F)``, False beyond the event's end.
        state: ``(B, P)`` at the keyframe.
        actions: ``(B, H, A)``.
        action_valid: ``(B, H)``, False beyond the event's end.
        remaining: ``(B,)`` frames to the event's end, at least 1.
        here: ``(B, A)`` observed pose in goal units.
        goal: ``(B, A)`` pose at the event's end in goal units.
        has_goal: ``(B,)``, False where the event's end is unknown.
        captions: B strings.
        sight: ``(B, T, V N, V N)`` sight-cone masks of the latent frames, or None for all to see all.
        token_valid: ``(S, V, h, w)``, False for tokens of the first S samples that lie in a border of their picture
            (see `border_masks`); None if none does.
        view_ids: ``(V,)`` rows of the view table, one for each view of the whole batch; None for the first V.
        chunk: The past of an observation-centred window; None for an event.
        instructions: B strings, what the whole episode is for; the captions where the data do not say.
        following: B strings, the captions of the events that come next, empty after the last; None where the data hold no
            events.
        frame: ``(B, A, A)`` that turns ways from ``here`` into the observed pose's axes; None where nothing turns.
    """

    keyframes: Tensor
    future: Tensor
    frame_valid: Tensor
    state: Tensor
    actions: Tensor
    action_valid: Tensor
    remaining: Tensor
    here: Tensor
    goal: Tensor
    has_goal: Tensor
    captions: list[str]
    sight: Tensor | None = None
    token_valid: Tensor | None = None
    view_ids: Tensor | None = None
    chunk: Chunk | None = None
    instructions: list[str] | None = None
    following: list[str] | None = None
    frame: Tensor | None = None

    def rows(self, index: slice) -> EventWindows:
        """A part of the batch."""
        values: dict[str, Any] = {name: getattr(self, name) for name in self.__dataclass_fields__}
        whole = {"view_ids": values.pop("view_ids")}
        part: dict[str, Any] = {name: None if v is None else v[index] for name, v in values.items()}
        return EventWindows(**part, **whole)


@dataclass
class Chunk:
    """The past of a batch of observation-centred windows.

    Attributes:
        past: ``(B, V, 4 M, 3, H, W)`` sampled frames before the observation, oldest first.
        past_valid: ``(B, 4 M)``, False before the rollout's start, where the first frame is repeated.
        given: The past as action tokens.
    """

    past: Tensor
    past_valid: Tensor
    given: Given

    def __getitem__(self, rows: slice) -> Chunk:
        return Chunk(self.past[rows], self.past_valid[rows], self.given[rows])
