# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Open-loop evaluation of a wallwm checkpoint on held-out events: actions, sensitivity, remaining time, latency.

    python -m so101_demo.open_loop --checkpoint DIR --train VIEW --heldout VIEW     (with PYTHONPATH=examples)

Shapes: N observations, H horizon, D joints. Errors are in dataset units: degrees, and 0 to 100 for the gripper.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .baselines import CaptionMean, EventRows, hold_pose
from .heldout import Anchor, open_view, read_event_rows, spread_anchors, thin

BATCH = 16
# Our choice: enough for stable means, few enough for a minute on two cores.
MAX_OBSERVATIONS = 180


@dataclass
class Observations:
    """Held-out observations, ready for the policy.

    Attributes:
        anchors: Where each is from.
        batches: Preprocessed batches of at most `BATCH` observations.
        captions: N strings.
        true: ``(N, H, D)`` recorded actions.
        valid: ``(N, H)``, False beyond the event's end.
        state: ``(N, D)``.
        remaining: ``(N,)`` frames to the event's end.
    """

    anchors: list[Anchor]
    batches: list[dict[str, Any]]
    captions: list[str]
    true: np.ndarray
    valid: np.ndarray
    state: np.ndarray
    remaining: np.ndarray


class Checkpoint:
    """A trained wallwm policy with its pipelines.

    Args:
        path: ``pretrained_model`` folder of a lerobot-train checkpoint.
        stage: Loads it as this stage, as `lerobot-train --policy.path` would; None for its own.
        meta: Metadata of the data that it will see; says which chunk of its episode an observation is in.
    """

    def __init__(self, path: str | Path, stage: str | None = None, meta: Any | None = None):
        from lerobot.configs import PreTrainedConfig
        from lerobot.policies.factory import make_pre_post_processors

        import lerobot_policy_wallwm  # noqa: F401  registers the processor steps, as LeRobot's commands do
        from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy

        config = PreTrainedConfig.from_pretrained(path)
        config.stage = stage or config.stage
        with contextlib.redirect_stdout(io.StringIO()):  # LeRobot prints where weights come from
            self.policy = WallwmPolicy.from_pretrained(path, config=config, dataset_meta=meta)
        self.policy.eval()
        self.config = self.policy.config
        device = {"device_processor": {"device": self.config.device}}
        self.preprocess, self.postprocess = make_pre_post_processors(
            self.config, str(path), preprocessor_overrides=device
        )

    def plan(
        self, event: Any, state: Any, seed: int, imagination: str | None = None, length: Any | None = None
    ) -> tuple[np.ndarray, Any]:
        """Actions ``(B, H, D)`` in dataset units, and the model's `Plan`.

        Args:
            event: From ``policy.event_from_batch``; only what is known at its keyframe is used, in chunks also its past.
            state: Raw state ``(B, D)``.
            seed: Of the sampling noise.
            imagination: Overrides the configuration's.
            length: ``(B,)`` frames to plan for; None lets the model predict them.
        """
        import torch

        plan = self.policy.model.plan(
            event.keyframes,
            event.state,
            event.captions,
            event.here,
            imagination=imagination or self.config.imagination,
            num_steps=self.config.num_inference_steps,
            generator=torch.Generator().manual_seed(seed),
            length=length,
            chunk=event.chunk,
        )
        actions = self.policy.action_space.decode_actions(plan.actions, state)
        # As in use: past the predicted end the last action is held.
        index = torch.minimum(torch.arange(actions.shape[1])[None], (plan.length - 1)[:, None])
        actions = actions.gather(1, index[..., None].expand_as(actions))
        return self.postprocess(actions).numpy().astype(np.float64), plan


def load_observations(
    checkpoint: Checkpoint, view: Any, events: Sequence[EventRows], anchors: Sequence[Anchor]
) -> Observations:
    """Decodes and preprocesses observations.

    Args:
        checkpoint: For its pipeline.
        view: From `heldout.open_view`.
        events: All events of the view.
        anchors: The observations to load.
    """
    import torch
    from torch.utils.data import default_collate

    config = checkpoint.config
    now = config.observation_delta_indices.index(0) if config.chunked else 0
    batches, true, valid, state = [], [], [], []
    for start in range(0, len(anchors), BATCH):
        raw = default_collate([view[anchor.row] for anchor in anchors[start : start + BATCH]])
        true.append(raw["action"][:, -config.horizon :].double().numpy().copy())
        valid.append(~raw["action_is_pad"][:, -config.horizon :].numpy())
        state.append(raw["observation.state"][:, now].double().numpy().copy())
        with torch.no_grad():
            batches.append(checkpoint.preprocess(raw))
    return Observations(
        list(anchors),
        batches,
        [events[anchor.event].caption for anchor in anchors],
        np.concatenate(true),
        np.concatenate(valid),
        np.concatenate(state),
        np.array([len(events[anchor.event].action) - anchor.offset for anchor in anchors], dtype=np.float64),
    )


def predict(
    checkpoint: Checkpoint,
    observations: Observations,
    seed: int = 0,
    captions: Sequence[str] | None = None,
    images_from: Sequence[int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Predicted actions ``(N, H, D)`` in dataset units and predicted remaining frames ``(N,)``.

    Args:
        checkpoint: The policy.
        observations: What it sees.
        seed: Of the sampling noise; the same seed gives each observation the same noise.
        captions: Replace the observations' own.
        images_from: Observation ``i`` sees the images of observation ``images_from[i]``.
    """
    import torch

    events = [checkpoint.policy.event_from_batch(batch) for batch in observations.batches]
    keyframes = torch.cat([event.keyframes for event in events])
    actions, remaining, done = [], [], 0
    for number, event in enumerate(events):
        rows = range(done, done + len(event.captions))
        done += len(rows)
        event.keyframes = keyframes[[images_from[i] for i in rows] if images_from is not None else list(rows)]
        if captions is not None:
            event.captions = [captions[i] for i in rows]
        state = torch.as_tensor(observations.state[rows.start : rows.stop], dtype=torch.float32)
        chunk, plan = checkpoint.plan(event, state, seed * 10_000 + number)
        actions.append(chunk)
        remaining.append(plan.remaining.numpy())
    return np.concatenate(actions), np.concatenate(remaining)


def mean_absolute(difference: np.ndarray, valid: np.ndarray) -> float:
    """Mean absolute value of ``(N, H, D)`` over all valid steps and joints."""
    return float(np.abs(difference)[valid].mean())


def other_captions(captions: Sequence[str], rng: np.random.Generator) -> list[str]:
    """For each caption another one of the list, drawn at random; all equal captions stay."""
    distinct = sorted(set(captions))
    if len(distinct) < 2:
        return list(captions)
    return [distinct[(distinct.index(c) + rng.integers(1, len(distinct))) % len(distinct)] for c in captions]


def derangement(count: int, rng: np.random.Generator) -> list[int]:
    """A permutation that leaves nothing in its place (count >= 2)."""
    order = rng.permutation(count)
    partner = np.empty(count, dtype=int)
    partner[order] = np.roll(order, 1)
    return partner.tolist()


def action_errors(
    predicted: np.ndarray,
    observations: Observations,
    events: Sequence[EventRows],
    baseline: CaptionMean,
) -> dict[str, Any]:
    """Mean absolute errors of the policy and both baselines.

    Returns:
        ``{"policy", "hold", "caption_mean", "caption_mean_variant", "caption_mean_variants", "below_hold",
        "below_caption_mean", "per_joint", "at_keyframes"}``; errors in dataset units, the two ``below`` as fractions
        of the baseline's error.
    """
    horizon, valid, true = observations.true.shape[1], observations.valid, observations.true
    hold = np.stack([hold_pose(state, horizon) for state in observations.state])
    means = {}
    for variant in CaptionMean.VARIANTS:
        rows = []
        for anchor, state in zip(observations.anchors, observations.state, strict=True):
            event = events[anchor.event]
            length = len(event.action)
            rows.append(
                baseline.predict(
                    variant, event.caption, event.template, state, anchor.offset, length, horizon
                )
            )
        means[variant] = np.stack(rows)

    def compare(chosen: np.ndarray) -> dict[str, Any]:
        mask = valid & chosen[:, None]
        variants = {variant: mean_absolute(mean - true, mask) for variant, mean in means.items()}
        best = min(variants, key=lambda variant: variants[variant])
        policy, still = mean_absolute(predicted - true, mask), mean_absolute(hold - true, mask)
        return {
            "observations": int(chosen.sum()),
            "policy": policy,
            "hold": still,
            "caption_mean": variants[best],
            "caption_mean_variant": best,
            "caption_mean_variants": variants,
            "below_hold": _below(policy, still),
            "below_caption_mean": _below(policy, variants[best]),
        }

    everywhere = np.ones(len(true), dtype=bool)
    keyframes = np.array([anchor.offset == 0 for anchor in observations.anchors])
    result = compare(everywhere)
    result["per_joint"] = np.abs(predicted - true)[valid].mean(axis=0).tolist()
    result["at_keyframes"] = compare(keyframes)
    return result


def _below(error: float, baseline: float) -> float:
    """By which part an error lies below a baseline's; a perfect baseline cannot be undercut."""
    return 1 - error / baseline if baseline > 0 else -float(error > 0)


def sensitivity(checkpoint: Checkpoint, observations: Observations, seed: int = 0) -> dict[str, float]:
    """How far predictions move (mean absolute, dataset units) when one input changes and everything else stays.

    Returns:
        ``{"noise", "images_shuffled", "caption_swapped"}``: another sampling noise, another observation's images,
        another event's caption.
    """
    rng = np.random.default_rng(seed)
    base, _ = predict(checkpoint, observations, seed)
    count = len(observations.captions)
    others = other_captions(observations.captions, rng)
    changed = {
        "noise": predict(checkpoint, observations, seed + 1)[0],
        "images_shuffled": predict(checkpoint, observations, seed, images_from=derangement(count, rng))[0],
        "caption_swapped": predict(checkpoint, observations, seed, captions=others)[0],
    }
    return {name: mean_absolute(actions - base, observations.valid) for name, actions in changed.items()}


def latency_ms(checkpoint: Checkpoint, observations: Observations, repeats: int = 20) -> float:
    """Median milliseconds from one observation's images to its event's actions, batch 1."""
    import torch

    batch = observations.batches[0]
    one = {key: value[:1] for key, value in batch.items() if isinstance(value, torch.Tensor | list)}
    event = checkpoint.policy.event_from_batch(one)
    state = torch.as_tensor(observations.state[:1], dtype=torch.float32)
    times = []
    for repeat in range(repeats + 2):
        began = time.perf_counter()
        checkpoint.plan(event, state, repeat)
        times.append(time.perf_counter() - began)
    return float(np.median(times[2:]) * 1000)


def evaluate(
    checkpoint_path: str | Path, train: str | Path, heldout: str | Path, per_event: int = 3, seed: int = 0
) -> tuple[dict[str, Any], Checkpoint, Observations, np.ndarray]:
    """The whole evaluation.

    Args:
        checkpoint_path: ``pretrained_model`` folder.
        train: Training view, for the caption-mean baseline.
        heldout: Held-out view.
        per_event: Observations per event.
        seed: Of the sampling noise and the shuffles.

    Returns:
        Figures (JSON types), the checkpoint, the observations and the predicted actions ``(N, H, D)``.
    """
    checkpoint = Checkpoint(checkpoint_path)
    events = read_event_rows(heldout)
    anchors = thin(spread_anchors(events, per_event), MAX_OBSERVATIONS)
    observations = load_observations(checkpoint, open_view(heldout, checkpoint.config), events, anchors)
    predicted, remaining = predict(checkpoint, observations, seed)
    error = np.abs(remaining - observations.remaining)
    figures = {
        "events": len(events),
        "actions": action_errors(predicted, observations, events, CaptionMean(read_event_rows(train))),
        "sensitivity": sensitivity(checkpoint, observations, seed),
        "remaining_frames": {"mean": float(error.mean()), "median": float(np.median(error))},
        "latency_ms": latency_ms(checkpoint, observations),
        "parameters": sum(p.numel() for p in checkpoint.policy.parameters()),
    }
    return figures, checkpoint, observations, predicted


def main() -> None:
    """The command line: prints the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="pretrained_model folder of a checkpoint"
    )
    parser.add_argument(
        "--train", type=Path, required=True, help="training view, for the caption-mean baseline"
    )
    parser.add_argument("--heldout", type=Path, required=True, help="held-out view")
    parser.add_argument("--per-event", type=int, default=3, help="observations per event")
    parser.add_argument("--seed", type=int, default=0, help="of the sampling noise and the shuffles")
    arguments = parser.parse_args()
    figures, *_ = evaluate(
        arguments.checkpoint, arguments.train, arguments.heldout, arguments.per_event, arguments.seed
    )
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
