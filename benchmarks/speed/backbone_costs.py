# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""FLOPs and memory of the two towers as formulas of their sizes. Plain arithmetic; nothing is built.

FLOPs are those of matrix products and attention, two for each multiplication, for one event (batch 1). tests compare
them with PyTorch's counter on `nano`. D, F: video width and feed-forward; d, f: the action tower's; N tokens of one
view at one latent frame, V views, T latents, L text tokens, H horizon, K draws.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.speed.backbone_sizes import Sizes

GPUS_GB = (8, 12, 16, 24, 48, 80)


def video_forward(size: Sizes, latents: int, head: bool = True, channels: int | None = None) -> int:
    """One forward of the video tower on so many latents of every view."""
    shape, width = size.video, size.video.width
    frame, clip = size.views * size.tokens, latents * size.tokens
    tokens = size.views * clip
    pixels = shape.patch**2 * (channels or shape.latent_channels)
    linear = (
        4 * width**2 + 2 * width**2 + 2 * width * shape.ffn_width
    )  # within view; text queries and output; FFN
    scores = clip * tokens + size.text_tokens * tokens
    if size.views > 1:
        linear += 5 * width**2  # cross-view attention and its zero projection
        scores += frame * tokens
    text_kv = 2 * width**2 * size.text_tokens  # the same for all views
    layer = 2 * (tokens * linear + text_kv) + 4 * width * scores
    once = tokens * pixels * width
    once += latents * (shape.time_freq_dim * width + 7 * width**2)
    once += size.text_tokens * (shape.text_dim * width + width**2)
    if size.views > 1:
        head_width = width // shape.heads
        frame_band = head_width - 4 * (head_width // 6)  # what Wan leaves to time
        once += size.views * 16 * frame_band // 2  # camera RoPE
    if head:  # the given latent needs none
        once += (tokens - frame) * width * shape.patch**2 * shape.latent_channels
    return shape.depth * layer + 2 * once


def video_keys_values(size: Sizes, latents: int) -> int:
    """The action tower's keys and values of one video forward, all layers."""
    tokens = size.views * latents * size.tokens
    return size.video.depth * 2 * tokens * size.video.width * 2 * size.action_width


def action_forward(size: Sizes, latents: int, draws: int = 1, horizon: int | None = None) -> int:
    """One forward of the action tower for so many draws on cached keys and values."""
    width, ffn = size.action_width, size.action_ffn_width
    actions = size.horizon if horizon is None else horizon
    tokens, seen = 1 + actions, size.views * latents * size.tokens
    linear = tokens * (4 * width**2 + 2 * width**2 + 3 * width * ffn)  # self, video queries and output, FFN
    linear += width**2 + 2 * 6 * width**2  # state attention; AdaLN of two noise levels
    layer = 2 * linear + 4 * width * tokens * (tokens + seen)
    once = tokens * (max(size.action_dim, size.state_dim) * width + width**2)  # encoder
    once += 256 * width + width**2  # timestep
    once += actions * (width**2 + width * size.action_dim)  # head
    once += width**2 + width  # remaining time
    clean = 2 * (256 * width + width**2)  # the state's own timestep, once for all draws
    return draws * (size.video.depth * layer + 2 * once) + clean


def training_step(size: Sizes, stage: str, checkpointing: bool = False) -> int:
    """Forward and backward of one event; a backward costs two forwards, attention's 2.5 (not counted here).

    Args:
        size: The sizes.
        stage: ``video`` (no action tower), ``action`` (video tower frozen) or ``joint``.
        checkpointing: Whether a trained tower's blocks run forward once more in the backward.

    Raises:
        ValueError: Unknown stage.
    """
    if stage not in ("video", "action", "joint"):
        raise ValueError(f"stage={stage!r}: choose video, action or joint.")
    times = 4 if checkpointing else 3
    video = video_forward(size, size.latents, head=stage != "action") * (1 if stage == "action" else times)
    if stage == "video":
        return video
    return video + times * (
        video_keys_values(size, size.latents) + action_forward(size, size.latents, size.draws)
    )


def anchor_forwards(size: Sizes) -> int:
    """Video forwards to s* = 45 of 50 (paper p. 20), and the one there."""
    return round(size.steps * 45 / 50) + 1


def inference(size: Sizes, imagination: str) -> int:
    """Actions of one event from one observation.

    Raises:
        ValueError: Unknown imagination.
    """
    if imagination not in ("none", "anchor", "full"):
        raise ValueError(f"imagination={imagination!r}: choose none, anchor or full.")
    look = video_forward(size, 1, head=False, channels=size.still_channels) + video_keys_values(size, 1)
    look += action_forward(size, 1, horizon=0)  # remaining time
    if imagination == "none":
        return look + size.steps * action_forward(size, 1)
    forwards = anchor_forwards(size) if imagination == "anchor" else size.steps
    # An intermediate forward's keys and values are needed where actions move in step with it.
    read = 1 if imagination == "anchor" else forwards
    video = forwards * video_forward(size, size.latents) + read * video_keys_values(size, size.latents)
    return look + video + size.steps * action_forward(size, size.latents)


@dataclass(frozen=True)
class Kept:
    """Bytes that one layer keeps for its backward, watched on small bfloat16 towers (`backbone_table.fit_kept`).

    Attributes:
        video_width: Bytes for each video token and unit of D.
        video_ffn: Bytes for each video token and unit of F.
        coupling_width: Bytes for each video token and unit of D in the action tower's keys and values.
        coupling_keys: Bytes for each video token and unit of d in the same.
        action_width: Bytes for each action token and unit of d.
        action_ffn: Bytes for each action token and unit of f.
    """

    video_width: float
    video_ffn: float
    coupling_width: float
    coupling_keys: float
    action_width: float
    action_ffn: float


def activations(size: Sizes, stage: str, kept: Kept, checkpointing: bool) -> float:
    """Bytes kept for the backward of one event, layers only.

    With checkpointing a layer keeps its input (2 bytes for each token and unit of width), and one layer at a time is
    whole. Text, embeddings and heads are left out: they are kept once, not per layer.
    """
    tokens = size.views * size.latents * size.tokens
    depth, rows = size.video.depth, size.draws * (1 + size.horizon)
    video = tokens * (kept.video_width * size.video.width + kept.video_ffn * size.video.ffn_width)
    action = rows * (kept.action_width * size.action_width + kept.action_ffn * size.action_ffn_width)
    action += tokens * (kept.coupling_width * size.video.width + kept.coupling_keys * size.action_width)
    inputs = {"video": 2 * tokens * size.video.width, "action": 2 * rows * size.action_width}
    trained = [("video", video)] if stage != "action" else []
    trained += [("action", action)] if stage != "video" else []
    if checkpointing:
        return sum(depth * inputs[name] + layer for name, layer in trained)
    # Where the video tower is frozen, its hidden states still live as long as the action tower reads them.
    frozen = depth * inputs["video"] if stage == "action" else 0
    return frozen + sum(depth * layer for _, layer in trained)


def training_bytes(trained: int, frozen: int, activation_bytes: float, optimizer_bytes: int = 12) -> float:
    """Peak of a training step.

    Args:
        trained: Parameters that learn: 2 bytes of bfloat16 weight, 2 of gradient, and ``optimizer_bytes``.
        frozen: Parameters that do not: 2 bytes.
        activation_bytes: From `activations`.
        optimizer_bytes: 12 for AdamW (float32 weight and two moments), 8 for Muon's matrices (one moment).
    """
    return trained * (4 + optimizer_bytes) + 2 * frozen + activation_bytes


def inference_bytes(parameters: int, size: Sizes) -> float:
    """Peak of acting in bfloat16: weights, all layers' hidden states and the keys and values made of them.

    One layer's own working memory is counted as its feed-forward and five copies of its input.
    """
    tokens = size.views * size.latents * size.tokens
    width = size.video.width
    hidden = size.video.depth * tokens * (width + 2 * size.action_width)
    return 2 * (parameters + hidden + tokens * (size.video.ffn_width + 5 * width))


def smallest_gpu(peak: float, reserve: float = 1.5e9, classes: Iterable[int] = GPUS_GB) -> str:
    """The smallest memory class that holds ``peak`` bytes beside ``reserve`` for context, kernels and fragments."""
    fitting = [gigabytes for gigabytes in classes if (peak + reserve) <= gigabytes * 2**30]
    if fitting:
        return f"{fitting[0]} GB"
    cards = -(-(peak + reserve) // (max(classes) * 2**30))
    return f"{cards:.0f} x {max(classes)} GB"
