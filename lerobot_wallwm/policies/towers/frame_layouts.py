# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""How the video tower's tokens lie in memory: padded to the window (the plain reference), or packed.

All token-wise work is the same in both; a layout knows which tokens attend to each other.

Shapes: B batch, V views, M = B * V, T latent frames, F latent frames of all views and samples that lie inside their
events, G = F / V, N tokens of one view at one latent frame, D width, L text tokens.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol

import torch
from diffusers.models.transformers.transformer_wan import WanAttention
from torch import Tensor

from lerobot_wallwm.policies.towers.attention import (
    PackedSequences,
    Rope,
    at_hand,
    attend,
    attend_padded,
    rope_tables,
    wan_attention,
)
from lerobot_wallwm.policies.towers.cross_view import CrossViewAttention


def mask_or_none(valid: Tensor | None) -> Tensor | None:
    """None for a mask that hides nothing: attention is faster without. Waits for the device to know; see `mask_of_look`."""
    return None if valid is None or bool(valid.all()) else valid


def mask_of_look(valid: Tensor | None) -> Tensor | None:
    """`mask_or_none` where the answer is at hand; elsewhere the mask, which acting does not wait for."""
    return mask_or_none(valid) if valid is not None and at_hand(valid) else valid


def over_video_tokens(valid_BT: Tensor | None, tokens: int, views: int) -> Tensor | None:
    """Validity of latent frames, for keys of all views side by side: ``(B, 1, 1, V * T * N)``; None stays None."""
    if valid_BT is None:
        return None
    return valid_BT.repeat_interleave(tokens, 1).repeat(1, views)[:, None, None]


class FramePacking:
    """Which latent frames of a batch are kept, and in which order.

    Samples are sorted by length, so that equal lengths stand side by side. Their frames follow each other sample by
    sample, view by view: the tokens of one view and those of one sample are contiguous.

    Args:
        valid_BT: False marks latent frames beyond the event's end.
        views: V.
        tokens: N.
        steps_B: Actions of each sample; breaks ties of the order.

    Attributes:
        order: ``(B,)`` the batch's rows in packed order.
        sample, view, time: ``(F,)`` which frame each is; samples count in packed order.
        future: Which of the F come after a keyframe.
        keyframes: ``(B, V)`` which of the F are keyframes, in the batch's own order.
        rows_by_length: The batch's rows whose last valid latent frame is the n-th.
        by_latent, by_view: ``(F,)`` from view-by-view order to frame-by-frame order, and back.
        tokens_per_sample: V * T * N of each sample, in packed order.
    """

    def __init__(self, valid_BT: Tensor, views: int, tokens: int, steps_B: Tensor | None = None):
        device, valid = valid_BT.device, valid_BT.cpu()
        frames = valid.sum(1)
        order = torch.arange(len(valid)) if steps_B is None else steps_B.cpu().argsort(stable=True)
        order = order[frames[order].argsort(stable=True)]
        frames = frames[order]
        sample, view, time = valid[order][:, None].expand(-1, views, -1).nonzero().unbind(1)
        # The same frames, grouped by sample and latent frame: (sample, time, view) instead of (sample, view, time).
        length = valid.shape[1]
        by_latent = ((sample * length + time) * views + view).argsort()
        self.views, self.length = views, length
        self.order = order.to(device)
        self.sample, self.view, self.time = sample.to(device), view.to(device), time.to(device)
        self.by_latent, self.by_view = by_latent.to(device), by_latent.argsort().to(device)
        self.tokens_per_sample: list[int] = (frames * views * tokens).tolist()
        self.future = (time > 0).nonzero().squeeze(1).to(device)
        first = (time == 0).nonzero().squeeze(1).view(-1, views)
        self.keyframes = first[order.argsort()].to(device)
        extent = (valid[order] * torch.arange(1, length + 1)).amax(1)
        self.rows_by_length = {int(n): self.order[(extent == n).to(device)] for n in extent.unique()}
        self.within_view = PackedSequences(*[(frames * tokens).repeat_interleave(views).tolist()] * 2)

    def pack(self, x_BVT: Tensor) -> Tensor:
        """``(B, V, T, ...)`` to ``(F, ...)``."""
        return x_BVT[self.order[self.sample], self.view, self.time]

    def pack_shared(self, x_BT: Tensor) -> Tensor:
        """What all views share, ``(B, T, ...)``, to ``(F, ...)``."""
        return x_BT[self.order[self.sample], self.time]

    def pack_views(self, x_BV: Tensor, frames: Tensor | None = None) -> Tensor:
        """What all latent frames of a view share, ``(B, V, ...)``, to ``(F, ...)``, or for some of the F alone."""
        sample, view = (i if frames is None else i[frames] for i in (self.sample, self.view))
        return x_BV[self.order[sample], view]

    def pack_future(self, x_BVN: Tensor) -> Tensor:
        """What only frames after the keyframe have, ``(S, V, T - 1, ...)``, for the frames `future` of the first S rows."""
        sample, view, time = (i[self.future] for i in (self.sample, self.view, self.time))
        return x_BVN[self.order[sample], view, time - 1]

    def mean_per_sample(self, x_F: Tensor, frames: Tensor) -> Tensor:
        """Mean over each sample's share of ``frames``, in the batch's own order, ``(B,)``; 0 without any."""
        sample = self.order[self.sample[frames]]
        total = x_F.new_zeros(len(self.order)).index_add(0, sample, x_F)
        return total / sample.bincount(minlength=len(total)).clamp_min(1)


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
