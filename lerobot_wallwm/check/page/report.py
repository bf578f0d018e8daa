# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The page of a check: the verdict, why, and the pictures. One file that loads nothing from anywhere."""

from __future__ import annotations

from typing import Any

import numpy as np

from lerobot_wallwm.check import thresholds as t
from lerobot_wallwm.check.measure.errors import HOLD, MEAN, NEAR
from lerobot_wallwm.check.measure.heldout_data import HeldOut
from lerobot_wallwm.check.measure.latency import control_rate
from lerobot_wallwm.check.measure.measure import Run
from lerobot_wallwm.check.measure.sensitivity import CAPTION, IMAGES
from lerobot_wallwm.check.measure.video import comparison_film, side_by_side
from lerobot_wallwm.check.page import charts, page, plots
from lerobot_wallwm.check.page.plots import Album
from lerobot_wallwm.check.verdict import Verdict

CLIPS_SHOWN = 4
LEADS = {
    "yes": "Nothing that was measured speaks against it. The first runs still belong to a cleared table and a hand on the "
    "power switch.",
    "care": "It may move, slowly at first and with a hand on the power switch. Read what to watch for:",
    "no": "Leave the arm off. What is wrong:",
}


def build_page(
    run: Run,
    verdict: Verdict,
    heldout: HeldOut,
    album: Album,
    policy: dict[str, Any],
    dataset: dict[str, Any],
    command: str,
    machine: dict[str, Any],
) -> str:
    """The page as HTML; its figures are written into the album on the way.

    Args:
        run: What was measured.
        verdict: What the rules said.
        heldout: The data.
        album: Takes the figures.
        policy: As in ``check.json``.
        dataset: The same.
        command: As it was typed.
        machine: What it ran on.
    """
    sections = [
        ("actions", "Actions", _actions(run, heldout, album)),
        ("errors", "Errors", _errors(run, album)),
        ("inputs", "Does it look?", _inputs(run, album)),
        ("video", "Video", _video(run, album)),
        ("ends", "Ends", _ends(run, album)),
        ("speed", "Speed", _speed(run, album)),
        ("match", "The same arm?", _match(run, album)),
        ("rules", "Rules", _rules(verdict)),
        ("how", "How", _how(policy, dataset, heldout, run, command, machine)),
    ]
    sections = [section for section in sections if section[2]]
    events = f"{len(heldout.events)} events" if heldout.carved else "whole episodes, events unknown"
    return page.document(
        "Should the arm be switched on?",
        f"{policy['path']} on {dataset['root'] or dataset['repo_id']}: {len(heldout.sources)} held-out episodes, {events}, "
        f"{run.observations} observations. Nothing moved for this: the policy was asked what it would do.",
        [html for _, _, html in sections],
        [(anchor, label) for anchor, label, _ in sections],
        _banner(verdict) + _cards(run),
    )


def _banner(verdict: Verdict) -> str:
    colour = plots.level_colour(verdict.level)
    answer = verdict.answer[0].upper() + verdict.answer[1:]
    reasons = "".join(f"<li>{page.text(reason)}</li>" for reason in verdict.reasons)
    return (
        f'<div class="verdict {colour}" id="verdict"><span class="{colour}"><b>{page.text(answer)}</b></span>'
        f"<p>{page.text(LEADS[verdict.level])}</p><ul>{reasons}</ul></div>"
    )


def _cards(run: Run) -> str:
    m, cards = run.measured, []
    if m.open_loop is not None:
        ratio, _ = m.open_loop.against_hold["event"]
        cards.append(
            page.figure_card(
                _below(ratio),
                "error to the event's end, against holding the pose",
                ratio < t.HARDLY_BETTER_THAN_HOLDING,
            )
        )
    if m.sensitivity is not None:
        for name, what, line in ((IMAGES, "images", t.HARDLY_SEES), (CAPTION, "captions", t.HARDLY_READS)):
            share = m.sensitivity.share(name)
            if np.isfinite(share):
                cards.append(
                    page.figure_card(
                        f"{100 * share:.0f} %", f"follows its {what}, of what recordings do", share >= line
                    )
                )
    if m.latency is not None and m.match is not None:
        look = m.latency.looks[m.latency.imagination]
        cards.append(
            page.figure_card(
                f"{look.median:.0f} ms",
                f"for one look on this machine; a tick at {m.match.control_fps:g} Hz is {1000 / m.match.control_fps:.0f} ms",
                control_rate(m.latency, m.match.control_fps, t.ROOM)["sync"],
            )
        )
    if m.psnr is not None:
        cards.append(
            page.figure_card(f"{m.psnr[0]:.1f} dB", f"imagined video; a still picture {m.psnr[1]:.1f} dB")
        )
    return f'<div class="figures">{"".join(cards)}</div>' if cards else ""


def _below(ratio: float) -> str:
    if not np.isfinite(ratio):
        return "unknown"
    return f"{100 * (1 - ratio):.0f} % below" if ratio <= 1 else f"{100 * (ratio - 1):.0f} % above"


def _actions(run: Run, heldout: HeldOut, album: Album) -> str:
    if not run.episodes:
        return ""
    parts = []
    for number, episode in enumerate(run.episodes, 1):
        figure = plots.episode_figure(episode, heldout.joints, run.measured.unit)
        drawing = album.add(f"actions_{number}", figure)
        caption = (
            "Shaded: every second event. "
            if heldout.carved
            else "Where events begin is unknown in these data. "
        )
        parts.append(f"<h3>Episode {episode.index}: {page.text(episode.instruction)}</h3>")
        parts.append(
            page.captioned(
                drawing,
                f"{caption}A dot is where the policy looked; the line that leaves it is what it would have done until the "
                "event's end. On an arm only its first steps are executed before the next look.",
            )
        )
    return page.section(
        "actions",
        "What it would do",
        "Recorded and predicted actions over whole held-out episodes. A good policy's lines lie on the recorded curve where they "
        "begin and leave it slowly; lines that all run flat are an arm that stays, lines that start off the curve are an arm "
        "that jerks.",
        *parts,
    )


def _errors(run: Run, album: Album) -> str:
    m = run.measured
    if m.open_loop is None:
        return ""
    result, rows = m.open_loop, []
    for reach, label in (("near", f"the next {NEAR} steps"), ("event", "to the event's end")):
        interval = result.intervals[reach]
        rows.append(
            (
                label,
                f"{result.error[reach]:.2f}",
                "–" if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}",
                *(f"{errors[reach]:.2f}" for errors in result.baselines.values()),
            )
        )
    parts = [
        page.table(("", "this policy", "95 %", *result.baselines), rows),
        page.captioned(
            album.add("errors", plots.errors_figure(result, m.unit)),
            f"Mean absolute error over all joints ({m.unit}); the black bar is the 95 % interval over held-out episodes. "
            f"'{HOLD}' does nothing; '{MEAN}' knows the caption and does not look; the last is also told how far the event has come.",
        ),
        page.captioned(
            album.add("errors_by_joint", plots.joints_figure(result, m.unit)), "By joint, to the event's end."
        ),
    ]
    if result.by_event:
        parts.append(
            page.captioned(
                album.add("errors_by_event", plots.kinds_figure(result, m.unit)),
                "By kind of event, to its end; in brackets the number of observations.",
            )
        )
    return page.section(
        "errors",
        "How far off it is",
        "The same, counted. Open-loop errors say whether a policy has learned the motion; they do not say whether it succeeds.",
        *parts,
    )


def _inputs(run: Run, album: Album) -> str:
    m = run.measured
    if m.sensitivity is None:
        return ""
    note = ""
    if not np.isfinite(m.sensitivity.change[CAPTION]):
        note = (
            '<p class="note">All captions of these data are equal, so that they could not be exchanged.</p>'
        )
    return page.section(
        "inputs",
        "Does it look, does it read?",
        "One input is exchanged for that of another observation and everything else stays, the noise too. A policy that ignores its "
        "images or its captions shows no bar. The grey bar is how far the recordings of the same two observations differ.",
        album.add("sensitivity", plots.sensitivity_figure(m.sensitivity, m.unit)),
        note,
    )


def _video(run: Run, album: Album) -> str:
    clips = run.clips
    if clips is None or not clips.metrics["frames"]:
        return ""
    parts, moved = [], np.abs(clips.real.astype(np.int16) - clips.real[:, :, :1]).mean(axis=(1, 3, 4, 5))
    order = np.argsort(-(moved * clips.valid).max(axis=1), kind="stable")[:CLIPS_SHOWN]
    for number, n in enumerate(order, 1):
        frames = [f for f in range(clips.real.shape[2]) if clips.valid[n, f]]
        rows = [
            np.concatenate([_framed(side_by_side(source[n, :, f])) for f in frames], axis=1)
            for source in (clips.real, clips.imagined)
        ]
        picture = np.concatenate(rows, axis=0)
        album.add_picture(f"video_{number}", picture)
        caption = f"{clips.captions[n]}: real above, imagined below, {clips.seconds[frames[-1]]:.1f} s from left to right"
        wide = min(picture.shape[1], 960)
        parts.append(
            f'<div class="scroll">{page.captioned(page.image(charts.png_uri(picture), caption, wide), caption)}</div>'
        )
    film = comparison_film(clips.part([int(n) for n in order]), scale=1)
    moving = page.image(charts.gif_uri(film), "the same, moving", 2 * film.shape[2])
    parts.append(
        f'<div class="strip">{page.captioned(moving, "The same, moving. Top: real. Bottom: imagined.")}</div>'
    )
    metrics = clips.metrics
    rows_ = [
        (
            name,
            *(
                "–" if metrics[key][k] is None else f"{metrics[key][k]:.{d}f}"
                for k, d in (("psnr", 1), ("psnr_moved", 1), ("ssim", 3))
            ),
        )
        for key, name in (("imagined", "imagined"), ("repeat_keyframe", "repeat the first picture"))
    ]
    parts.append(page.table(("", "PSNR dB", "PSNR where it moved", "SSIM"), rows_))
    return page.section(
        "video",
        "What it imagines",
        f"From one look and the caption. With --policy.imagination={run.measured.imagination} its actions "
        + ("do not depend on this video." if run.measured.imagination == "none" else "depend on this video."),
        *parts,
    )


def _framed(picture: np.ndarray) -> np.ndarray:
    """With a thin white edge, so that neighbours stay apart."""
    return np.pad(picture, ((1, 1), (1, 1), (0, 0)), constant_values=255)


def _ends(run: Run, album: Album) -> str:
    if run.predicted_end is None or run.measured.remaining is None:
        return ""
    error, guess = run.measured.remaining
    figure = plots.remaining_figure(*run.predicted_end)
    drawing = f'<div style="max-width:24rem">{album.add("remaining", figure)}</div>'
    return page.section(
        "ends",
        "Does it know when an event ends?",
        f"Off by {error:.1f} frames on average; always guessing the middle would be off by {guess:.1f}. Points on the dotted line are "
        "right.",
        drawing,
    )


def _speed(run: Run, album: Album) -> str:
    m = run.measured
    if m.latency is None or m.match is None:
        return ""
    fps = m.match.control_fps
    holds = control_rate(m.latency, fps, t.ROOM)
    rows = [
        (name, f"{times.median:.1f} ms", f"{times.p99:.1f} ms", times.n)
        for name, times in (
            {f"look, imagination={k}": v for k, v in m.latency.looks.items()} | m.latency.ticks
        ).items()
    ]
    words = {True: "holds the rate", False: "does not hold the rate"}
    return page.section(
        "speed",
        "Is this machine quick enough?",
        f"At {fps:g} Hz, with {m.latency.steps_between_looks:g} actions between two looks and imagination={m.latency.imagination}: "
        f"looking between ticks (sync) {words[holds['sync']]}, looking in the background {words[holds['background']]}. "
        f"{100 * (1 - t.ROOM):.0f} % of the time is left to the servo bus and the cameras.",
        album.add("latency", plots.latency_figure(m.latency, fps)),
        page.table(("", "median", "99th percentile", "times"), rows),
    )


def _match(run: Run, album: Album) -> str:
    m = run.measured.match
    if m is None:
        return ""
    rows: list[tuple[object, ...]] = [
        (camera.name, _size(camera.trained), _size(camera.here)) for camera in m.cameras
    ]
    trained = "unknown" if m.trained_fps is None else f"{m.trained_fps:g}"
    rows.append(("frames a second of the data", trained, f"{m.data_fps:g}"))
    rows.append(("frames a second of the arm", "–", f"{m.control_fps:g}"))
    notes = [
        (m.names, "{}."),
        (", ".join(m.still), "Never moved in training: {}."),
        (", ".join(m.still_here), "Moved in training but stand still in these data: {}."),
        ("; ".join(m.unknown_captions[:5]), "Captions of a kind that training did not have: {}."),
    ]
    known = all(joint.trained is not None for joint in m.states)
    return page.section(
        "match",
        "Is it the same arm?",
        "Joints, units, cameras and clock of these data beside those that the checkpoint was trained on.",
        page.table(("", "in training", "here"), rows),
        "".join(f"<p>{page.text(form.format(value))}</p>" for value, form in notes if value),
        page.captioned(
            album.add("ranges_action", plots.ranges_figure(m.actions, run.measured.unit)), "Actions."
        ),
        page.captioned(
            album.add("ranges_state", plots.ranges_figure(m.states, run.measured.unit)),
            "States." if known else "States; the checkpoint does not say which it was trained on.",
        ),
    )


def _size(picture: tuple[int, int] | None) -> str:
    return "not there" if picture is None else f"{picture[1]} x {picture[0]}"


def _rules(verdict: Verdict) -> str:
    words = {"yes": "fine", "care": "care", "no": "no"}
    rows = [(finding.rule, words[finding.level], finding.text) for finding in verdict.findings]
    return page.section(
        "rules",
        "Every rule",
        "The worst of these is the verdict. Where each line is drawn is our choice, with reasons in "
        "lerobot_wallwm/check/thresholds.py.",
        page.table(("rule", "says", "because"), rows),
    )


def _how(
    policy: dict[str, Any],
    dataset: dict[str, Any],
    heldout: HeldOut,
    run: Run,
    command: str,
    machine: dict[str, Any],
) -> str:
    rows = [
        ("checkpoint", policy["path"]),
        ("its weights' SHA-256", policy["sha256"]),
        ("data", dataset["root"] or dataset["repo_id"]),
        ("robot that recorded them", heldout.meta.robot_type or "unknown"),
        ("frames", heldout.frames),
        ("observations", run.observations),
        *((name, "none" if value is None else value) for name, value in machine.items()),
    ]
    return page.section(
        "how",
        "How it was measured",
        "The figures are also in check.json and as PNG files beside this page.",
        f"<pre>{page.text(command)}</pre>",
        page.table(("", ""), rows),
    )
