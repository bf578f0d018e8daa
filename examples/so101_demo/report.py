# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The demo's report: everything that a run produced, on one self-contained page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lerobot_wallwm.check.measure.video import comparison_film, side_by_side
from lerobot_wallwm.check.page import charts, page

from . import figures as fig
from .report_inputs import ReportInputs

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


def build_report(inputs: ReportInputs) -> str:
    """The page as HTML."""
    sections = [
        ("events", "Events", _events(inputs)),
        ("levels", "Captions", _levels(inputs)),
        ("training", "Training", _training(inputs)),
        ("actions", "Actions", _actions(inputs)),
        ("imagination", "Imagination", _imagination(inputs)),
        ("rollouts", "Rollouts", _rollouts(inputs)),
        ("made", "How it was made", _made(inputs)),
    ]
    return page.document(
        "WALL-WM on an SO-101: the demo's report",
        "Demonstrations cut at their events, a world action model trained on the events by LeRobot's own trainer, what it "
        "imagines beside what happened, and the arm that it drives in simulation.",
        [html for _, _, html in sections],
        [(anchor, label) for anchor, label, _ in sections],
        _summary(inputs),
    )


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _summary(inputs: ReportInputs) -> str:
    actions, figures = inputs.figures["actions"], inputs.figures
    move = figures["sensitivity"]
    below_plain = 1 - actions["policy"] / actions["caption_mean_variants"]["absolute, by step"]
    cards = [
        page.figure_card(
            str(inputs.summary["events"]["action"]), f"events in {inputs.summary['episodes']} demonstrations"
        ),
        page.figure_card(
            f"{inputs.training['steps']:,}", f"training steps in {inputs.training['minutes']:.1f} minutes"
        ),
        page.figure_card(
            _percent(actions["below_hold"]),
            f"below the error of holding the pose (aim {_percent(GOAL_BELOW)})",
            actions["below_hold"] >= GOAL_BELOW,
        ),
        page.figure_card(
            _percent(below_plain),
            f"below the caption's mean actions (aim {_percent(GOAL_BELOW)})",
            below_plain >= GOAL_BELOW,
        ),
        page.figure_card(
            _percent(actions["below_caption_mean"]),
            "below the hardest baseline: the caption's mean motion from the observed pose, told how far the event has come",
        ),
        page.figure_card(
            f"{figures['latency_ms']:.0f} ms",
            f"from images to an event's actions (aim {GOAL_LATENCY_MS:.0f} ms)",
            figures["latency_ms"] < GOAL_LATENCY_MS,
        ),
        page.figure_card(
            f"{move['images_shuffled']:.1f}° / {move['caption_swapped']:.1f}°",
            f"change by other images / another caption (noise {move['noise']:.1f}°)",
            min(move["images_shuffled"], move["caption_swapped"]) > move["noise"],
        ),
    ]
    if inputs.rollouts:
        logs = [rollout.log for rollout in inputs.rollouts]
        progress = np.mean([log["task_progress"] for log in logs])
        won = sum(bool(log["success"]) for log in logs)
        cards.append(
            page.figure_card(f"{progress:.0f} / 100", f"mean Task Progress of {len(logs)} simulated episodes")
        )
        cards.append(page.figure_card(f"{won} of {len(logs)}", "simulated episodes succeeded"))
    return f'<div class="figures">{"".join(cards)}</div>'


def _events(inputs: ReportInputs) -> str:
    labels = [event["label"] for episode in inputs.episodes for event in episode.level("action")]
    colour_of = charts.colours(labels)
    parts = []
    for episode in inputs.episodes:
        events = episode.level("action")
        parts.append(f"<h3>Episode {episode.index}: {page.text(episode.instruction)}</h3>")
        parts.append(
            fig.timeline(
                f"timeline{episode.index}", episode.states, episode.joints, events, episode.fps, colour_of
            )
        )
        pictures = [
            (charts.png_uri(frame), f"{event['start'] / episode.fps:.1f} s: {event['caption']}")
            for frame, event in zip(episode.keyframes, events, strict=True)
        ]
        width = episode.keyframes.shape[2] if len(episode.keyframes) else 96
        parts.append(page.strip(pictures, width))
    rows = [
        (
            label,
            row["events"],
            f"{row['seconds_median']:.2f}",
            f"{row['seconds_min']:.2f}",
            f"{row['seconds_max']:.2f}",
        )
        for label, row in inputs.summary["labels"].items()
    ]
    parts.append(page.table(("event", "count", "median s", "shortest s", "longest s"), rows))
    return page.section(
        "events",
        "Demonstrations, cut at their events",
        "Joint angles of recorded demonstrations. The coloured bands are the events that the segmenter found from gripper "
        "switches, speed minima and changes of motion; nobody labelled them. Each event becomes one LeRobot episode with its "
        "caption as the task. Below each curve: the frame at which each event starts, which is the keyframe that the policy "
        "sees.",
        *parts,
    )


def _levels(inputs: ReportInputs) -> str:
    if not inputs.episodes:
        return ""
    episode = inputs.episodes[0]
    colour_of = charts.colours([event["label"] for event in episode.level("action")])
    rows = []
    for level in LEVELS:
        spans = "".join(
            f'<span style="flex-grow:{event["end"] - event["start"]};--c:{colour_of.get(event["label"], "var(--line)")}">'
            f"{page.text(event['caption'])}</span>"
            for event in episode.level(level)
        )
        rows.append(f'<h3>{level}</h3><div class="bar">{spans}</div>')
    return page.section(
        "levels",
        "Four levels of captions",
        f"Episode {episode.index} in words, coarse to fine: the task, its subtasks, their actions (the level that is carved "
        "here) and the segments of motion within them. Widths are durations.",
        *rows,
    )


def _training(inputs: ReportInputs) -> str:
    log, training = inputs.log, inputs.training
    curves = {title: log.curves[name] for name, title in LOSSES.items() if name in log.curves}
    chart = (
        fig.loss_curves("loss", log.steps, curves)
        if curves
        else "<p>The log holds no losses: too few steps.</p>"
    )
    rows = [
        ("parameters", f"{inputs.figures['parameters'] / 1e6:.2f} million"),
        ("steps x batch", f"{training['steps']} x {training['batch_size']}"),
        (
            "seconds per step",
            f"{log.mean('updt_s'):.2f} computing, {log.mean('data_s'):.2f} waiting for data",
        ),
        ("start to end", f"{training['minutes']:.1f} minutes"),
        (
            "data",
            f"{inputs.summary['views']['train']['events']} events, {inputs.summary['views']['train']['frames']} frames",
        ),
    ]
    return page.section(
        "training",
        "Training with lerobot-train",
        "Losses as LeRobot's unmodified trainer logged them (means over ten steps). Video and action towers learn together "
        "from random weights; the third head learns how many frames the event still lasts.",
        chart,
        page.table(("", ""), rows),
    )


def _actions(inputs: ReportInputs) -> str:
    figures = inputs.figures
    parts = []
    rows = []
    for name, result in (
        ("all observations", figures["actions"]),
        ("keyframes only", figures["actions"]["at_keyframes"]),
    ):
        rows.append(
            (
                name,
                result["observations"],
                f"{result['policy']:.2f}",
                f"{result['hold']:.2f}",
                f"{result['caption_mean']:.2f}",
                _percent(result["below_hold"]),
                _percent(result["below_caption_mean"]),
            )
        )
    header = ("", "observations", "wallwm", "hold the pose", "caption's mean", "below hold", "below mean")
    parts.append(page.table(header, rows))
    per_joint = figures["actions"]["per_joint"]
    names = inputs.joints or [str(i) for i in range(len(per_joint))]
    parts.append(
        page.table(("mean absolute error", *names), [("wallwm", *(f"{value:.2f}" for value in per_joint))])
    )
    variants = ", ".join(f"{k} {v:.2f}" for k, v in figures["actions"]["caption_mean_variants"].items())
    parts.append(
        f"""<p class="note">Degrees; 0 to 100 for the gripper. The caption's mean is the best of five variants
        ({page.text(variants)}). The first knows what the policy knows without looking; the others are also told how far
        the event has come, and two even how long it will last.</p>"""
    )
    move = figures["sensitivity"]
    chart = {"another noise seed": move["noise"], "another observation's images": move["images_shuffled"]}
    chart["another event's caption"] = move["caption_swapped"]
    parts.append("<h3>Does it look, does it read?</h3>")
    caption = "Mean change of the predicted actions when one input is replaced and the noise stays, against fresh noise alone."
    parts.append(page.captioned(charts.bars("sensitivity", chart, "degrees"), caption))
    left = figures["remaining_frames"]
    parts.append(
        f'<p class="note">Frames to the event\'s end are predicted with a median error of {left["median"]:.1f} '
        f"(mean {left['mean']:.1f}).</p>"
    )
    for number, example in enumerate(inputs.examples):
        parts.append(f"<h3>{page.text(example.caption)}</h3>")
        chart_svg = fig.action_chart(
            f"actions{number}", example.true, example.predicted, example.state, names, inputs.summary["fps"]
        )
        parts.append(chart_svg)
    return page.section(
        "actions",
        "Open-loop actions on held-out demonstrations",
        "One look at images and joints, one caption, and out comes the rest of the event. No frame of these demonstrations was "
        "trained on. Errors are over every step up to the event's true end.",
        *parts,
    )


def _imagination(inputs: ReportInputs) -> str:
    clips, parts = inputs.clips, []
    for n in range(len(clips.captions)):
        frames = [f for f in range(clips.real.shape[2]) if clips.valid[n, f]]
        parts.append(f"<h3>{page.text(clips.captions[n])}</h3>")
        for label, source in (("real", clips.real), ("imagined", clips.imagined)):
            row = [
                (charts.png_uri(side_by_side(source[n, :, f])), f"{clips.seconds[f]:.1f} s") for f in frames
            ]
            width = 80 * clips.real.shape[1]
            parts.append(f'<div class="pair"><span>{label}</span>{page.strip(row, width, row=True)}</div>')
    if len(clips.captions):
        parts.append(
            page.captioned(
                f'<div class="film">{page.video(charts.mp4_uri(comparison_film(clips), 5))}</div>',
                "Top: real. Bottom: imagined.",
            )
        )
    metrics = clips.metrics or {}
    if metrics.get("frames"):
        rows = [
            (
                name,
                *(
                    "–" if metrics[key][m] is None else f"{metrics[key][m]:.{d}f}"
                    for m, d in (("psnr", 1), ("psnr_moved", 1), ("ssim", 3))
                ),
            )
            for key, name in (("imagined", "imagined"), ("repeat_keyframe", "repeat the keyframe"))
        ]
        parts.append(page.table(("", "PSNR dB", "PSNR where it moved", "SSIM"), rows))
        parts.append(f'<p class="note">Means over {metrics["frames"]} future frames of held-out events.</p>')
    return page.section(
        "imagination",
        "Imagined and real",
        "The same model, asked for video: from the keyframe and the caption alone it draws the event's future, wrist camera left "
        "and overhead camera right. Most of the picture never moves, so repeating the keyframe scores high; the column for the "
        "pixels that moved is the telling one.",
        *parts,
    )


def _rollouts(inputs: ReportInputs) -> str:
    parts = []
    if inputs.rollout_note:
        parts.append(f"<p><b>{page.text(inputs.rollout_note)}</b></p>")
    shown = sorted(inputs.rollouts, key=lambda r: -r.log["task_progress"])
    cards = []
    for rollout in [r for r in shown if r.video is not None][:2]:
        chips = "".join(
            f'<span class="chip{" on" if rollout.log.get(flag) else ""}">{flag.replace("_", " ")}</span>'
            for flag in FLAGS
        )
        content = page.video(charts.mp4_uri(rollout.video))
        if rollout.imagined is not None:
            content += f'<p class="small">imagined at each event\'s keyframe:</p>{page.video(charts.mp4_uri(rollout.imagined))}'
        caption = f"Seed {rollout.log['seed']}: {rollout.log['cube']} cube, {rollout.log['disc']} disc"
        cards.append(f"<div><h3>{page.text(caption)}</h3>{content}{chips}</div>")
    parts.append(f'<div class="videos">{"".join(cards)}</div>')
    if inputs.rollouts:
        rows = [
            (
                log["seed"],
                f"{log['cube']} on {log['disc']}",
                f"{log['task_progress']:.0f}",
                "yes" if log["success"] else "no",
                next((flag.replace("_", " ") for flag in FLAGS if not log.get(flag)), "none"),
                log["steps"],
            )
            for log in (rollout.log for rollout in inputs.rollouts)
        ]
        header = ("seed", "colours", "progress", "success", "first phase that failed", "steps")
        parts.append(page.table(header, rows))
    return page.section(
        "rollouts",
        "The arm in simulation",
        "Episodes of the unmodified lerobot-eval on colour pairs that training has seen, at seeds that it has not. The policy reads "
        "the instruction, proposes the next event from the order that it learned, looks again every few steps and moves on when it "
        "predicts the event's end. The videos show the furthest episodes; the table shows all. Minutes of training on two cores "
        "teach the reach, seldom the whole task: make bench-so101 trains longer.",
        *parts,
    )


def _made(inputs: ReportInputs) -> str:
    rows: Sequence[Sequence[object]] = [
        (result.name, f"{result.seconds:.0f} s", "reused" if result.reused else "")
        for result in inputs.stages
    ]
    commands = "\n\n".join(inputs.commands)
    return page.section(
        "made",
        "How it was made",
        f"On {inputs.machine}. Peak memory {inputs.peak_gb:.1f} GB. The commands, as they were run:",
        f"<pre>{page.text(commands)}</pre>",
        page.table(("stage", "time", ""), rows),
    )
