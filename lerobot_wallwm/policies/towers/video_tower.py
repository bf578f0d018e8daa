# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The multi-view video tower: diffusers' Wan blocks, each with a cross-view branch (paper p. 6-8).

Shapes: B batch, V views, M = B * V, T latent frames, N tokens of one view at one latent frame, D width,
C latent channels, L text tokens. Views are folded into the batch for everything that Wan does by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.transformers.transformer_wan import (
    WanRotaryPosEmbed,
    WanTransformer3DModel,
    WanTransformerBlock,
)
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from lerobot_wallwm.hub.files.backbones import WanShape
from lerobot_wallwm.hub.files.tables import Tables, exact
from lerobot_wallwm.policies.towers.attention import rope_tables
from lerobot_wallwm.policies.towers.cross_view import CameraRoPE, CrossViewAttention
from lerobot_wallwm.policies.towers.frame_layouts import FrameLayout, FramePacking, PackedFrames, PaddedFrames


@dataclass
class VideoFeatures:
    """What leaves the tower.

    Attributes:
        layers: Hidden states after each block, ``depth`` tensors ``(B, V, T, N, D)``; the action tower reads them.
        prediction: Output of the video head ``(B, V, C, T, H, W)`` without the given frames, or None where it was not
            asked for.
        landmarks: The keyframe's landmarks after the last block ``(B, V, K, D)``, or None without any.

    If packed, layers are ``(F, N, D)`` and the prediction is that of `FramePacking.future` alone, ``(., C, H, W)``.
    """

    layers: list[Tensor]
    prediction: Tensor | None
    landmarks: Tensor | None = None


class WanRotaryTables(Tables, WanRotaryPosEmbed):
    """Wan's rotary code, whose tables stay in float32."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        buffers = dict(self.named_buffers())
        self._buffers.clear()
        self.keep(persistent=False, **buffers)


class MultiViewWanBlock(WanTransformerBlock):
    """Wan's block with the cross-view branch between within-view attention and text attention.

    Timesteps are given per latent frame, ``(M, T, 6, D)``, instead of per token: slot 0 is clean, the rest is noisy.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        # On the instance: a class attribute would hide the submodule, which torch finds only where lookup fails.
        self.cross_view: CrossViewAttention | None = None

    def add_cross_view(self, width: int) -> None:
        """Attaches the branch; call it after the Wan weights are in place, because they are copied."""
        self.cross_view = CrossViewAttention(self.attn1, self.scale_shift_table[:, 2], width)

    def forward(  # type: ignore[override]
        self, x: Tensor, text: Tensor, time: Tensor, frames: FrameLayout
    ) -> Tensor:
        """One block.

        Args:
            x: Tokens ``(..., N, D)`` as ``frames`` lays them out.
            text: Text tokens in model width ``(B, L, D)``.
            time: Timestep modulation of each latent frame ``(..., 6, D)``.
            frames: The layout.
        """
        table = self.scale_shift_table + time.float()
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = table.unsqueeze(-2).unbind(-3)  # (..., 1, D)

        normed = (self.norm1(x.float()) * (1 + scale_a) + shift_a).type_as(x)
        x = (x.float() + frames.within_view(self.attn1, normed) * gate_a).type_as(x)

        if self.cross_view is not None and frames.view_rope is not None:
            normed = (self.norm1(x.float()) * (1 + scale_a) + shift_a).type_as(x)
            gate = time[..., 2, :].unsqueeze(-2)
            x = (x.float() + frames.across_views(self.cross_view, normed, gate)).type_as(x)

        normed = self.norm2(x.float()).type_as(x)
        x = x + frames.to_text(self.attn2, normed, text)

        normed = (self.norm3(x.float()) * (1 + scale_f) + shift_f).type_as(x)
        return (x.float() + self.ffn(normed).float() * gate_f).type_as(x)


class MultiViewVideoTower(nn.Module):
    """Wan's transformer over several cameras, returning every block's hidden states.

    With one view, or while the cross-view projections are zero, its head's output equals
    `WanTransformer3DModel`'s for the same weights.

    Args:
        shape: Backbone numbers.
        max_views: Rows of the view table.
        grid: Token grid ``(h, w)`` of one view's latent frame.
        open_gates: Start all AdaLN gates at one. Our choice for a random start: Wan's near-zero random gates
            cost a small model most of a short training run. False keeps Wan's own initialisation.
    """

    def __init__(self, shape: WanShape, max_views: int, grid: tuple[int, int], open_gates: bool = False):
        super().__init__()
        self.shape, self.max_views, self.grid = shape, max_views, grid
        self.gradient_checkpointing = False  # computes each block again in the backward pass, for less memory
        wan = WanTransformer3DModel(**shape.wan_kwargs())
        # Tables, not weights: no checkpoint holds them, so they must be real where the tower is built on meta.
        with torch.device("cpu"):
            self.rope = WanRotaryTables(shape.width // shape.heads, wan.rope.patch_size, wan.rope.max_seq_len)
        self.patch_embedding = wan.patch_embedding
        # Never in half precision, in which neighbouring timesteps are one.
        self.condition_embedder: Any = exact(wan.condition_embedder)
        self.norm_out = wan.norm_out
        self.proj_out = wan.proj_out
        self.scale_shift_table = wan.scale_shift_table
        self.blocks = nn.ModuleList()
        for wan_block in wan.blocks:
            block = MultiViewWanBlock(shape.width, shape.ffn_width, shape.heads, cross_attn_norm=True)
            block.load_state_dict(wan_block.state_dict(), assign=True)  # taken over: no second copy in memory
            if open_gates:
                nn.init.zeros_(block.scale_shift_table)
                block.scale_shift_table.data[:, (2, 5)] = 1.0
            self.blocks.append(block)
        self.add_views()
        if open_gates:
            nn.init.normal_(self.position, std=0.1)

    def add_views(self) -> None:
        """Starts what Wan lacks, so that the tower still computes what Wan computes.

        Call it again after Wan's weights have come into place: the cross-view branches copy them.
        """
        if self.max_views > 1:
            for block in self.blocks:
                assert isinstance(block, MultiViewWanBlock)
                block.add_cross_view(self.shape.width)
        self.camera_rope = CameraRoPE(self.rope.t_dim, self.max_views)
        # RoPE tells tokens where they are to each other; values never learn where they are in the picture, which
        # the action tower must know. Zero at the start, so that Wan is unchanged. Our choice.
        self.position = nn.Parameter(torch.zeros(self.max_views, *self.grid, self.shape.width))

    def forward(
        self,
        z_BVCTHW: Tensor,
        t_BT: Tensor,
        text_BLE: Tensor,
        frame_valid_BT: Tensor | None = None,
        predict: bool = True,
        sight_BTSS: Tensor | None = None,
        view_ids: Tensor | None = None,
        packing: FramePacking | None = None,
        given: int = 0,
        landmarks_BVKD: Tensor | None = None,
    ) -> VideoFeatures:
        """Runs the tower.

        Args:
            z_BVCTHW: Noised latents; slot 0 is the clean keyframe. Trailing channels may be missing if they are zero.
            t_BT: Noise level of each latent frame in [0, 1]; 0 for slot 0.
            text_BLE: Text tokens of the encoder's width.
            frame_valid_BT: False marks latent frames beyond the event's end; nothing attends to them.
            predict: Whether to run the video head.
            sight_BTSS: Sight-cone mask of each latent frame, True where two of its V * N tokens may see each other;
                training only (paper p. 8). None: all see all.
            view_ids: ``(V,)`` rows of the view table; None for the first V.
            packing: Runs the tower on these latent frames only, of which ``frame_valid_BT`` then says nothing new.
                None runs it on all, and masks.
            given: Latent frames that lead the window clean, which the head leaves out; the last of them is the keyframe. Packed, it is 1.
            landmarks_BVKD: Tokens of `Landmarks`, which follow the N patches of every latent frame of their view, so
                that N + K tokens leave the blocks; the video head leaves them out. None for the paper's layout.

        Returns:
            `VideoFeatures`.

        Raises:
            ValueError: More views than the table holds, or latents of another grid.
        """
        batch, views = z_BVCTHW.shape[:2]
        if view_ids is None:
            view_ids = self.first_views(views)
        patch = self.shape.patch
        z = z_BVCTHW.flatten(0, 1)
        grid = (z.shape[-2] // patch, z.shape[-1] // patch)
        position = self.position[view_ids]  # (V, h, w, D)
        if grid != tuple(position.shape[1:3]):
            raise ValueError(
                f"latents have a token grid of {grid}, the tower was built for {tuple(position.shape[1:3])}."
            )

        wan_rope, patches = self.rope(z), grid[0] * grid[1]
        tokens = patches
        if landmarks_BVKD is not None:
            more = landmarks_BVKD.shape[2]
            tokens += more
            # Where a landmark lies it says itself: it turns with its latent frame alone, as the first patch does.
            wan_rope = tuple(_with_first_patch(table, z_BVCTHW.shape[3], more) for table in wan_rope)
            if sight_BTSS is not None:
                sight_BTSS = _sighted(sight_BTSS, views, more)
        view_rope = None
        if views > 1:
            view_rope = rope_tables(*self.camera_rope(wan_rope, view_ids, tokens))
        text, time_embedding, modulation = self._embed_conditions(t_BT, text_BLE, z.dtype)
        position = position.flatten(1, 2)  # (V, N, D)
        if packing is not None:
            x = self._embed_patches(packing.pack(z_BVCTHW.transpose(2, 3))) + position[packing.view]
            if landmarks_BVKD is not None:
                x = torch.cat((x, packing.pack_views(landmarks_BVKD).type_as(x)), dim=1)
            text, modulation = text[packing.order], packing.pack_shared(modulation)
            frames: FrameLayout = PackedFrames(packing, wan_rope, view_rope, sight_BTSS, text.shape[1])
            layers = self._run_blocks(x, text, modulation, frames)
            landmarks = None if landmarks_BVKD is None else layers[-1][packing.keyframes, patches:]
            if not predict:
                return VideoFeatures(layers, None, landmarks)
            future = layers[-1][packing.future, :patches]
            time_embedding = packing.pack_shared(time_embedding)[packing.future]
            return VideoFeatures(layers, self._head(future, time_embedding, grid), landmarks)

        x = self._embed_patches(z.transpose(1, 2)) + position.repeat(batch, 1, 1)[:, None]
        if landmarks_BVKD is not None:
            every = landmarks_BVKD.flatten(0, 1)[:, None].expand(-1, x.shape[1], -1, -1)
            x = torch.cat((x, every.type_as(x)), dim=2)
        time_embedding, modulation = (y.repeat_interleave(views, 0) for y in (time_embedding, modulation))
        key_mask = None
        if frame_valid_BT is not None:
            per_token = frame_valid_BT.repeat_interleave(views, 0).repeat_interleave(tokens, 1)
            key_mask = per_token[:, None, None, :]
        view_mask = None if sight_BTSS is None else sight_BTSS.flatten(0, 1)[:, None]
        frames = PaddedFrames(views, rope_tables(*wan_rope), view_rope, key_mask, view_mask)
        layers = self._run_blocks(x, text, modulation, frames)
        prediction = None
        if predict:
            prediction = self._head(layers[-1][:, given:, :patches], time_embedding[:, given:], grid)
            # In the order of latents, with which it will be compared value by value.
            prediction = prediction.transpose(1, 2).contiguous().unflatten(0, (batch, views))
        layers = [x.unflatten(0, (batch, views)) for x in layers]
        landmarks = None if landmarks_BVKD is None else layers[-1][:, :, max(given, 1) - 1, patches:]
        return VideoFeatures(layers, prediction, landmarks)

    def _run_blocks(self, x: Tensor, text: Tensor, time: Tensor, frames: FrameLayout) -> list[Tensor]:
        layers = []
        for block in self.blocks:
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, text, time, frames, use_reentrant=False, preserve_rng_state=False)
            else:
                x = block(x, text, time, frames)
            layers.append(x)
        return layers

    def first_views(self, views: int) -> Tensor:
        """Rows ``0 .. views - 1`` of the view table; raises ValueError for more views than it holds."""
        if views > self.max_views:
            raise ValueError(
                f"{views} camera views exceed the table of {self.max_views}; raise --policy.max_views."
            )
        return torch.arange(views, device=self.position.device)

    def _embed_patches(self, z: Tensor) -> Tensor:
        """Wan's Conv3d patch embedding as one matrix product, ``(..., C, H, W)`` to ``(..., N, D)``.

        Strided convolutions are slow on CPU. Trailing channels that are all zero may be left out: their weights would
        multiply nothing.
        """
        p = self.shape.patch
        weight = self.patch_embedding.weight[:, : z.shape[-3], 0].permute(0, 2, 3, 1).flatten(1)
        # Channels last, so that each copy moves whole rows of C: single strided values cost as much as the product.
        pixels = z.flatten(-2).transpose(-2, -1).contiguous()  # (..., H * W, C)
        patches = pixels.unflatten(-2, (z.shape[-2] // p, p, -1, p)).transpose(-4, -3)  # (..., h, w, p, p, C)
        return F.linear(patches.flatten(-3).flatten(-3, -2), weight, self.patch_embedding.bias)

    def _embed_conditions(
        self, t_BT: Tensor, text_BLE: Tensor, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Text ``(B, L, D)``, timestep embedding ``(B, T, D)`` and modulation ``(B, T, 6, D)``."""
        # Part by part: its own forward rounds the sines to the dtype of its weights.
        embedder = self.condition_embedder
        sines = embedder.timesteps_proj((t_BT * 1000.0).flatten()).unflatten(0, t_BT.shape)
        embedding = embedder.time_embedder(sines)
        modulation = embedder.time_proj(embedder.act_fn(embedding))
        return embedder.text_embedder(text_BLE).to(dtype), embedding, modulation.unflatten(2, (6, -1))

    def _head(self, x: Tensor, time: Tensor, grid: tuple[int, int]) -> Tensor:
        """Output norm, projection and unpatchify: ``(..., N, D)`` and ``(..., D)`` to ``(..., C, H, W)``."""
        shift, scale = (self.scale_shift_table + time.unsqueeze(-2)).unsqueeze(-2).unbind(-3)
        x = (self.norm_out(x.float()) * (1 + scale) + shift).type_as(x)
        p, (h, w) = self.shape.patch, grid
        x = self.proj_out(x).unflatten(-1, (p, p, -1)).unflatten(-4, (h, w))  # (..., h, w, p, p, C)
        pixels = x.transpose(-4, -3).flatten(-5, -2)  # (..., H * W, C): rows of C stay whole
        return pixels.transpose(-2, -1).unflatten(-1, (h * p, w * p))


def _with_first_patch(table: Tensor, frames: int, times: int) -> Tensor:
    """A rotary table ``(1, T * N, 1, d)`` with each frame's first entry repeated so often at its end."""
    by_frame = table.unflatten(1, (frames, -1))
    more = by_frame[:, :, :1].expand(-1, -1, times, -1, -1)
    return torch.cat((by_frame, more), dim=2).flatten(1, 2)


def _sighted(sight_BTSS: Tensor, views: int, more: int) -> Tensor:
    """A sight-cone mask of V * N tokens for V * (N + K): landmarks see all and are seen by all."""
    by_view = sight_BTSS.unflatten(-1, (views, -1)).unflatten(-3, (views, -1))
    return F.pad(by_view, (0, more, 0, 0, 0, more), value=True).flatten(-4, -3).flatten(-2, -1)
