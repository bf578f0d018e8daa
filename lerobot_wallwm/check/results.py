# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""``check.json``: a check's figures for other programs, such as `wallwm publish`. Numbers that are unknown are null."""

from __future__ import annotations

import json
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

from lerobot_wallwm.check import thresholds
from lerobot_wallwm.check.measure.errors import OpenLoop
from lerobot_wallwm.check.measure.heldout_data import HeldOut
from lerobot_wallwm.check.measure.latency import control_rate
from lerobot_wallwm.check.measure.measure import Run
from lerobot_wallwm.check.measure.measured import Measured
from lerobot_wallwm.check.verdict import Verdict

FORMAT = "wallwm-check/1"


def results(
    run: Run,
    verdict: Verdict,
    heldout: HeldOut,
    policy: dict[str, Any],
    dataset: dict[str, Any],
    command: str,
    machine: dict[str, Any],
    figures: list[str],
) -> dict[str, Any]:
    """The content of ``check.json``.

    Args:
        run: What was measured.
        verdict: What the rules said.
        heldout: The data.
        policy: ``path`` as the user gave it, and ``sha256`` of its weights.
        dataset: ``repo_id`` and ``root`` as the user gave them.
        command: As it was typed.
        machine: From `machine.machine_facts`.
        figures: Names of the PNG files beside it.
    """
    m = run.measured
    counts = {
        "episodes": len(heldout.sources),
        "events": len(heldout.events) if heldout.carved else None,
        "frames": heldout.frames,
    }
    return _json(
        {
            "format": FORMAT,
            "policy": policy,
            "dataset": dataset | counts,
            "command": command,
            "machine": machine,
            "open_loop": _open_loop(m.open_loop, run.observations, counts["events"], m.unit),
            "video": None
            if m.psnr is None
            else dict(zip(("psnr", "repeat_keyframe_psnr"), m.psnr, strict=True)),
            "sensitivity": None if m.sensitivity is None else m.sensitivity.change,
            "remaining": None if m.remaining is None else {"error_frames": m.remaining[0]},
            "latency_ms": {}
            if m.latency is None
            else {name: asdict(times) for name, times in (m.latency.looks | m.latency.ticks).items()},
            "verdict": {"switch_on": verdict.switch_on, "level": verdict.level, "reasons": verdict.reasons},
            "figures": figures,
            "details": _details(m, verdict),
        }
    )


def _open_loop(result: OpenLoop | None, count: int, events: int | None, unit: str) -> dict[str, Any]:
    unknown: dict[str, Any] = {"near": None, "event": None}
    return {
        "events": events,
        "observations": count,
        "unit": unit,
        "error": unknown if result is None else result.error,
        "intervals": unknown if result is None else result.intervals,
        "baselines": {} if result is None else result.baselines,
        "by_joint": {} if result is None else {k: v for k, v in result.by_joint.items() if isfinite(v)},
        "by_event": {} if result is None else result.by_event,
    }


def _details(m: Measured, verdict: Verdict) -> dict[str, Any]:
    """What the rules saw, beyond the fixed part."""
    details: dict[str, Any] = {"rules": [asdict(finding) for finding in verdict.findings]}
    details["thresholds"] = {k: v for k, v in vars(thresholds).items() if k.isupper()}
    if m.open_loop is not None:
        details["error_against_holding"] = {
            reach: {"ratio": ratio, "interval": interval}
            for reach, (ratio, interval) in m.open_loop.against_hold.items()
        }
        details["hold_by_joint"] = m.open_loop.hold_by_joint
    if m.sensitivity is not None:
        details["sensitivity_of_recordings"] = m.sensitivity.natural
    if m.remaining is not None:
        details["remaining_guess_frames"] = m.remaining[1]
    if m.load is not None:
        details["load"] = dict(zip(("processes", "cores"), m.load, strict=True))
    if m.clamped is not None:
        details["clamped_share"] = m.clamped
    if m.first_step is not None:
        details["first_step"] = dict(zip(("predicted", "recorded"), m.first_step, strict=True))
    if m.match is not None:
        details["match"] = asdict(m.match)
        if m.latency is not None:
            details["control_rate"] = {
                "fps": m.match.control_fps,
                "steps_between_looks": m.latency.steps_between_looks,
                **control_rate(m.latency, m.match.control_fps, thresholds.ROOM),
            }
    return details


def _json(value: Any) -> Any:
    """Six digits are more than any figure here deserves; JSON has no NaN."""
    if isinstance(value, dict):
        return {str(key): _json(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_json(part) for part in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if isfinite(value) else None
    return value


def write_results(path: Path, content: dict[str, Any]) -> None:
    """Writes ``check.json``."""
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
