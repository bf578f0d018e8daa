# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What each backbone weighs, costs and needs: parameters, FLOPs per event, memory and the smallest GPU.

    python benchmarks/backbone_table.py

Parameters are counted on models built without memory (the meta device) by diffusers, transformers and this package,
and compared with the published counts. FLOPs and memory are the formulas of backbone_costs.py. The FLOPs are checked
here against PyTorch's counter on real `nano` towers; what a layer keeps for its backward is watched on small bfloat16
towers and scaled. Memory is an estimate for one event on one GPU, nothing sharded, frozen encoders not resident
(training reads cached text features; see the `encoders` line for what they add).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from torch import Tensor, nn
from transformers import UMT5Config, UMT5EncoderModel

from benchmarks.harness.timing import flop_counter, kept_bytes
from benchmarks.speed.backbone_costs import (
    Kept,
    action_forward,
    activations,
    inference,
    inference_bytes,
    smallest_gpu,
    training_bytes,
    training_step,
    video_forward,
    video_keys_values,
)
from benchmarks.speed.backbone_sizes import PUBLISHED, SIZES, UMT5_XXL, VAES, Sizes
from lerobot_wallwm.hub.files.backbones import WanShape
from lerobot_wallwm.policies.encoders.hashed_words import HashedTextEncoder
from lerobot_wallwm.policies.towers.action_tower import ActionTower
from lerobot_wallwm.policies.towers.video_tower import MultiViewVideoTower

STAGES = ("video", "action", "joint")
IMAGINATIONS = ("none", "anchor", "full")


def video_tower(size: Sizes) -> MultiViewVideoTower:
    """The video tower of a backbone, on the current device."""
    return MultiViewVideoTower(size.video, size.views, size.grid)


def action_tower(size: Sizes) -> ActionTower:
    """Its action tower."""
    return ActionTower(
        size.action_width,
        size.video.depth,
        size.action_heads,
        size.action_ffn_width,
        size.video.width,
        size.action_dim,
        size.state_dim,
        size.horizon,
        -(-size.horizon // (size.latents - 1)),
        size.views,
        size.tokens,
    )


def count(module: nn.Module) -> int:
    """Its parameters."""
    return sum(p.numel() for p in module.parameters())


def parameters(name: str, size: Sizes) -> dict[str, int]:
    """Parameters of each part, in the order in which they are printed."""
    with torch.device("meta"):
        video = video_tower(size)
        cross = sum(count(block.cross_view) for block in video.blocks)
        parts = {
            "transformer": count(WanTransformer3DModel(**size.video.wan_kwargs())),
            "cross-view": cross,
            "video tower": count(video),
            "action tower": count(action_tower(size)),
        }
        if name in VAES:
            parts["VAE"] = count(AutoencoderKLWan(**VAES[name]))
            parts["umT5"] = count(UMT5EncoderModel(UMT5Config(**UMT5_XXL)))
        else:
            parts["VAE"] = 0  # the wavelet codec has no weights
            parts["umT5"] = count(HashedTextEncoder(size.video.text_dim, size.text_tokens))
    return parts


# ---------------------------------------------------------------------- watched on small towers


def run_video(
    tower: MultiViewVideoTower, size: Sizes, latents: int, channels: int, predict: bool
) -> list[Tensor]:
    """One forward on noise; the layers, and the prediction after them where there is one."""
    dtype = tower.proj_out.weight.dtype
    side = (size.grid[0] * size.video.patch, size.grid[1] * size.video.patch)
    z = torch.randn(1, size.views, channels, latents, *side, dtype=dtype)
    text = torch.randn(1, size.text_tokens, size.video.text_dim, dtype=dtype)
    features = tower(z, torch.zeros(1, latents), text, predict=predict, given=1)
    return features.layers if features.prediction is None else [*features.layers, features.prediction]


def run_action(tower: ActionTower, size: Sizes, layers: list[Tensor], horizon: int, draws: int) -> Tensor:
    """Keys and values, then one forward on noise."""
    dtype = tower.norm_out.weight.dtype
    valid = torch.ones(draws, horizon, dtype=torch.bool)
    noised = torch.randn(draws, horizon, size.action_dim, dtype=dtype)
    state = torch.randn(draws, size.state_dim, dtype=dtype)
    flow, remaining = tower(noised, torch.rand(draws), state, valid, tower.video_keys_values(layers))
    return flow.sum() + remaining.sum()


def watched_flops(size: Sizes) -> dict[str, tuple[int, int]]:
    """Counted FLOPs and the formula's, for each part and for a joint training step."""
    video, action = video_tower(size), action_tower(size)
    channels = size.video.latent_channels
    found = {}
    with torch.no_grad():
        with flop_counter() as counter:
            layers = run_video(video, size, size.latents, channels, predict=True)[: size.video.depth]
        found["video forward"] = (counter.get_total_flops(), video_forward(size, size.latents))
        with flop_counter() as counter:
            run_video(video, size, 1, size.still_channels, predict=False)
        still = video_forward(size, 1, head=False, channels=size.still_channels)
        found["keyframe forward"] = (counter.get_total_flops(), still)
        with flop_counter() as counter:
            run_action(action, size, layers, size.horizon, 1)
        expected = action_forward(size, size.latents) + video_keys_values(size, size.latents)
        found["action forward"] = (counter.get_total_flops(), expected)
    with flop_counter() as counter:
        outputs = run_video(video, size, size.latents, channels, predict=True)
        loss = run_action(action, size, outputs[: size.video.depth], size.horizon, size.draws)
        (loss + outputs[-1].sum()).backward()
    found["joint training step"] = (counter.get_total_flops(), training_step(size, "joint"))
    return found


def small(width: int = 64, ffn: int = 64, **changes: int) -> Sizes:
    """A tower small enough to run in bfloat16 on a CPU."""
    video = WanShape(width=width, depth=2, heads=2, ffn_width=ffn, latent_channels=4, text_dim=8)
    small = replace(
        SIZES["nano"],
        video=video,
        text_tokens=1,
        action_width=32,
        action_heads=2,
        action_ffn_width=32,
        draws=1,
    )
    return replace(small, **changes)


def _kept_at(size: Sizes, depth: int, tower: str) -> int:
    """Bytes that a tower of so many layers keeps; the action tower's do not include the video's hidden states."""
    deep = replace(size, video=replace(size.video, depth=depth))
    video = video_tower(deep).bfloat16()
    look = partial(run_video, video, deep, deep.latents, deep.video.latent_channels, predict=False)
    if tower == "video":
        return kept_bytes(look, video)
    with torch.no_grad():
        layers = look()
    layers = [layer.requires_grad_() for layer in layers]
    action = action_tower(deep).bfloat16()
    given = sum(layer.untyped_storage().nbytes() for layer in layers)
    return kept_bytes(partial(run_action, action, deep, layers, deep.horizon, deep.draws), action) - given


def layer_bytes(size: Sizes, tower: str) -> int:
    """Bytes that one more layer keeps: two layers' less one's."""
    return _kept_at(size, 2, tower) - _kept_at(size, 1, tower)


def fit_kept() -> Kept:
    """Bytes a layer keeps, from pairs of small towers that differ in one size."""
    tokens = small().views * small().latents * small().tokens

    def video_slope(unit: int, **changed: int) -> float:
        return (layer_bytes(small(**changed), "video") - layer_bytes(small(), "video")) / (tokens * unit)

    def action_slope(units: int, **changed: int) -> float:
        return (layer_bytes(small(**changed), "action") - layer_bytes(small(), "action")) / units

    rows = 1 + small().horizon
    per_action_token = action_slope(32, horizon=64)
    ffn = action_slope(rows * 32, action_ffn_width=64)
    coupling_width = action_slope(tokens * 64, width=128)
    per_video_token = action_slope(tokens, views=4)  # twice the views, twice the tokens
    return Kept(
        video_width=video_slope(64, width=128),
        video_ffn=video_slope(64, ffn=128),
        coupling_width=coupling_width,
        coupling_keys=(per_video_token - coupling_width * 64) / 32,
        action_width=(per_action_token - ffn * 32) / 32,
        action_ffn=ffn,
    )


# ---------------------------------------------------------------------- the tables


def print_parameters(counts: dict[str, dict[str, int]]) -> None:
    """Parameters of each part, and whether they are the published ones."""
    print("parameters")
    for part in next(iter(counts.values())):
        row = f"  {part:<14}"
        for name, parts in counts.items():
            published = PUBLISHED.get((name, part))
            if published is not None and published != parts[part]:
                raise SystemExit(f"{name} {part}: {parts[part]:,} parameters, published are {published:,}.")
            row += f"{parts[part]:>18,}{'=' if published else ' '}"
        print(row)
    print(
        "  = equals the published count (backbone_sizes.py says where from); VAE and umT5 of nano: our codec, text table\n"
    )


def print_flops() -> None:
    """FLOPs per event, after the check on `nano`."""
    print("FLOPs on nano, counted by PyTorch and by formula")
    for name, (counted, formula) in watched_flops(SIZES["nano"]).items():
        print(f"  {name:<22}{counted / 1e9:10.4f} G{formula / 1e9:10.4f} G  ratio {formula / counted:.4f}")
    print("\nTFLOPs per event")
    for stage in STAGES:
        print(
            f"  training, {stage:<16}"
            + "".join(f"{training_step(s, stage) / 1e12:>18.4f} " for s in SIZES.values())
        )
    for imagination in IMAGINATIONS:
        costs = (inference(size, imagination) / 1e12 for size in SIZES.values())
        print(f"  acting, {imagination:<18}" + "".join(f"{cost:>18.4f} " for cost in costs))


def print_memory(counts: dict[str, dict[str, int]]) -> None:
    """Peak memory and the smallest GPU for each stage and for acting."""
    kept = fit_kept()
    print("\nbytes a layer keeps for its backward, watched in bfloat16:")
    print(f"  video token: {kept.video_width:.1f} D + {kept.video_ffn:.1f} F; with the action tower", end=" ")
    print(f"{kept.coupling_width:.1f} D + {kept.coupling_keys:.1f} d more", end="; ")
    print(f"action token: {kept.action_width:.1f} d + {kept.action_ffn:.1f} f")
    print("\npeak memory in GiB (weights and optimiser + activations) and the smallest GPU")
    print(
        "  trained parameters 16 bytes each with AdamW (12 with Muon for all matrices), frozen ones 2; checkpointing off, on"
    )
    for stage in STAGES:
        for muon in (False, True):
            row = f"  {stage}, {'Muon' if muon else 'AdamW':<13}"
            for name, size in SIZES.items():
                video, action = counts[name]["video tower"], counts[name]["action tower"]
                trained = {"video": video, "action": action, "joint": video + action}[stage]
                frozen = video if stage == "action" else 0
                cells = []
                for checkpointing in (False, True):
                    live = activations(size, stage, kept, checkpointing)
                    peak = training_bytes(trained, frozen, live, 8 if muon else 12)
                    cells.append(f"{(peak - live) / 2**30:.2f} + {live / 2**30:.2f}: {smallest_gpu(peak)}")
                row += f"{', '.join(cells):>54}"
            print(row)
    row = f"  {'acting, bfloat16':<20}"
    encoders = f"  {'with VAE and umT5':<20}"
    for name, size in SIZES.items():
        own = counts[name]["video tower"] + counts[name]["action tower"]
        for extra, is_encoders in ((0, False), (counts[name]["VAE"] + counts[name]["umT5"], True)):
            peak = inference_bytes(own + extra, size)
            cell = f"{f'{peak / 2**30:.2f}: {smallest_gpu(peak)}':>54}"
            if is_encoders:
                encoders += cell
            else:
                row += cell
    print(row + "\n" + encoders)


def main() -> None:
    """Prints the tables."""
    torch.manual_seed(0)
    for name, size in SIZES.items():
        tokens = size.views * size.latents * size.tokens
        print(
            f"{name:<13}{size.views} views x {size.latents} latents x {size.tokens} = {tokens} video tokens, ",
            end="",
        )
        print(
            f"{size.text_tokens} text, {size.horizon} actions, {size.steps} steps, K = {size.draws}, ", end=""
        )
        print(f"action tower {size.action_width} wide")
    print(f"\n{'':<16}" + "".join(f"{name:>19}" for name in SIZES))
    counts = {name: parameters(name, size) for name, size in SIZES.items()}
    print_parameters(counts)
    print_flops()
    print_memory(counts)


if __name__ == "__main__":
    main()
