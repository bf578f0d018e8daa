# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The ablation's table: means over seeds, spreads, and how sure a difference from the base is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import mean, stdev
from typing import Any

Figure = Callable[[Mapping[str, Any]], float]

COLUMNS: dict[str, Figure] = {
    "action, near": lambda run: run["actions"]["none"]["near"],
    "action, event": lambda run: run["actions"]["none"]["event"],
    "PSNR": lambda run: run["video"]["imagined"]["psnr"],
    "PSNR, moved": lambda run: run["video"]["imagined"]["psnr_moved"],
    "SSIM": lambda run: run["video"]["imagined"]["ssim"],
    "s a step": lambda run: run["seconds"] / run["steps"],
}


def spread(values: Sequence[float]) -> str:
    """``mean ± standard deviation``; the mean alone for a single run."""
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def paired(values: Mapping[int, float], base: Mapping[int, float]) -> str:
    """Difference from the base, seed by seed: mean, and in how many seeds it has that sign."""
    seeds = sorted(set(values) & set(base))
    if not seeds:
        return ""
    differences = [values[seed] - base[seed] for seed in seeds]
    middle = mean(differences)
    agree = sum((d > 0) == (middle > 0) for d in differences)
    return f"{middle:+.3f} ({agree}/{len(seeds)})"


def table(runs: Sequence[Mapping[str, Any]], names: Sequence[str], base: str = "base") -> str:
    """A Markdown table of all variants, and one of the base's imaginations."""
    by_name: dict[str, dict[int, Mapping[str, Any]]] = {}
    for run in runs:
        by_name.setdefault(run["variant"], {})[run["seed"]] = run
    lines = [
        "| variant | " + " | ".join(COLUMNS) + " | near, against base |",
        "|---|" + "---|" * (len(COLUMNS) + 1),
    ]
    for name in names:
        seeds = by_name.get(name)
        if not seeds:
            continue
        cells = [spread([figure(run) for run in seeds.values()]) for figure in COLUMNS.values()]
        near = COLUMNS["action, near"]
        reference = {seed: near(run) for seed, run in by_name.get(base, {}).items()}
        difference = (
            "" if name == base else paired({seed: near(run) for seed, run in seeds.items()}, reference)
        )
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {difference} |")
    lines += [
        "",
        f"| imagination of {base} | action, near | action, event |",
        "|---|---|---|",
    ]
    everyone = list(by_name.get(base, {}).values())
    for imagination in everyone[0]["actions"] if everyone else ():
        near, event = (
            spread([run["actions"][imagination][key] for run in everyone]) for key in ("near", "event")
        )
        lines.append(f"| {imagination} | {near} | {event} |")
    still = [run["video"]["repeat_keyframe"] for run in runs]
    if still:
        lines += [
            "",
            f"Repeating the keyframe: PSNR {mean(s['psnr'] for s in still):.2f} dB, of moved pixels "
            f"{mean(s['psnr_moved'] for s in still):.2f} dB, SSIM {mean(s['ssim'] for s in still):.3f}.",
        ]
    return "\n".join(lines)
