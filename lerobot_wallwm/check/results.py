# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A check as `hub.card.check_report.CheckReport`, for other programs such as `wallwm publish`."""

from __future__ import annotations

from dataclasses import asdict
from math import isfinite
from typing import Any

from lerobot_wallwm.check import thresholds
from lerobot_wallwm.check.measure.latency import control_rate
from lerobot_wallwm.check.measure.measure import Measured
from lerobot_wallwm.check.measure.views import HeldOut
from lerobot_wallwm.check.rules import Judgement
from lerobot_wallwm.hub.card.check_report import FORMAT


def results(
    m: Measured, verdict: Judgement, heldout: HeldOut, about: dict[str, Any], figures: list[str]
) -> dict[str, Any]:
    """What ``check.json`` holds, for `write_check`, which rounds it and holds it against the schema.

    Args:
        m: What was measured.
        verdict: What the rules said.
        heldout: The data.
        about: ``policy``, ``dataset``, ``command`` and ``machine``, as the schema has them.
        figures: Names of the PNG files beside it.
    """
    result = m.open_loop
    events = len(heldout.events) if heldout.carved else None
    counts = {"episodes": len(heldout.sources), "events": events, "frames": heldout.frames}
    open_loop: dict[str, Any] = {"events": events, "observations": m.observations, "unit": m.of_range}
    if result is None:
        open_loop |= {"error": {}, "intervals": {}}
    else:
        by_joint = {name: error for name, error in result.by_joint.items() if isfinite(error)}
        open_loop |= {"error": result.error, "intervals": result.intervals, "baselines": result.baselines}
        open_loop |= {"by_joint": by_joint, "by_event": result.by_event, "joint_unit": m.unit}
        open_loop |= {"critical": result.critical}
    latency = {} if m.latency is None else m.latency.looks | m.latency.ticks
    return {
        **about,
        "format": FORMAT,
        "dataset": about["dataset"] | counts,
        "open_loop": open_loop,
        "video": _named(m.psnr, "psnr", "repeat_keyframe_psnr"),
        "sensitivity": None if m.sensitivity is None else m.sensitivity.change,
        "sight": None if m.sight is None else m.sight.summary(),
        "remaining": None if m.remaining is None else {"error_frames": m.remaining[0]},
        "latency_ms": {name: asdict(times) for name, times in latency.items()},
        "verdict": {"switch_on": verdict.switch_on, "level": verdict.level, "reasons": verdict.reasons},
        "figures": figures,
        "details": _details(m, verdict),
    }


def _details(m: Measured, verdict: Judgement) -> dict[str, Any]:
    """What the rules saw, beyond the fixed part."""
    details: dict[str, Any] = {
        "policy": m.policy,
        "rules": [asdict(finding) for finding in verdict.findings],
        "thresholds": {k: v for k, v in vars(thresholds).items() if k.isupper()},
        "load": _named(m.load, "processes", "cores"),
        "clamped_share": m.clamped,
        "first_step": _named(m.first_step, "predicted", "recorded"),
    }
    if m.open_loop is not None:
        details["error_against_holding"] = {
            reach: _named(against, "ratio", "interval") for reach, against in m.open_loop.against_hold.items()
        }
        details["hold_by_joint"] = m.open_loop.hold_by_joint
    if m.sensitivity is not None:
        details["sensitivity_of_recordings"] = m.sensitivity.natural
    if m.remaining is not None:
        details["remaining_guess_frames"] = m.remaining[1]
    if m.match is not None:
        details["match"] = asdict(m.match)
        if m.latency is not None:
            details["control_rate"] = {
                "fps": m.match.control_fps,
                "steps_between_looks": m.latency.steps_between_looks,
                **control_rate(m.latency, m.match.control_fps, thresholds.ROOM),
            }
    return {name: value for name, value in details.items() if value is not None}


def _named(values: tuple[Any, ...] | None, *names: str) -> dict[str, Any] | None:
    return None if values is None else dict(zip(names, values, strict=True))
