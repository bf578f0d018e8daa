# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The action tower: a diffusion transformer coupled to the video tower layer by layer (paper p. 9).

Each block: self-attention over state and action tokens with 1-D RoPE, cross-attention to the state token alone,
cross-attention to the matched video block's tokens, gated feed-forward. The video tower never reads actions.

Shapes: B batch, K action draws, R = B * K rows, H horizon, S = 1 + H tokens, A action dims, D width, V views,
T latent frames, N tokens of one view at one latent frame, W video width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from diffusers.models.embeddings import TimestepEmbedding, Timesteps, get_1d_rotary_pos_embed
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from lerobot_wallwm.hub.files.tables import Tables, exact
from lerobot_wallwm.policies.towers.attention import Attention, rope_tables
from lerobot_wallwm.policies.towers.frame_layouts import FramePacking, over_video_tokens
from lerobot_wallwm.policies.towers.goal_head import Goal
from lerobot_wallwm.policies.towers.history import ChunkTables, Given
from lerobot_wallwm.policies.towers.token_layouts import PackedTokens, PaddedTokens, TokenLayout


class VideoLayer(NamedTuple):
    """What one block of the action tower reads of the video; it makes keys and values of it itself.

    Attributes:
        features: Of the matched video block, ``(B, V, T, N, W)``, or ``(F, N, W)`` if packed.
        place: Factor of each token by its place; broadcasts against the features. None: one.
        code: E_tau, and E_abs in a chunk; likewise.
        axes: First and last axis of the features that ViewConcat makes one.
        gain: Of the values.
    """

    features: Tensor
    place: Tensor | None
    code: Tensor
    axes: tuple[int, int]
    gain: float


@dataclass
class VideoContext:
    """`VideoLayer` of all layers: they differ in their features alone."""

    layers: list[Tensor]
    place: Tensor | None
    code: Tensor
    axes: tuple[int, int]
    gain: float

    def by_layer(self) -> list[VideoLayer]:
        """One for each block."""
        return [VideoLayer(h, self.place, self.code, self.axes, self.gain) for h in self.layers]


class ActionBlock(nn.Module):
    """One layer of the action tower. AdaLN from the action noise level; the state token is modulated as clean.

    All that its weights compute goes through `forward`, as FSDP asks of what it shards.
    """

    def __init__(self, width: int, heads: int, ffn_width: int, video_width: int):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(4))
        self.self_attention = Attention(width, heads)
        # Attention to a single token is that token's projected value, whatever the query: softmax over one key is one.
        self.state_attention = nn.Linear(width, width)
        self.norm_video = nn.LayerNorm(video_width)
        self.video_attention = Attention(width, heads, video_width)
        self.ffn_in = nn.Linear(width, 2 * ffn_width)
        self.ffn_out = nn.Linear(ffn_width, width)
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        self.modulation.bias.data[2 * width : 3 * width] = 1.0  # gates start open, as a plain residual block
        self.modulation.bias.data[5 * width :] = 1.0

    def forward(self, x: Tensor, time: Tensor, video: VideoLayer, tokens: TokenLayout) -> Tensor:
        """One layer.

        Args:
            x: State and action tokens as ``tokens`` lays them out.
            time: Timestep embeddings, clean ones of the state and those of the actions; see `TokenLayout.modulate`.
            video: The matched video block's features; the K draws of a sample share their keys and values.
            tokens: The layout, which may keep for later calls what does not change between them.
        """
        keys_values = tokens.read_video(self.read_video, video)
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = tokens.modulate(self.modulation, time).chunk(
            6, dim=-1
        )
        normed = torch.addcmul(shift_a, self.norms[0](x), 1 + scale_a)
        x = torch.addcmul(x, gate_a, tokens.attend_self(self.self_attention, normed))
        x = x + tokens.from_state(self.read_state, x)
        x = x + tokens.attend_video(self.video_attention, self.norms[2](x), keys_values)
        normed = torch.addcmul(shift_f, self.norms[3](x), 1 + scale_f)
        value, gate = self.ffn_in(normed).chunk(2, dim=-1)
        return torch.addcmul(x, gate_f, self.ffn_out(value * F.silu(gate)))

    def read_state(self, state: Tensor) -> Tensor:
        """What every token of a row gets from its state token."""
        return self.state_attention(self.norms[1](state))

    def read_video(self, video: VideoLayer) -> tuple[Tensor, Tensor]:
        """Keys and values ``(B, V * T * N, heads, D / heads)``, or ``(F * N, heads, D / heads)`` if packed."""
        placed = self.norm_video(video.features)
        if video.place is not None:
            placed = placed * video.place
        k, v = self.video_attention.keys_values((placed + video.code).flatten(*video.axes))
        return k, v if video.gain == 1.0 else v * video.gain


class ActionTower(Tables):
    """Predicts the flow of noised action sequences, and how long the event still lasts.

    Args:
        width: D, our choice (the paper gives none).
        depth: Layers; must equal the video tower's, ``pi(i) = i``.
        ffn_width: Inner width of the gated feed-forward.
        video_width: W.
        action_dim: A.
        state_dim: Proprioception dims.
        horizon: H, the longest sequence.
        actions_per_latent: K_p, action steps that share one video latent.
        max_views: Rows of the place table.
        tokens_per_latent: N.
        history_latents: M of observation-centred windows.
        max_chunks: Rows of E_abs; 0 builds a tower for events alone.
        place_codes: Whether a code of its place multiplies each video token, and values are scaled up.
    """

    place: nn.Parameter | None
    tau: Tensor
    rope_cos: Tensor
    rope_sin: Tensor

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        ffn_width: int,
        video_width: int,
        action_dim: int,
        state_dim: int,
        horizon: int,
        actions_per_latent: int,
        max_views: int,
        tokens_per_latent: int,
        history_latents: int = 0,
        max_chunks: int = 0,
        place_codes: bool = True,
    ):
        super().__init__()
        self.action_dim, self.horizon, self.depth = action_dim, horizon, depth
        self.gradient_checkpointing = False  # computes each block again in the backward pass, for less memory
        self.input_dim = max(action_dim, state_dim)
        # One MLP embeds proprioception and noised actions alike (paper p. 9); short vectors are zero-padded.
        self.encoder = nn.Sequential(nn.Linear(self.input_dim, width), nn.SiLU(), nn.Linear(width, width))
        self.state_marker = nn.Parameter(torch.randn(width) * 0.02)
        self.timesteps = Timesteps(256, flip_sin_to_cos=True, downscale_freq_shift=0)
        # Never in half precision, in which neighbouring levels are one.
        self.time_embedder = exact(TimestepEmbedding(256, width))
        blocks = [ActionBlock(width, heads, ffn_width, video_width) for _ in range(depth)]
        self.blocks: Iterable[ActionBlock] = nn.ModuleList(blocks)  # type: ignore[assignment]
        latents = 1 + -(-horizon // actions_per_latent)
        self.tau_action = nn.Embedding(latents, width)  # E_tau, both sides of the coupling (paper p. 9)
        self.tau_video = nn.Embedding(latents, video_width)
        # Attention from a random start averages over all tokens of all cameras. Two remedies, both our choice: a table
        # that multiplies each token by a code of its place, so that even an average tells what is where, and values
        # scaled up by the root of their number. Without them a short run never learns to look.
        size = max_views, 1, tokens_per_latent, video_width
        self.place = nn.Parameter(torch.randn(size)) if place_codes else None
        self.value_gain = math.sqrt(max_views * tokens_per_latent) if place_codes else 1.0
        self.norm_out = nn.LayerNorm(width)
        flow = nn.Linear(width, action_dim)
        nn.init.zeros_(flow.weight)
        nn.init.zeros_(flow.bias)
        self.head = nn.Sequential(nn.Linear(width, width), nn.SiLU(), flow)
        # How far along the way to the event's goal each step lies; the head above adds what the straight way misses.
        self.along = nn.Linear(width, action_dim)
        nn.init.zeros_(self.along.weight)
        nn.init.zeros_(self.along.bias)
        # Zero until the first gradient, which tells whether it was ever trained.
        remaining = nn.Linear(width, 1)
        nn.init.zeros_(remaining.weight)
        nn.init.zeros_(remaining.bias)
        self.remaining_head = nn.Sequential(nn.Linear(width, width), nn.SiLU(), remaining)
        tau = torch.cat((torch.zeros(1), torch.arange(horizon) // actions_per_latent + 1)).long()
        self.register_buffer("tau", tau, persistent=False)
        self.chunk_tables = None
        if max_chunks:
            self.chunk_tables = ChunkTables(
                width, video_width, history_latents, actions_per_latent, max_chunks
            )
        self.past_steps = history_latents * actions_per_latent
        cos, sin = get_1d_rotary_pos_embed(
            width // heads,
            np.arange(-self.past_steps, 1 + horizon),
            use_real=True,
            repeat_interleave_real=True,
            freqs_dtype=torch.float32,
        )
        self.keep(persistent=False, rope_cos=cos, rope_sin=sin)

    def read_video(
        self,
        layers: list[Tensor],
        view_ids: Tensor | None = None,
        chunk_B: Tensor | None = None,
        packing: FramePacking | None = None,
    ) -> VideoContext:
        """Each layer's features with place code and E_tau; once per video forward.

        Args:
            layers: ``depth`` tensors ``(B, V, T, N, W)``, or ``(F, N, W)`` if packed.
            view_ids: ``(V,)`` rows of the place table; None for the first V.
            chunk_B: Which chunk of the rollout this is; None for an event, which disables E_abs (paper p. 10).
            packing: How the features of events are packed; None if they are not.

        Raises:
            ValueError: There are not as many layers as blocks.
        """
        if len(layers) != self.depth:
            raise ValueError(f"{len(layers)} video layers for {self.depth} blocks: layers match one to one.")
        if packing is None:
            views = slice(layers[0].shape[1]) if view_ids is None else view_ids
            code, axes = self._video_code(layers[0].shape[2], chunk_B), (1, 3)
        else:
            views = packing.view if view_ids is None else view_ids[packing.view]
            code, axes = self.tau_video(packing.time)[:, None], (0, 1)
        place = None
        if self.place is not None:
            place = 1 + (self.place[views] if packing is None else self.place[views, 0])
        return VideoContext(layers, place, code, axes, self.value_gain)

    def _video_code(self, latents: int, chunk_B: Tensor | None) -> Tensor:
        """E_tau, and E_abs in a chunk, of each latent frame; broadcasts over ``(B, V, T, N, W)``."""
        if chunk_B is None:
            return self.tau_video(torch.arange(latents, device=self.tau.device))[:, None]
        assert self.chunk_tables is not None, "the shape's max_chunks is 0: this tower was built for events"
        return self.chunk_tables.video_code(self.tau_video.weight, latents, chunk_B)[:, None, :, None]

    def forward(
        self,
        noised_RHA: Tensor,
        t_R: Tensor,
        state_RP: Tensor,
        action_valid_RH: Tensor,
        video: VideoContext,
        video_valid_BT: Tensor | None = None,
        tokens_per_latent: int = 1,
        views: int = 1,
        goal: Goal | None = None,
        given: Given | None = None,
        packing: FramePacking | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Predicts velocity and remaining time.

        The state token attends to itself and to the video only. Action tokens carry the event's length in their
        mask, which the remaining time must not see.

        Args:
            noised_RHA: Noised actions.
            t_R: Their noise levels in [0, 1].
            state_RP: Proprioception at the keyframe.
            action_valid_RH: False beyond the event's end.
            video: From `read_video`, with B rows; row ``r`` of the actions reads row ``r // K``.
            video_valid_BT: False marks latent frames beyond the event's end; None if all are valid.
            tokens_per_latent: N, to spread ``video_valid_BT`` over tokens.
            views: V, likewise.
            goal: Where the event ends, with R rows; None without a `GoalHead`.
            given: The past of an observation-centred window, with R rows; None for an event.
            packing: How the keys and values of events are packed; then nothing is computed for invalid steps, and state
                and goal are read from the first of each sample's K rows. None if they are not packed.

        Returns:
            Velocity ``(R, H, A)``, zero at invalid steps if packed, and the natural logarithm of the remaining frames
            ``(R,)``.
        """
        if packing is not None:
            assert given is None, "chunks fill their horizon: there is nothing to pack"
            return self._forward_packed(noised_RHA, t_R, state_RP, action_valid_RH, video, packing, goal)
        rows, horizon, _ = noised_RHA.shape
        state = self.embed_state(state_RP, None if goal is None else goal.features)
        actions = self.encoder(self.widen(noised_RHA))
        now = slice(self.past_steps, self.past_steps + 1 + horizon)
        cos, sin, tau = self.rope_cos[now], self.rope_sin[now], self.tau[: 1 + horizon]
        if given is None:
            x = torch.cat((state[:, None], actions), dim=1) + self.tau_action(tau)
            clean, valid = 1, action_valid_RH
        else:
            assert self.chunk_tables is not None, (
                "the shape's max_chunks is 0: this tower was built for events"
            )
            past = self.encoder(self.widen(given.tokens))
            code = self.chunk_tables.action_code(self.tau_action.weight, tau, given.chunk)
            x = torch.cat((state[:, None], past, actions), dim=1) + code
            clean, valid = 1 + past.shape[1], torch.cat((given.valid, action_valid_RH), dim=1)
            # The state and the anchor share the position of the observed pose; history points back from it.
            cos = torch.cat((cos[:1], self.rope_cos[: now.stop]))
            sin = torch.cat((sin[:1], self.rope_sin[: now.stop]))
        time = self.embed_time(t_R, x.dtype)
        time = F.silu(torch.stack((time[-1:].expand(rows, -1), time[:-1]), dim=1))
        video_mask = over_video_tokens(video_valid_BT, tokens_per_latent, views)
        rope = rope_tables(cos[:, None].to(x.dtype), sin[:, None].to(x.dtype))
        x = self._run_blocks(x, time, video, PaddedTokens(valid, clean, rope, video_mask))
        flow = self.read_out(x[:, clean:], None if goal is None else goal.way[:, None])
        return flow, self.remaining_head(self.norm_out(x[:, 0])).squeeze(-1)

    def _forward_packed(
        self,
        noised_RHA: Tensor,
        t_R: Tensor,
        state_RP: Tensor,
        action_valid_RH: Tensor,
        video: VideoContext,
        packing: FramePacking,
        goal: Goal | None,
    ) -> tuple[Tensor, Tensor]:
        rows, horizon, _ = noised_RHA.shape
        draws = rows // len(packing.order)
        now = slice(self.past_steps, self.past_steps + 1 + horizon)
        cos, sin = (
            self.rope_cos[now, None].to(noised_RHA.dtype),
            self.rope_sin[now, None].to(noised_RHA.dtype),
        )
        tokens = PackedTokens(action_valid_RH[::draws], draws, packing, (cos, sin))
        first = packing.order * draws
        state = self.embed_state(state_RP[first], None if goal is None else goal.features[first])
        actions = self.encoder(self.widen(noised_RHA[tokens.row, tokens.step]))
        x = tokens.join(state, actions) + self.tau_action(self.tau[tokens.position])
        x = self._run_blocks(x, F.silu(self.embed_time(t_R, x.dtype)), video, tokens)
        flow = self.read_out(tokens.of_actions(x), None if goal is None else goal.way[tokens.row])
        log_remaining = self.remaining_head(self.norm_out(tokens.of_state(x))).squeeze(-1)
        velocity = flow.new_zeros(rows, horizon, self.action_dim).index_put((tokens.row, tokens.step), flow)
        return velocity, log_remaining[packing.order.argsort()].repeat_interleave(draws)

    def read_out(self, actions: Tensor, way: Tensor | None) -> Tensor:
        """Action tokens ``(..., D)`` to predictions ``(..., A)``; ``way`` is that to the goal, None without one."""
        normed = self.norm_out(actions)
        flow = self.head(normed)
        return flow if way is None else torch.addcmul(flow, self.along(normed), way)

    def widen(self, x: Tensor) -> Tensor:
        """Zero-pads states or actions to the encoder's input."""
        return F.pad(x, (0, self.input_dim - x.shape[-1]))

    def embed_state(self, state: Tensor, goal_features: Tensor | None) -> Tensor:
        """``(R, P)`` to the state tokens ``(R, D)``, before E_tau."""
        state = self.encoder(self.widen(state)) + self.state_marker
        return state if goal_features is None else state + goal_features

    def embed_time(self, t_R: Tensor, dtype: torch.dtype) -> Tensor:
        """Embeddings of all noise levels and, last, of the clean state's."""
        levels = torch.cat((t_R * 1000.0, t_R.new_zeros(1)))
        return self.time_embedder(self.timesteps(levels)).to(dtype)

    def _run_blocks(self, x: Tensor, time: Tensor, video: VideoContext, tokens: TokenLayout) -> Tensor:
        for block, layer in zip(self.blocks, video.by_layer(), strict=True):
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, time, layer, tokens, use_reentrant=False, preserve_rng_state=False)
            else:
                x = block(x, time, layer, tokens)
        return x
