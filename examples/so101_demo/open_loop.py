# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Open-loop evaluation of a wallwm checkpoint on held-out events: actions, sensitivity, remaining time, latency.

    python -m so101_demo.open_loop --checkpoint DIR --train VIEW --heldout VIEW     (with PYTHONPATH=examples)

Shapes: N observations, H horizon, D joints. Errors are in dataset units: degrees, and 0 to 100 for the gripper.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lerobot_wallwm.check.measure.baselines import CaptionMean, EventRows, hold_pose
from lerobot_wallwm.check.measure.checkpoint import Checkpoint
from lerobot_wallwm.check.measure.errors import baseline_actions
from lerobot_wallwm.check.measure.observations import Observations, load_observations, mean_absolute, predict
from lerobot_wallwm.check.measure.sight import sight_where_needed
from lerobot_wallwm.check.measure.views import open_view, read_event_rows, spread_anchors, thin

# Our choice: enough for stable means, few enough for a minute on two cores.
MAX_OBSERVATIONS = 180


def action_errors(
    predicted: np.ndarray, observations: Observations, events: Sequence[EventRows], baseline: CaptionMean
) -> dict[str, Any]:
    """Mean absolute errors of the policy and both baselines.

    Returns:
        ``{"policy", "hold", "caption_mean", "below_hold", "below_caption_mean", "per_joint", "at_keyframes"}``; errors in
        dataset units, the two ``below`` as fractions of the baseline's error.
    """
    horizon, valid, true = observations.true.shape[1], observations.valid, observations.true
    hold = np.stack([hold_pose(state, horizon) for state in observations.state])
    horizons = zip(observations.anchors, observations.state, strict=True)
    mean = np.stack(
        [
            baseline.predict(events[anchor.event].caption, events[anchor.event].template, state, horizon)
            for anchor, state in horizons
        ]
    )

    def compare(chosen: np.ndarray) -> dict[str, Any]:
        mask = valid & chosen[:, None]
        policy, still, usual = (mean_absolute(actions - true, mask) for actions in (predicted, hold, mean))
        return {
            "observations": int(chosen.sum()),
            "policy": policy,
            "hold": still,
            "caption_mean": usual,
            "below_hold": _below(policy, still),
            "below_caption_mean": _below(policy, usual),
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
    base = predict(checkpoint, observations, seed).actions
    count = len(observations.captions)
    others = other_captions(observations.captions, rng)
    changed = {
        "noise": predict(checkpoint, observations, seed + 1).actions,
        "images_shuffled": predict(
            checkpoint, observations, seed, images_from=derangement(count, rng)
        ).actions,
        "caption_swapped": predict(checkpoint, observations, seed, captions=others).actions,
    }
    return {name: mean_absolute(actions - base, observations.valid) for name, actions in changed.items()}


def derangement(count: int, rng: np.random.Generator) -> list[int]:
    """A permutation that leaves nothing in its place (count >= 2)."""
    order = rng.permutation(count)
    return np.roll(order, 1)[np.argsort(order)].tolist()


def other_captions(captions: Sequence[str], rng: np.random.Generator) -> list[str]:
    """For each caption another one of the list, drawn at random; all equal captions stay."""
    distinct = sorted(set(captions))
    if len(distinct) < 2:
        return list(captions)
    return [distinct[(distinct.index(c) + rng.integers(1, len(distinct))) % len(distinct)] for c in captions]


def latency_ms(checkpoint: Checkpoint, observations: Observations, repeats: int = 20) -> float:
    """Median milliseconds from one observation's images to its event's actions, batch 1."""
    seen, times = observations.seen(checkpoint, [0]), []
    for repeat in range(repeats + 2):
        began = time.perf_counter()
        checkpoint.plan(seen, repeat)
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
    events, trained = read_event_rows(heldout), read_event_rows(train)
    anchors = thin(spread_anchors(events, per_event), MAX_OBSERVATIONS)
    observations = load_observations(checkpoint, open_view(heldout, checkpoint.config), events, anchors)
    prediction = predict(checkpoint, observations, seed)
    predicted, remaining = prediction.actions, prediction.remaining
    error = np.abs(remaining - observations.remaining)
    guesses = baseline_actions(observations, events, trained)
    joints = checkpoint.config.action_feature_names or [str(d) for d in range(predicted.shape[2])]
    sight = sight_where_needed(checkpoint, observations, events, guesses, joints, seed)
    figures = {
        "events": len(events),
        "actions": action_errors(predicted, observations, events, CaptionMean(trained)),
        "sensitivity": sensitivity(checkpoint, observations, seed),
        "sight": sight and sight.summary(),  # None where no events need pictures
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
