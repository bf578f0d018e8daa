# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""How the video tower's tokens lie in memory: padded to the window (the plain reference), or packed.

All token-wise work is the same in both; a layout knows which tokens attend to each other.

Shapes: B batch, V views, M = B * V, T latent frames, F latent frames of all views and samples that lie inside their
events, G = F / V, N tokens of one view at one latent frame, D width, L text tokens.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol

from diffusers.models.transformers.transformer_wan import WanAttention
from torch import Tensor

from lerobot_wallwm.policies.towers.attention import PackedSequences, attend, attend_padded, wan_attention
from lerobot_wallwm.policies.towers.cross_view import CrossViewAttention
from lerobot_wallwm.policies.towers.frame_packing import FramePacking
from lerobot_wallwm.policies.towers.rotary import Rope, rope_tables


class FrameLayout(Protocol):
    """What a block of the video tower asks of its tokens.

    Attributes:
        view_rope: Camera RoPE tables for V * N tokens; None skips the cross-view branch.
    """

    view_rope: Rope | None

    def within_view(self, attention: WanAttention, x: Tensor) -> Tensor:
        """Self-attention over all latent frames of one view."""

    def across_views(self, branch: CrossViewAttention, x: Tensor, gate: Tensor) -> Tensor:
        """Self-attention over all views at one latent frame."""

    def to_text(self, attention: WanAttention, x: Tensor, text: Tensor) -> Tensor:
        """Attention to the sample's caption."""


class PaddedFrames:
    """Every sample as long as the window; a mask hides what lies beyond its event.

    Args:
        views: V.
        rope: `rope_tables` of Wan's for T * N tokens.
        view_rope: Camera RoPE tables for V * N tokens.
        key_mask: ``(M, 1, 1, T * N)``, True where a token may be attended, or None.
        view_mask: ``(B * T, 1, V * N, V * N)``, True where tokens of one latent frame may see each other, or None.
    """

    def __init__(
        self,
        views: int,
        rope: Rope,
        view_rope: Rope | None,
        key_mask: Tensor | None,
        view_mask: Tensor | None,
    ):
        self.views, self.rope, self.view_rope = views, rope, view_rope
        self.key_mask, self.view_mask = key_mask, view_mask

    def within_view(self, attention: WanAttention, x: Tensor) -> Tensor:
        """``(M, T, N, D)``."""
        rows = x.flatten(1, 2)
        attend_to = partial(attend_padded, mask=self.key_mask)
        return wan_attention(attention, rows, rows, attend_to, self.rope).view_as(x)

    def across_views(self, branch: CrossViewAttention, x: Tensor, gate: Tensor) -> Tensor:
        """``(M, T, N, D)``."""
        assert self.view_rope is not None
        return branch(x, gate, self.views, self.view_rope, self.view_mask)

    def to_text(self, attention: WanAttention, x: Tensor, text: Tensor) -> Tensor:
        """``(M, T, N, D)``; text is ``(B, L, D)``."""
        # A sample's views queue up as one long query: the caption's keys and values are made once.
        queries = x.reshape(len(text), -1, x.shape[-1])
        return wan_attention(attention, queries, text, attend_padded).view_as(x)


class PackedFrames:
    """Valid latent frames only.

    Args:
        packing: Which they are.
        rope: Wan's cosines and sines for T * N tokens.
        view_rope: Camera RoPE tables for V * N tokens.
        view_mask: ``(B, T, V * N, V * N)``, True where tokens of one latent frame may see each other, or None.
        text_tokens: L.
    """

    def __init__(
        self,
        packing: FramePacking,
        rope: tuple[Tensor, Tensor],
        view_rope: Rope | None,
        view_mask: Tensor | None,
        text_tokens: int,
    ):
        self.packing, self.view_rope = packing, view_rope
        by_time = (table.squeeze(0).unflatten(0, (packing.length, -1)) for table in rope)
        self.rope = rope_tables(
            *(table[packing.time].flatten(0, 1) for table in by_time)
        )  # (F * N, 1, D / heads)
        self.view_mask = None
        if view_mask is not None:
            first = packing.by_latent[:: packing.views]
            self.view_mask = view_mask[packing.order[packing.sample[first]], packing.time[first]][:, None]
        per_sample = packing.tokens_per_sample
        self.to_caption = PackedSequences(per_sample, [text_tokens] * len(per_sample))

    def within_view(self, attention: WanAttention, x: Tensor) -> Tensor:
        """``(F, N, D)``."""
        tokens = x.flatten(0, 1)
        attend_to = partial(attend, sequences=self.packing.within_view)
        return wan_attention(attention, tokens, tokens, attend_to, self.rope).view_as(x)

    def across_views(self, branch: CrossViewAttention, x: Tensor, gate: Tensor) -> Tensor:
        """``(F, N, D)``; the branch reads one latent frame after the other."""
        assert self.view_rope is not None
        frames, by_latent = x[self.packing.by_latent, None], gate[self.packing.by_latent, None]
        mixed = branch(frames, by_latent, self.packing.views, self.view_rope, self.view_mask)
        return mixed[self.packing.by_view, 0]

    def to_text(self, attention: WanAttention, x: Tensor, text: Tensor) -> Tensor:
        """``(F, N, D)``; text is ``(B, L, D)`` in packed order. A sample's views queue up as one long query."""
        attend_to = partial(attend, sequences=self.to_caption)
        return wan_attention(attention, x.flatten(0, 1), text.flatten(0, 1), attend_to).view_as(x)
