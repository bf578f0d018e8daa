# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""How the action tower's tokens lie in memory: padded to the horizon (the plain reference), or packed.

All token-wise work is the same in both; a layout knows which token is whose, and who may attend to whom. State tokens
see themselves and the video only. In the padded layout every row has its own; packed, the K draws of a sample share
one, because neither action noise nor noise level ever reaches it.

Shapes: B batch, K action draws, R = B * K rows, H horizon, S = 1 + H tokens, A action dims, D width, V views,
T latent frames, N tokens of one view at one latent frame, P packed tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from lerobot_wallwm.policies.towers.attention import (
    Attention,
    PackedSequences,
    Rope,
    attend,
    rope_tables,
    rotate_both,
)
from lerobot_wallwm.policies.towers.frame_layouts import FramePacking

KeysValues = tuple[Tensor, Tensor]


class TokenLayout(Protocol):
    """What a block of the action tower asks of its tokens."""

    def modulate(self, modulation: Callable[[Tensor], Tensor], time: Tensor) -> Tensor:
        """Modulation of each token, from what ``modulation`` makes of the embedded noise levels."""

    def read_video(self, read: Callable[[Any], KeysValues], video: Any) -> KeysValues:
        """The sample's video tokens as keys and values, which ``read`` makes of the block's `VideoLayer`."""

    def from_state(self, read: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Hands each token what ``read`` makes of its state token; broadcasts against the tokens."""

    def attend_self(self, attention: Attention, x: Tensor) -> Tensor:
        """Self-attention within each row."""

    def attend_video(self, attention: Attention, x: Tensor, keys_values: KeysValues) -> Tensor:
        """Attention to the sample's video tokens; its K draws queue up, so that keys are never repeated."""


class PaddedTokens:
    """Every row as long as the horizon; masks hide what lies beyond the event.

    Args:
        valid: ``(R, S - 1)``, False beyond the event's end and, among a chunk's given tokens, before the rollout.
        clean: How many tokens lead the sequence clean: the state and, in a chunk, the given tokens.
        rope: Tables ``(S, 1, D / heads)``.
        video_mask: ``(B, 1, 1, V * T * N)``, True where a video token lies inside the event; None if all do.
    """

    def __init__(self, valid: Tensor, clean: int, rope: Rope, video_mask: Tensor | None):
        rows = len(valid)
        seen = torch.cat((valid.new_ones(rows, 1), valid), dim=1)
        self.self_mask = seen[:, None, None, :].expand(-1, 1, seen.shape[1], -1).clone()
        self.self_mask[:, :, 0, 1:] = False
        self.clean, self.rope, self.video_mask = clean, rope, video_mask

    def modulate(self, modulation: Callable[[Tensor], Tensor], time: Tensor) -> Tensor:
        """Of levels ``(R, 2, .)``, clean then noised: ``(R, S, .)``."""
        by_kind = modulation(time)
        noised = self.self_mask.shape[-1] - self.clean
        return torch.cat(
            (by_kind[:, :1].expand(-1, self.clean, -1), by_kind[:, 1:].expand(-1, noised, -1)), dim=1
        )

    def read_video(self, read: Callable[[Any], KeysValues], video: Any) -> KeysValues:
        """``(B, V * T * N, heads, D / heads)``."""
        return read(video)

    def from_state(self, read: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """``(R, 1, D)``, which broadcasts."""
        return read(x[:, :1])

    def attend_self(self, attention: Attention, x: Tensor) -> Tensor:
        """``(R, S, D)``."""
        return attention(x, attention.keys_values(x), self.self_mask, self.rope)

    def attend_video(self, attention: Attention, x: Tensor, keys_values: KeysValues) -> Tensor:
        """``(R, S, D)``."""
        queries = x.reshape(len(keys_values[0]), -1, x.shape[-1])
        return attention(queries, keys_values, self.video_mask).view_as(x)


class PackedTokens:
    """Valid tokens only: for each sample its state token, then the valid actions of draw 0, of draw 1, and so on.

    Samples stand in the video's order. ``row`` and ``step`` say where each action token comes from in the batch's own
    order.

    Args:
        valid_BH: False beyond the event's end.
        draws: K.
        frames: How the video is packed.
        rope: Cosines and sines, ``(S, 1, D / heads)``.
    """

    def __init__(self, valid_BH: Tensor, draws: int, frames: FramePacking, rope: tuple[Tensor, Tensor]):
        device, order = valid_BH.device, frames.order.cpu()
        batch, valid = len(order), valid_BH.cpu()[order]
        lengths = valid.sum(1)
        sample, draw, step = valid[:, None].expand(-1, draws, -1).nonzero().unbind(1)
        row = sample * draws + draw
        # The tokens before an action token: earlier actions, and the states of all samples up to its own.
        place = torch.arange(len(row)) + sample + 1
        sizes = 1 + draws * lengths
        state = sizes.cumsum(0) - sizes
        level = torch.full((int(sizes.sum()),), batch * draws)
        level[place] = order[sample] * draws + draw
        position = torch.zeros_like(level)
        position[place] = step + 1
        # Keys of each row: the shared state token, then the row's actions.
        keys = torch.cat((state.repeat_interleave(draws), place))
        keys = keys[torch.cat((torch.arange(batch * draws), row)).argsort(stable=True)]

        self.row, self.step, self.place = (
            (order[sample] * draws + draw).to(device),
            step.to(device),
            place.to(device),
        )
        self.state, self.sample = state.to(device), torch.arange(batch).repeat_interleave(sizes).to(device)
        self.level, self.position, self.keys = level.to(device), position.to(device), keys.to(device)
        self.rope = rope_tables(rope[0][self.position], rope[1][self.position])
        per_row = lengths.repeat_interleave(draws)
        self.rows = PackedSequences(per_row.tolist(), (1 + per_row).tolist())
        self.to_video = PackedSequences(sizes.tolist(), frames.tokens_per_sample)

    def join(self, state: Tensor, actions: Tensor) -> Tensor:
        """State tokens ``(B, D)`` and action tokens to ``(P, D)``, in the states' dtype."""
        return self.to_all(state).index_copy(0, self.place, actions.type_as(state))

    def of_actions(self, x: Tensor) -> Tensor:
        """The action tokens of ``(P, D)``."""
        return x.index_select(0, self.place)

    def of_state(self, x: Tensor) -> Tensor:
        """``(P, D)`` to ``(B, D)``."""
        return x.index_select(0, self.state)

    def from_state(self, read: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """``(P, D)``."""
        return self.to_all(read(self.of_state(x)))

    def to_all(self, state: Tensor) -> Tensor:
        """``(B, D)`` to ``(P, D)``."""
        return state.index_select(0, self.sample)

    def modulate(self, modulation: Callable[[Tensor], Tensor], time: Tensor) -> Tensor:
        """Of levels ``(R + 1, .)`` in the batch's order, the clean one last: ``(P, .)``."""
        return modulation(time).index_select(0, self.level)

    def read_video(self, read: Callable[[Any], KeysValues], video: Any) -> KeysValues:
        """``(F * N, heads, D / heads)``."""
        return read(video)

    def attend_self(self, attention: Attention, x: Tensor) -> Tensor:
        """``(P, D)``. A state token sees itself alone: softmax over one key returns that key's value."""
        k, v = attention.keys_values(x)
        q, k = rotate_both(attention.queries(x), k, self.rope)
        kv = torch.stack((k, v), dim=1).index_select(0, self.keys)
        out = attend(q.index_select(0, self.place), kv[:, 0], kv[:, 1], self.rows)
        return attention.to_out(v.index_copy(0, self.place, out).flatten(1))

    def attend_video(self, attention: Attention, x: Tensor, keys_values: KeysValues) -> Tensor:
        """``(P, D)``."""
        return attention.to_out(attend(attention.queries(x), *keys_values, self.to_video).flatten(1))
