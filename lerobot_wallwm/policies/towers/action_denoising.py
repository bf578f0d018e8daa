# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Denoising steps of the action tower for one set of video keys and values.

The state token reads neither the actions nor their noise level, so its way through the tower is gone once, and each
step sends the other tokens alone. `ActionTower.forward` is the plain reference.

Shapes: B batch, H steps that are planned, G tokens that a chunk is given, L denoising steps, A action dims, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lerobot_wallwm.policies.towers.action_tower import ActionTower
from lerobot_wallwm.policies.towers.attention import Attention, Rope, rope_tables, rotate_both
from lerobot_wallwm.policies.towers.goal_head import Goal
from lerobot_wallwm.policies.towers.history import Given

KeysValues = tuple[Tensor, Tensor]


class StateLayer:
    """One layer's state token ``(B, 1, D)``, as a `TokenLayout`; keeps what the layer's other tokens read of it.

    Its rotary position is zero, which turns nothing.

    Attributes:
        keys_values: Of the self-attention, ``(B, 1, heads, D / heads)``.
        read: What each token gets from the state, ``(B, 1, D)``.
    """

    keys_values: KeysValues
    read: Tensor

    def __init__(self, video_mask: Tensor | None):
        self.video_mask = video_mask

    def per_token(self, by_kind: Tensor) -> Tensor:
        """The clean modulation, which is all there is."""
        return by_kind

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

    Args:
        state: The same layer's state token.
        mask: ``(B, 1, 1, 1 + G + H)``, True for the state and what lies inside the event; None if all does.
        rope: Tables ``(G + H, 1, D / heads)``.
    """

    def __init__(self, state: StateLayer, mask: Tensor | None, rope: Rope):
        self.state, self.mask, self.rope = state, mask, rope

    def per_token(self, by_kind: Tensor) -> Tensor:
        """Modulations are spread over the tokens before."""
        return by_kind

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
        video_kv: From `ActionTower.video_keys_values`.
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
        video_kv: Sequence[KeysValues],
        levels: Tensor,
        video_mask: Tensor | None = None,
        goal: Goal | None = None,
        given: Given | None = None,
    ):
        self.tower, self.video_kv, self.goal, self.given = tower, video_kv, goal, given
        x = tower.embed_state(state, None if goal is None else goal.features)[:, None]
        time = F.silu(tower.embed_time(levels[:-1], x.dtype))  # (L + 1, D), the clean one last
        modulations = [block.modulation(time) for block in tower.blocks]
        self.modulations = [modulation.unbind(0) for modulation in modulations]
        x = x + self._codes(0, 1)
        self.state_layers = []
        for block, modulation, kv in zip(tower.blocks, self.modulations, video_kv, strict=True):
            layer = StateLayer(video_mask)
            x = block.update(x, modulation[-1], kv, layer)
            self.state_layers.append(layer)
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
        if not bool(valid.all()):
            mask = torch.cat((valid.new_ones(len(valid), 1), valid), dim=1)[:, None, None]
        turns = slice(first, tower.past_steps + 1 + horizon)
        rope = rope_tables(tower.rope_cos[turns, None], tower.rope_sin[turns, None])
        self.layers = [ActionLayer(state, mask, rope) for state in self.state_layers]

    def predict(self, noised: Tensor, step: int) -> Tensor:
        """The tower's prediction ``(B, H, A)`` from actions ``(B, H, A)`` at the noise level of step ``step``."""
        tower, lead = self.tower, 0
        x = tower.encoder(tower.widen(noised * self.valid))
        if self.past is not None:
            x, lead = torch.cat((self.past, x), dim=1), self.past.shape[1]
        x = x + self.codes
        for block, modulations, kv, layer in zip(
            tower.blocks, self.modulations, self.video_kv, self.layers, strict=True
        ):
            by_token = modulations[step]
            if lead:
                by_token = torch.cat((modulations[-1].expand(lead, -1), by_token.expand(noised.shape[1], -1)))
            x = block.update(x, by_token, kv, layer)
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
