# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What a checkpoint is worth on held-out events, whichever stage it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from so101_demo.open_loop import action_errors

from lerobot_wallwm.check.measure.baselines import CaptionMean
from lerobot_wallwm.check.measure.checkpoint import Checkpoint
from lerobot_wallwm.check.measure.observations import Observations, load_observations, predict
from lerobot_wallwm.check.measure.video import imagine
from lerobot_wallwm.check.measure.views import open_view, read_event_rows, spread_anchors, thin
from lerobot_wallwm.policies.encoders.hashed_words import split_words
from lerobot_wallwm.policies.model import objectives
from lerobot_wallwm.policies.reasoning.nano_vlm import THEN

# Noise draws of the video loss on each event; our choice.
DRAWS = 8


@dataclass(frozen=True)
class Figure:
    """A held-out figure.

    Attributes:
        label: For the table.
        higher_is_better: Direction.
        baseline: Key of the figure that a model without skill has, or None.
    """

    label: str
    higher_is_better: bool = False
    baseline: str | None = None

    def improved(self, before: float, after: float) -> bool:
        """Whether it got better."""
        return after > before if self.higher_is_better else after < before


FIGURES = {
    "video_loss": Figure("video flow loss, t uniform"),
    "psnr": Figure("imagined video, PSNR in dB", True, "psnr_keyframe"),
    "psnr_moved": Figure("the same where something moved", True, "psnr_moved_keyframe"),
    "action_none": Figure("action error, imagination=none", False, "action_hold"),
    "action_anchor": Figure("action error, imagination=anchor", False, "action_hold"),
    "chunk_action": Figure("action error of the next chunk", False, "chunk_hold"),
    "said": Figure("events named exactly, in words", True),
    "read_back": Figure("events named exactly, read back from latents", True),
    "chunk_latents": Figure("action error of the next chunk, told by latents", False, "chunk_hold"),
}


def measure_events(
    checkpoint_path: str | Path, events: str | Path, observations: int, clips: int
) -> dict[str, float]:
    """What a checkpoint of any stage but `next_chunk` is worth on carved events.

    Args:
        checkpoint_path: ``pretrained_model`` folder.
        events: What `wallwm prepare` wrote, with ``train`` and ``heldout``.
        observations: At most so many, spread over the held-out events, for the action errors.
        clips: At most so many events, from their first frame, for the video.

    Returns:
        By the keys of `FIGURES` and their baselines. Action errors are in dataset units.
    """
    train, heldout = Path(events) / "train", Path(events) / "heldout"
    checkpoint = Checkpoint(checkpoint_path)
    rows = read_event_rows(heldout)
    view = open_view(heldout, checkpoint.config)
    keyframes = load_observations(checkpoint, view, rows, thin(spread_anchors(rows, 1), clips))
    video = imagine(checkpoint, keyframes, view.meta.fps, told_length=True).metrics
    figures = {
        "video_loss": video_loss(checkpoint, keyframes),
        "psnr": video["imagined"]["psnr"],
        "psnr_keyframe": video["repeat_keyframe"]["psnr"],
        "psnr_moved": video["imagined"]["psnr_moved"],
        "psnr_moved_keyframe": video["repeat_keyframe"]["psnr_moved"],
    }
    seen = load_observations(checkpoint, view, rows, thin(spread_anchors(rows, 3), observations))
    baseline = CaptionMean(read_event_rows(train))
    for imagination in ("none", "anchor"):
        checkpoint.config.imagination = imagination
        errors = action_errors(predict(checkpoint, seen).actions, seen, rows, baseline)
        figures[f"action_{imagination}"] = errors["policy"]
        figures["action_hold"] = errors["hold"]
    return {name: float(value) for name, value in figures.items()}


def video_loss(checkpoint: Checkpoint, observations: Observations, seed: int = 0) -> float:
    """Mean loss of stage `video` over events and noise levels; the same noise for every checkpoint."""
    import torch

    from lerobot_wallwm.policies.training.stages import STAGES

    policy = checkpoint.policy
    shape = policy.model.shape
    policy.model.shape = replace(shape, stage=STAGES["video"])
    total, count = 0.0, 0
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for rows in observations.parts:
                event = policy.windows_from_batch(observations.batch(rows))
                for _ in range(DRAWS):
                    losses = objectives.losses(policy.model, event)
                    total += float(losses.video[losses.has_video].sum())
                    count += int(losses.has_video.sum())
    finally:
        policy.model.shape = shape
    return total / max(count, 1)


def measure_words(checkpoint_path: str | Path, events: str | Path, clips: int) -> dict[str, float]:
    """Share of held-out events, from their first frame, of which the language half says exactly what happens now.

    In words by the keys ``said``, and read back from latents by ``read_back``; 0 where the checkpoint has no such part.
    """
    import torch
    from lerobot.datasets import LeRobotDatasetMetadata

    heldout = Path(events) / "heldout"
    rows = read_event_rows(heldout)
    checkpoint = Checkpoint(checkpoint_path, meta=LeRobotDatasetMetadata("local/heldout", root=heldout))
    reasoner = checkpoint.policy.model.reasoner
    if reasoner is None:
        return {"said": 0.0, "read_back": 0.0}
    seen = load_observations(
        checkpoint, open_view(heldout, checkpoint.config), rows, thin(spread_anchors(rows, 1), clips)
    )
    said, read = 0, 0
    with torch.no_grad():
        for part in seen.parts:
            windows = checkpoint.policy.windows_from_batch(seen.batch(part))
            assert windows.instructions is not None
            look = windows.keyframes, windows.state, windows.view_ids
            memory, last = checkpoint.policy.model.read_prompt(windows.instructions, *look)
            now = [" ".join(split_words(caption)) for caption in windows.captions]
            said += _right(reasoner.vlm.spell(memory, last), now)
            if reasoner.stairs is not None:
                read += _right(reasoner.read_back(reasoner.latents(memory)), now)
    return {"said": said / len(seen.captions), "read_back": read / len(seen.captions)}


def _right(said: Sequence[str], now: Sequence[str]) -> int:
    return sum(a.partition(f" {THEN} ")[0] == b for a, b in zip(said, now, strict=True))


def table(
    stages: Sequence[tuple[str, Sequence[str]]], measured: Mapping[str, Mapping[str, float]]
) -> list[str]:
    """Markdown: each stage's own figures before and after it, then all figures of all checkpoints.

    Args:
        stages: Names with the keys of their own figures, in order.
        measured: Figures by checkpoint: ``start`` and one for each stage. Not every checkpoint has all of them.
    """
    names = ["start", *(name for name, _ in stages)]
    own = []
    for before, (after, keys) in zip(names, stages, strict=False):
        for key in keys:
            figure = FIGURES[key]
            a, b = measured[before][key], measured[after][key]
            floor = _number(measured[after].get(figure.baseline or ""))
            verdict = "improved" if figure.improved(a, b) else "NOT improved"
            own.append((after, figure.label, _number(a), _number(b), floor, verdict))
    everything = [
        (figure.label, *(_number(measured[name].get(key)) for name in names))
        for key, figure in FIGURES.items()
    ]
    return [
        *_aligned([("stage", "its own held-out figure", "before", "after", "no skill", "verdict"), *own]),
        "",
        *_aligned([("all figures", *names), *everything]),
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table that also reads well as text; the first row is its head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
