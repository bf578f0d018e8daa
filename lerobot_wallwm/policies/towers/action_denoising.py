# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Denoising steps of the action tower for one set of video keys and values.

The state token reads neither the actions nor their noise level, so its way through the tower is gone once, and each
step sends the other tokens alone. `ActionTower.forward` is the plain reference.

Shapes: B batch, H steps that are planned, G tokens that a chunk is given, L denoising steps, A action dims, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lerobot_wallwm.policies.towers.action_tower import ActionTower, VideoContext
from lerobot_wallwm.policies.towers.attention import Attention, Rope, at_hand, rope_tables, rotate_both
from lerobot_wallwm.policies.towers.goal_head import Goal
from lerobot_wallwm.policies.towers.history import Given
from lerobot_wallwm.policies.towers.token_layouts import KeysValues


class StateLayer:
    """One layer's state token ``(B, 1, D)``, as a `TokenLayout`; keeps what the layer's other tokens need of the layer.

    Its rotary position is zero, which turns nothing.

    Attributes:
        modulations: Of each noise level ``(6 D,)``, the clean one last.
        keys_values: Of the self-attention, ``(B, 1, heads, D / heads)``.
        of_video: Keys and values of the video.
        read: What each token gets from the state, ``(B, 1, D)``.
    """

    modulations: tuple[Tensor, ...]
    keys_values: KeysValues
    of_video: KeysValues
    read: Tensor

    def __init__(self, video_mask: Tensor | None):
        self.video_mask = video_mask

    def modulate(self, modulation: Callable[[Tensor], Tensor], time: Tensor) -> Tensor:
        """The clean one, of levels ``(L + 1, D)``."""
        self.modulations = modulation(time).unbind(0)
        return self.modulations[-1]

    def read_video(self, read: Callable[[Any], KeysValues], video: Any) -> KeysValues:
        """``(B, V * T * N, heads, D / heads)``."""
        self.of_video = read(video)
        return self.of_video

    def from_state(self, read: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """``(B, 1, D)``."""
        self.read = read(x)
        return self.read

    def attend_self(self, attention: Attention, x: Tensor) -> Tensor:
        """A state token sees itself alone: softmax over one key returns that key's value."""
        self.keys_values = attention.keys_values(x)
        return attention.to_out(self.keys_values[1].flatten(-2))

    def attend_video(self, attention: Attention, x: Tensor, keys_values: KeysValues) -> Tensor:
        """``(B, 1, D)``."""
        return attention(x, keys_values, self.video_mask)


class ActionLayer:
    """One layer's other tokens ``(B, G + H, D)``, as a `TokenLayout`.

    Attributes:
        step: Which noise level is the next forward's.

    Args:
        state: The same layer's state token.
        clean: G.
        mask: ``(B, 1, 1, 1 + G + H)``, True for the state and what lies inside the event; None if all does.
        rope: Tables ``(G + H, 1, D / heads)``.
    """

    def __init__(self, state: StateLayer, clean: int, mask: Tensor | None, rope: Rope):
        self.state, self.clean, self.mask, self.rope = state, clean, mask, rope
        self.step = 0

    def modulate(self, modulation: Callable[[Tensor], Tensor], time: Tensor) -> Tensor:
        """``(6 D,)`` for all tokens, or ``(G + H, 6 D)`` where some are given."""
        noised = self.state.modulations[self.step]
        if not self.clean:
            return noised
        count = self.rope.cos.shape[0] - self.clean
        return torch.cat((self.state.modulations[-1].expand(self.clean, -1), noised.expand(count, -1)))

    def read_video(self, read: Callable[[Any], KeysValues], video: Any) -> KeysValues:
        """As the state token read it."""
        return self.state.of_video

    def from_state(self, read: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """``(B, 1, D)``, which broadcasts."""
        return self.state.read

    def attend_self(self, attention: Attention, x: Tensor) -> Tensor:
        """``(B, G + H, D)``."""
        (k, v), (first_k, first_v) = attention.keys_values(x), self.state.keys_values
        q, k = rotate_both(attention.queries(x), k, self.rope)
        k, v = torch.cat((first_k, k), dim=1), torch.cat((first_v, v), dim=1)
        return attention.attend(q, k, v, self.mask)

    def attend_video(self, attention: Attention, x: Tensor, keys_values: KeysValues) -> Tensor:
        """``(B, G + H, D)``."""
        return attention(x, keys_values, self.state.video_mask)


class ActionDenoiser:
    """What the denoising steps of one look share.

    Args:
        tower: The action tower.
        state: ``(B, P)`` proprioception at the keyframe.
        video: From `ActionTower.read_video`.
        levels: ``(L + 1,)`` noise levels, descending; the last is where the last step lands.
        video_mask: ``(B, 1, 1, V * T * N)``, True where a video token lies inside the event; None if all do.
        goal: Where the event ends; None without a `GoalHead`.
        given: The past of an observation-centred window; None for an event.

    Attributes:
        log_remaining: ``(B,)`` natural logarithm of the frames that the event still lasts.
    """

    def __init__(
        self,
        tower: ActionTower,
        state: Tensor,
        video: VideoContext,
        levels: Tensor,
        video_mask: Tensor | None = None,
        goal: Goal | None = None,
        given: Given | None = None,
    ):
        self.tower, self.goal, self.given = tower, goal, given
        self.video = video.by_layer()
        x = tower.embed_state(state, None if goal is None else goal.features)[:, None]
        self.time = F.silu(tower.embed_time(levels[:-1], x.dtype))  # (L + 1, D), the clean one last
        x = x + self._codes(0, 1)
        self.state_layers = [StateLayer(video_mask) for _ in self.video]
        for block, video_layer, layer in zip(tower.blocks, self.video, self.state_layers, strict=True):
            x = block(x, self.time, video_layer, layer)
        self.log_remaining = tower.remaining_head(tower.norm_out(x[:, 0])).squeeze(-1)

    def begin(self, valid: Tensor) -> None:
        """Prepares the steps for sequences of these lengths.

        Args:
            valid: ``(B, H)``, False beyond the event's end.
        """
        tower, given, horizon = self.tower, self.given, valid.shape[1]
        self.valid = valid[..., None]
        self.codes = self._codes(1, 1 + horizon)
        first, self.past = tower.past_steps + 1, None
        if given is not None:
            self.past = tower.encoder(tower.widen(given.tokens))
            valid, first = torch.cat((given.valid, valid), dim=1), 0
        mask = None
        if not (at_hand(valid) and bool(valid.all())):
            mask = torch.cat((valid.new_ones(len(valid), 1), valid), dim=1)[:, None, None]
        turns = slice(first, tower.past_steps + 1 + horizon)
        rope = rope_tables(tower.rope_cos[turns, None], tower.rope_sin[turns, None])
        clean = 0 if self.past is None else self.past.shape[1]
        self.layers = [ActionLayer(state, clean, mask, rope) for state in self.state_layers]

    def predict(self, noised: Tensor, step: int) -> Tensor:
        """The tower's prediction ``(B, H, A)`` from actions ``(B, H, A)`` at the noise level of step ``step``."""
        tower, lead = self.tower, 0
        x = tower.encoder(tower.widen(noised * self.valid))
        if self.past is not None:
            x, lead = torch.cat((self.past, x), dim=1), self.past.shape[1]
        x = x + self.codes
        for block, video_layer, layer in zip(tower.blocks, self.video, self.layers, strict=True):
            layer.step = step
            x = block(x, self.time, video_layer, layer)
        return tower.read_out(x[:, lead:], None if self.goal is None else self.goal.way[:, None])

    def _codes(self, start: int, stop: int) -> Tensor:
        """E_tau, in a chunk also E_abs, of the state (0) or of the given tokens and the first actions (1 and on)."""
        tower = self.tower
        if self.given is None:
            return tower.tau_action(tower.tau[start:stop])
        assert tower.chunk_tables is not None, "the shape's max_chunks is 0: this tower was built for events"
        codes = tower.chunk_tables.action_code(
            tower.tau_action.weight, tower.tau[: max(stop, 1)], self.given.chunk
        )
        return codes[:, :1] if stop == 1 else codes[:, 1:]
