# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Cross-view attention and Camera RoPE, its rotary code with a view axis (paper p. 6).

Shapes: V views, N tokens of one view at one latent frame, D the width of one attention head.
"""

from __future__ import annotations

import copy
from functools import partial

import torch
from diffusers.models.transformers.transformer_wan import WanAttention
from torch import Tensor, nn

from lerobot_wallwm.hub.files.tables import exact
from lerobot_wallwm.policies.towers.attention import Rope, at_hand, attend_padded, wan_attention


class CameraRoPE(nn.Module):
    """Rotary angles over (frame, height, width, view) for tokens of one latent frame.

    Height and width keep the bands and frequencies of Wan's 3D RoPE, whose weights the branch starts from. All
    tokens of one cross-view sequence share a latent frame, so a frame rotation would cancel between query and key;
    our choice is to hand that whole band to the view axis. A view's angles come from a learnable embedding through
    one linear map, shared by all layers, without calibration: a camera added or removed changes only the table.

    Args:
        frame_dim: Width of Wan's frame band in a head (even).
        max_views: Rows of the embedding table.
        embedding_dim: Width of a view's embedding (our choice: 16; the paper gives none).
    """

    def __init__(self, frame_dim: int, max_views: int, embedding_dim: int = 16):
        super().__init__()
        self.max_views = max_views
        self.view_embedding = nn.Embedding(max_views, embedding_dim)
        self.to_angle = exact(nn.Linear(embedding_dim, frame_dim // 2, bias=False))

    def forward(
        self, rope: tuple[Tensor, Tensor], view_ids: Tensor, tokens_per_frame: int
    ) -> tuple[Tensor, Tensor]:
        """Builds cosines and sines for the concatenated tokens of all views.

        Args:
            rope: Wan's ``(cos, sin)``, each ``(1, T * N, 1, D)`` with every value repeated twice.
            view_ids: ``(V,)`` rows of the table.
            tokens_per_frame: N.

        Returns:
            ``(cos, sin)``, each ``(1, V * N, 1, D)``.

        Raises:
            ValueError: More views than the table holds.
        """
        if at_hand(view_ids) and int(view_ids.max()) >= self.max_views:
            raise ValueError(
                f"Camera RoPE holds {self.max_views} views but view {int(view_ids.max())} was asked for; "
                "raise --policy.max_views."
            )
        angle = self.to_angle(self.view_embedding(view_ids)).repeat_interleave(2, dim=-1)  # (V, frame_dim)
        frame_dim, views = angle.shape[-1], len(view_ids)
        out = []
        for table, view_part in zip(rope, (angle.cos(), angle.sin()), strict=True):
            spatial = table[0, :tokens_per_frame, 0, frame_dim:].to(view_part.dtype)  # (N, D - frame_dim)
            part = torch.cat(
                (
                    view_part[:, None].expand(views, tokens_per_frame, frame_dim),
                    spatial[None].expand(views, tokens_per_frame, -1),
                ),
                dim=-1,
            )
            out.append(part.reshape(1, views * tokens_per_frame, 1, -1))
        return out[0], out[1]


class CrossViewAttention(nn.Module):
    """Self-attention over the tokens of all views at one latent frame, behind a zero-initialised projection.

    ``h <- h + g * W_view * Attn(h)`` (paper p. 6). Query, key, value and output weights are copied from the same
    block's within-view attention. Our choices: the branch normalises and modulates its input as the within-view
    attention does; ``W_view`` follows the copied output projection; the gate is the block's own gate signal with a
    table of its own that starts as a copy.
    """

    def __init__(self, within_view: WanAttention, gate_table: Tensor, width: int):
        super().__init__()
        self.attention = copy.deepcopy(within_view)
        self.project = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.project.weight)
        self.gate_table = nn.Parameter(gate_table.detach().clone())  # (1, D)

    def forward(
        self, x_MTND: Tensor, gate_MT1D: Tensor, views: int, rope: Rope, mask: Tensor | None = None
    ) -> Tensor:
        """Returns the gated update, ``(M, T, N, D)``; ``mask`` is ``(B * T, 1, V * N, V * N)``, True where allowed."""
        m, time, tokens, width = x_MTND.shape
        frames = x_MTND.unflatten(0, (-1, views)).transpose(1, 2).reshape(-1, views * tokens, width)
        mixed = wan_attention(self.attention, frames, frames, partial(attend_padded, mask=mask), rope)
        mixed = self.project(mixed)
        mixed = mixed.reshape(m // views, time, views, tokens, width).transpose(1, 2).reshape_as(x_MTND)
        return mixed * (self.gate_table + gate_MT1D)
