# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The model card's sections about what was measured: errors, success, sensitivity, latency."""

from __future__ import annotations

from collections.abc import Sequence

from lerobot_wallwm.hub.card.check_report import CheckReport
from lerobot_wallwm.hub.card.evaluations import Evaluation
from lerobot_wallwm.hub.card.text import NOT_MEASURED, code_block, facts, number, section, shown
from lerobot_wallwm.hub.files.portable import portable_command, without_folders
from lerobot_wallwm.language.markdown import table

_NO_CHECK = [
    f"{NOT_MEASURED.capitalize()}: this checkpoint was published without a report of `wallwm check`.",
    "",
]


def held_out(report: CheckReport | None) -> list[str]:
    """Open-loop errors and imagined video on held-out episodes."""
    if report is None or (report.open_loop is None and report.video is None):
        return section("Held-out errors", list(_NO_CHECK) if report is None else [])
    lines: list[str] = []
    data, errors = report.dataset, report.open_loop
    if data is not None:
        counts = [
            f"{n} {what}"
            for what, n in (("episodes", data.episodes), ("events", data.events), ("frames", data.frames))
            if n is not None
        ]
        lines += [
            f"On {shown(data.repo_id or 'data without a name')}: {', '.join(counts) or 'not counted'}.",
            "",
        ]
    if errors is not None:
        unit = shown(errors.unit) if errors.unit else "unit not stated"
        lines += [
            f"Mean absolute error between predicted and recorded actions, from {errors.events or 'an unknown number of'} "
            f"events and {errors.observations or 'an unknown number of'} observations ({unit}).",
            "",
        ]
        header = ["", "just after the observation", "over the event"]
        rows = {"**this checkpoint**": errors.error, **{shown(n): e for n, e in errors.baselines.items()}}
        values = [
            [name, number(e.near if e else None), number(e.event if e else None)] for name, e in rows.items()
        ]
        lines += [*table(header, values), ""]
        if errors.by_joint:
            joints = [[shown(joint), number(value)] for joint, value in errors.by_joint.items()]
            lines += [*table(["joint", "error"], joints), ""]
    if report.video is not None:
        ours, still = number(report.video.psnr, 1), number(report.video.repeat_keyframe_psnr, 1)
        lines += [f"Imagined video, PSNR in dB: {ours}; repeating the first frame: {still}.", ""]
    else:
        lines += [f"Imagined video: {NOT_MEASURED}.", ""]
    if report.command:
        lines += ["Measured with", "", *code_block(portable_command(report.command))]
    return section("Held-out errors", lines)


def success(evaluations: Sequence[Evaluation]) -> list[str]:
    """Closed-loop successes with intervals."""
    if not evaluations:
        return section(
            "Success", [f"{NOT_MEASURED.capitalize()}: no evaluation in closed loop was given.", ""]
        )
    rows = []
    for e in evaluations:
        low, high = (100 * bound for bound in e.interval)
        share = 100 * e.successes / e.episodes
        rows.append(
            [
                shown(e.name),
                shown(e.task),
                f"{e.successes}/{e.episodes}",
                f"{share:.0f} %",
                f"{low:.0f} to {high:.0f} %",
            ]
        )
    head = ["evaluation", "task", "successes", "share", "95 % interval"]
    note = "Counted from the files that `lerobot-eval` wrote. Intervals are Wilson's; they say how few episodes these are."
    return section("Success", [*table(head, rows), "", note, ""])


def sensitivity(report: CheckReport | None) -> list[str]:
    """Whether the actions follow the inputs."""
    if report is None or report.sensitivity is None:
        return section("Sensitivity", list(_NO_CHECK) if report is None else [])
    s = report.sensitivity
    rows = {
        "other images": number(s.other_images),
        "another caption": number(s.other_caption),
        "another pose": number(s.other_state),
        "fresh noise": number(s.other_noise),
    }
    intro = "How far the actions move, in their own unit, when one input is exchanged for another episode's:"
    return section("Sensitivity", [intro, "", *facts(rows)])


def latency(report: CheckReport | None) -> list[str]:
    """Time to act, with the machine."""
    if report is None or not report.latency_ms:
        return section("Latency", list(_NO_CHECK) if report is None else [])
    head = ["imagination", "median ms", "p99 ms", "times"]
    rows = [
        [shown(kind), number(v.median, 1), number(v.p99, 1), str(v.n) if v.n is not None else NOT_MEASURED]
        for kind, v in report.latency_ms.items()
    ]
    lines = ["From one look at the cameras to the actions of an event.", "", *table(head, rows), ""]
    m = report.machine
    if m is None:
        return section("Latency", [*lines, "Machine: not stated.", ""])
    cores = f", {m.cores} cores" if m.cores is not None else ""
    rows_of_machine = {
        "device": shown(m.device or "not stated"),
        "processor": shown(m.cpu or "not stated") + cores,
        "graphics": shown(m.gpu or "none"),
        "software": shown(
            ", ".join(f"{n} {v}" for n, v in (("torch", m.torch), ("lerobot", m.lerobot)) if v) or "-"
        ),
    }
    return section("Latency", [*lines, *facts(rows_of_machine)])


def verdict(report: CheckReport | None) -> list[str]:
    """What `wallwm check` concluded."""
    if report is None or report.verdict is None or report.verdict.switch_on is None:
        return section("Should the arm be switched on?", list(_NO_CHECK) if report is None else [])
    says = "**no**" if not report.verdict.switch_on else "**yes**"
    if report.verdict.switch_on and report.verdict.level == "care":
        says = "**yes, with care**"
    reasons = [f"* {shown(without_folders(reason), 400)}" for reason in report.verdict.reasons]
    lines = [f"`wallwm check` said {says}, for the data and machine above:", "", *reasons, ""]
    return section("Should the arm be switched on?", lines)
