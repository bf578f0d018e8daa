# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`nano` beside LeRobot's FastWAM of the same sizes: parameters, FLOPs and time, in one interleaved run.

Both are driven through LeRobot's interface: `policy(batch)`, `predict_action_chunk` and `select_action`. FastWAM has
random weights and our width, depth, heads, feed-forward widths, latent channels, patch, text tokens and horizon. The rest
stays its own: all cameras in one picture, side by side; the state as a token of text; one attention over video and actions
together, which forces the video's heads on the action tower. It downloads Wan's VAE and umT5, and accepts no other; its
core class takes any VAE by argument, so both policies encode pixels with the same `WaveletCodec`. Ours is built like for like (no goal reader, text features given, the future in
every sample, one action draw) and as shipped. FLOPs are watched while the models run. A ratio is ours over FastWAM's in
the same round. With one thread, time is the processor's, which others on the machine hardly lengthen; with more it is
the wall's. `--compile` adds both compiled as `lerobot-rollout --use_torch_compile` compiles them: some minutes, and a
C++ compiler.
"""

import logging
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.fastwam.configuration_fastwam import FastWAMConfig
from lerobot.policies.fastwam.modeling_fastwam import FastWAMPolicy
from lerobot.policies.fastwam.wan import ActionDiT, FastWAM, MoT, WanVideoDiT
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.utils.constants import ACTION, OBS_STATE
from torch import Tensor, nn

from benchmarks.harness.batches import nano, observation, training_batch, training_step
from benchmarks.harness.rows import CannotRunError, Row, Spread
from benchmarks.harness.timing import flop_counter, in_turns, ratios
from lerobot_wallwm.policies.encoders.wavelet_codec import FRAMES_PER_LATENT, WaveletCodec
from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy

LIKE_FOR_LIKE: dict[str, Any] = {"landmarks": 0, "future_fraction": 1.0, "action_draws": 1}
QUICK = {"repeats": 2, "batch": 2}


def flags(parser: ArgumentParser) -> None:
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5, help="action denoising steps of both")
    parser.add_argument("--compile", action="store_true", help="compare compiled policies, too")


class WaveletAsVae(nn.Module):
    """Our codec behind the interface of FastWAM's VAE."""

    temporal_downsample_factor = FRAMES_PER_LATENT

    def __init__(self, levels: int):
        super().__init__()
        self.codec = WaveletCodec(levels)

    def encode(self, videos: list[Tensor] | Tensor, **_: Any) -> Tensor:
        """Clips ``(B, 3, F, H, W)`` in [-1, 1] to latents ``(B, C, T, h, w)``."""
        clips = torch.stack(videos) if isinstance(videos, list) else videos
        return self.codec.encode(clips.transpose(1, 2))


class OfflineFastWAM(FastWAMPolicy):
    """LeRobot's policy around its own towers; only the pretrained VAE and text encoder are left out."""

    def _build_core_model(self, config: FastWAMConfig) -> FastWAM:
        assert config.video_dit_config is not None and config.action_dit_config is not None
        video, action = WanVideoDiT(**config.video_dit_config), ActionDiT(**config.action_dit_config)
        side = config.video_dit_config["in_dim"] // (3 * FRAMES_PER_LATENT)  # pixels of one latent
        return FastWAM(
            video_expert=video,
            action_expert=action,
            mot=MoT({"video": video, "action": action}, config.mot_checkpoint_mixed_attn),
            vae=WaveletAsVae(levels=(side.bit_length() - 1) // 2),
            text_dim=config.video_dit_config["text_dim"],
            proprio_dim=config.proprio_dim,
        )


def fastwam_config(like: WallwmPolicy, num_steps: int) -> FastWAMConfig:
    """FastWAM's configuration at the sizes of ours.

    Raises:
        ValueError: The cameras differ in size, or the policy resizes them.
    """
    ours, video = like.config, like.model.video.shape
    sizes = {tuple(feature.shape[1:]) for feature in ours.image_features.values()}
    if sizes != {ours.image_size}:
        raise ValueError(f"cameras of {sorted(sizes)} must all be {ours.image_size}, image_size.")
    assert ours.robot_state_feature is not None and ours.action_feature is not None
    (height, width), cameras = ours.image_size, len(ours.image_features)
    actions = ours.action_feature.shape[0]
    shared = {
        "num_heads": video.heads,
        "attn_head_dim": video.width // video.heads,
        "num_layers": video.depth,
        "text_dim": video.text_dim,
        "freq_dim": video.time_freq_dim,
        "action_dim": actions,
        "eps": 1e-6,
    }
    return FastWAMConfig(
        action_dim=actions,
        proprio_dim=ours.robot_state_feature.shape[0],
        action_horizon=ours.horizon,
        n_action_steps=ours.horizon,
        num_video_frames=1 + FRAMES_PER_LATENT * ours.num_future_latents * ours.video_stride,
        action_video_freq_ratio=ours.video_stride,
        image_size=(height, width * cameras),
        context_len=ours.max_text_tokens,
        base_model_id=None,
        load_text_encoder=False,
        torch_dtype="float32",
        num_inference_steps=num_steps,
        video_dit_config={
            **shared,
            **{"in_dim": video.latent_channels, "out_dim": video.latent_channels},
            **{"hidden_dim": video.width, "ffn_dim": video.ffn_width},
            "patch_size": [1, video.patch, video.patch],
            "seperated_timestep": True,  # sic, LeRobot's spelling
            "video_attention_mask_mode": "first_frame_causal",
        },
        action_dit_config={**shared, "hidden_dim": ours.action_width, "ffn_dim": ours.action_ffn_width},
        input_features={
            **{key: PolicyFeature(FeatureType.VISUAL, (3, height, width)) for key in ours.image_features},
            OBS_STATE: ours.robot_state_feature,
        },
        output_features={ACTION: ours.action_feature},
        device="cpu",
        push_to_hub=False,
    )


def build_fastwam(like: WallwmPolicy, num_steps: int = 5) -> FastWAMPolicy:
    """FastWAM with random weights, in float32 on the CPU."""
    torch.manual_seed(0)
    return OfflineFastWAM(fastwam_config(like, num_steps))


class GivenText(nn.Module):
    """Stands in for a text encoder: the same features for every caption."""

    features: Tensor

    def __init__(self, tokens: int, width: int):
        super().__init__()
        self.register_buffer("features", torch.randn(1, tokens, width), persistent=False)

    def forward(self, captions: list[str]) -> Tensor:
        """Features ``(B, L, E)``."""
        return self.features.expand(len(captions), -1, -1)


@dataclass
class Subject:
    """A policy, and what it is fed."""

    policy: PreTrainedPolicy
    training: dict[str, Any]
    looking: dict[str, Any]


def ours(batch: int, steps: int, given_text: bool = True, **fields: Any) -> Subject:
    """A `nano` policy, which plans as many actions as FastWAM."""
    policy = nano(num_inference_steps=steps, replan_steps=0, **fields)
    config = policy.config
    if given_text:
        policy.model.text_encoder = GivenText(config.max_text_tokens, config.text_dim)
    return Subject(policy, training_batch(config, batch), observation(config))


def fastwam(like: Subject, batch: int, steps: int) -> Subject:
    """FastWAM at the sizes of ``like``, fed the same pictures, states and actions."""
    config = like.policy.config
    given = GivenText(config.max_text_tokens, config.text_dim)

    def with_text(data: dict[str, Any], rows: int) -> dict[str, Any]:
        mask = torch.ones(rows, config.max_text_tokens, dtype=torch.bool)
        text = {"context": given([""] * rows), "context_mask": mask}
        return {**{key: value for key, value in data.items() if key != "task"}, **text}

    twin = build_fastwam(like.policy, steps)
    return Subject(twin, with_text(like.training, batch), with_text(like.looking, 1))


@torch.inference_mode()
def act(subject: Subject, imagination: str | None = None) -> None:
    """All actions of one look, as LeRobot's loops ask for them."""
    subject.policy.reset()
    if imagination is not None:
        subject.policy.config.imagination = imagination
    subject.policy.predict_action_chunk(subject.looking)


@torch.inference_mode()
def control(subject: Subject) -> None:
    """One look and all its actions, through `select_action`."""
    subject.policy.reset()
    for _ in subject.policy.config.action_delta_indices:
        subject.policy.select_action(subject.looking)


def compiled(subject: Subject) -> Subject:
    """`subject` with its `predict_action_chunk` wrapped as LeRobot's rollout wraps it, and run once."""
    policy = subject.policy
    policy.predict_action_chunk = torch.compile(
        policy.predict_action_chunk, backend="inductor", mode="default"
    )  # type: ignore[method-assign]
    act(subject)
    return subject


def rows(args: Namespace) -> Iterator[Row]:
    if args.batch < 2 or args.repeats < 2:
        raise CannotRunError("--batch and --repeats must be at least 2")
    logging.getLogger().setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    sizes = {"batch": args.batch, "steps": args.steps}
    like, shipped = ours(**sizes, **LIKE_FOR_LIKE), ours(**sizes, given_text=False)
    other = fastwam(like, **sizes)
    subjects = {"FastWAM": other, "ours, like for like": like, "ours, as shipped": shipped}
    for name, subject in subjects.items():
        count = sum(p.numel() for p in subject.policy.parameters())
        yield Row("parameters", {"policy": name, "millions": count / 1e6})
    steps = {name: training_step(subject.policy, subject.training) for name, subject in subjects.items()}
    yield from compare(f"training step, batch {args.batch}", steps, args.repeats)
    names = ("none", "anchor", "full")
    imaginations = {f"ours, like for like, {name}": partial(act, like, name) for name in names}
    looks = {"FastWAM": partial(act, other), **imaginations}
    looks["ours, as shipped, none"] = partial(act, shipped, "none")
    if args.compile:
        fast_like = compiled(ours(**sizes, **LIKE_FOR_LIKE))
        looks["FastWAM, compiled"] = partial(act, compiled(fastwam(like, **sizes)))
        looks["ours, like for like, none, compiled"] = partial(act, fast_like)
    yield from compare(f"actions from one observation, {args.steps} steps", looks, 2 * args.repeats)
    like.policy.config.imagination = "none"
    calls = {name: partial(control, subject) for name, subject in subjects.items()}
    title = f"select_action, {like.policy.config.horizon} control steps from one look"
    yield from compare(title, calls, args.repeats)


def compare(title: str, calls: dict[str, Callable[[], object]], repeats: int) -> Iterator[Row]:
    """A row a call, as parts of the first's time, and of FastWAM compiled where that is there."""
    counted = {}
    for name, call in calls.items():
        if "compiled" not in name:
            with flop_counter() as flops:
                call()
            counted[name] = flops.get_total_flops() / 1e9
    times = in_turns(calls, repeats, processor=torch.get_num_threads() == 1)
    for name, values in times.items():
        cells = {"policy": name, "GFLOP": counted.get(name), "ms": Spread.of(values)}
        for base in ("FastWAM", "FastWAM, compiled"):
            if base in times:
                cells[f"of {base}"] = Spread.of(ratios(times, name, base))
        yield Row(title, cells)
