# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Which tokens of the video tower are computed: the frames inside their events, packed."""

from __future__ import annotations

import torch
from torch import Tensor

from lerobot_wallwm.policies.towers.attention import PackedSequences


def mask_or_none(valid: Tensor | None) -> Tensor | None:
    """None for a mask that hides nothing: attention is faster without. A compiled graph cannot ask, so callers do."""
    return None if valid is None or bool(valid.all()) else valid


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
        extent = (valid[order] * torch.arange(1, length + 1)).amax(1)
        self.rows_by_length = {int(n): self.order[(extent == n).to(device)] for n in extent.unique()}
        self.within_view = PackedSequences(*[(frames * tokens).repeat_interleave(views).tolist()] * 2)

    def pack(self, x_BVT: Tensor) -> Tensor:
        """``(B, V, T, ...)`` to ``(F, ...)``."""
        return x_BVT[self.order[self.sample], self.view, self.time]

    def pack_shared(self, x_BT: Tensor) -> Tensor:
        """What all views share, ``(B, T, ...)``, to ``(F, ...)``."""
        return x_BT[self.order[self.sample], self.time]

    def pack_views(self, x_BV: Tensor) -> Tensor:
        """What all latent frames of a view share, ``(B, V, ...)``, to ``(F, ...)``."""
        return x_BV[self.order[self.sample], self.view]

    def pack_future(self, x_BVN: Tensor) -> Tensor:
        """What only frames after the keyframe have, ``(B, V, T - 1, ...)``, for the frames `future`."""
        sample, view, time = (i[self.future] for i in (self.sample, self.view, self.time))
        return x_BVN[self.order[sample], view, time - 1]

    def mean_per_sample(self, x_F: Tensor, frames: Tensor) -> Tensor:
        """Mean over each sample's share of ``frames``, in the batch's own order, ``(B,)``; 0 without any."""
        sample = self.order[self.sample[frames]]
        total = x_F.new_zeros(len(self.order)).index_add(0, sample, x_F)
        return total / sample.bincount(minlength=len(total)).clamp_min(1)
