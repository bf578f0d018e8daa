# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The demo's report: everything that a run produced, on one self-contained page, whose words are in `report.html.jinja`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lerobot_wallwm.check.measure.video import Clips, comparison_film, side_by_side
from lerobot_wallwm.check.page import charts
from lerobot_wallwm.check.page.report import page_templates

from . import figures as fig
from .report_inputs import EpisodeView, ReportInputs, Rollout

FLAGS = ("reached", "grasped", "lifted", "above_target", "released", "retreated")
LEVELS = ("task", "subtask", "action", "segment")
GOAL_BELOW = 0.40
GOAL_LATENCY_MS = 100.0
LOSSES = {
    "loss": "total loss",
    "loss_action": "action flow",
    "loss_video": "video",
    "loss_remaining": "remaining time",
}
SECTIONS = {
    "events": "Events",
    "levels": "Captions",
    "training": "Training",
    "actions": "Actions",
    "imagination": "Imagination",
    "rollouts": "Rollouts",
    "made": "How it was made",
}


def build_report(inputs: ReportInputs) -> str:
    """The page as HTML."""
    actions, move = inputs.figures["actions"], inputs.figures["sensitivity"]
    sight = inputs.figures["sight"]
    labels = [event["label"] for episode in inputs.episodes for event in episode.level("action")]
    colour_of = fig.colours(labels)
    joints = inputs.joints or [str(i) for i in range(len(actions["per_joint"]))]
    curves = {title: inputs.log.curves[name] for name, title in LOSSES.items() if name in inputs.log.curves}
    changes = {
        "another noise seed": move["noise"],
        "another observation's images": move["images_shuffled"],
        "another event's caption": move["caption_swapped"],
    }
    logs = [
        rollout.log | {"reached_all": [flag for flag in FLAGS if rollout.log.get(flag)]}
        for rollout in inputs.rollouts
    ]
    furthest = sorted(
        (r for r in inputs.rollouts if r.video is not None), key=lambda r: -r.log["task_progress"]
    )
    return (
        page_templates(Path(__file__).parent)
        .get_template("report.html.jinja")
        .render(
            navigation=[(k, v) for k, v in SECTIONS.items() if inputs.episodes or k != "levels"],
            inputs=inputs,
            goal_below=GOAL_BELOW,
            goal_ms=GOAL_LATENCY_MS,
            joints=joints,
            episodes=[_episode(episode, colour_of) for episode in inputs.episodes],
            levels=_levels(inputs.episodes[0]) if inputs.episodes else {},
            losses=fig.loss_curves("loss", inputs.log.steps, curves) if curves else None,
            sensitivity=fig.bars("sensitivity", changes, "degrees"),
            sight=fig.bars("sight", sight["error"], "degrees") if sight else None,
            examples=[
                (
                    e.caption,
                    fig.action_chart(
                        f"actions{n}", e.true, e.predicted, e.state, joints, inputs.summary["fps"]
                    ),
                )
                for n, e in enumerate(inputs.examples)
            ],
            clips=[_clip(inputs.clips, n) for n in range(len(inputs.clips.captions))],
            film=fig.mp4_uri(comparison_film(inputs.clips), 5) if inputs.clips.captions else None,
            logs=logs,
            flags=FLAGS,
            rollouts=[_rollout(rollout) for rollout in furthest[:2]],
        )
    )


def _episode(episode: EpisodeView, colour_of: dict[str, str]) -> dict[str, Any]:
    """A demonstration's curves, and the picture at which each of its events starts."""
    events, name = episode.level("action"), f"timeline{episode.index}"
    return {
        "index": episode.index,
        "instruction": episode.instruction,
        "drawing": fig.timeline(name, episode.states, episode.joints, events, episode.fps, colour_of),
        "keyframes": [
            (
                charts.png_uri(frame),
                frame.shape[1],
                f"{event['start'] / episode.fps:.1f} s: {event['caption']}",
            )
            for frame, event in zip(episode.keyframes, events, strict=True)
        ],
    }


def _levels(episode: EpisodeView) -> dict[str, list[tuple[int, str, str]]]:
    """An episode's captions by level: duration, colour, caption."""
    colour_of = fig.colours([event["label"] for event in episode.level("action")])
    return {
        level: [
            (e["end"] - e["start"], colour_of.get(e["label"], "var(--line)"), e["caption"])
            for e in episode.level(level)
        ]
        for level in LEVELS
    }


def _clip(clips: Clips, n: int) -> dict[str, Any]:
    """One event, real and imagined: its pictures with their times."""
    frames = [f for f in range(clips.real.shape[2]) if clips.valid[n, f]]
    rows = {
        name: [(charts.png_uri(side_by_side(video[n, :, f])), clips.seconds[f]) for f in frames]
        for name, video in (("real", clips.real), ("imagined", clips.imagined))
    }
    return {"caption": clips.captions[n], "width": 80 * clips.real.shape[1], **rows}


def _rollout(rollout: Rollout) -> dict[str, Any]:
    assert rollout.video is not None
    return {
        "log": dict.fromkeys(FLAGS, False) | rollout.log,
        "video": fig.mp4_uri(rollout.video),
        "imagined": None if rollout.imagined is None else fig.mp4_uri(rollout.imagined),
    }
