# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The SO-101 benchmark's results: a table in Markdown, a chart, JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lerobot_wallwm.hub.card.intervals import bootstrap_interval, wilson_interval

MILESTONES = ("reached", "grasped", "lifted", "above_target", "released", "retreated")
NONE_FAILED = "none"


def first_failing_phase(episode: Mapping[str, Any]) -> str:
    """The first milestone that an episode missed, or `NONE_FAILED`."""
    return next((name for name in MILESTONES if not episode[name]), NONE_FAILED)


def summarise(episodes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts, means and 95 % intervals of one policy on one split.

    Args:
        episodes: Lines of a progress log.

    Raises:
        ValueError: No episodes.
    """
    if not episodes:
        raise ValueError("no episodes to summarise. Fix: rerun the evaluation")
    successes = sum(bool(e["success"]) for e in episodes)
    progress = [float(e["task_progress"]) for e in episodes]
    failures = Counter(first_failing_phase(e) for e in episodes)
    return {
        "episodes": len(episodes),
        "successes": successes,
        "success_interval": wilson_interval(successes, len(episodes)),
        "progress": sum(progress) / len(progress),
        "progress_interval": bootstrap_interval(progress),
        "first_failing_phase": {name: failures.get(name, 0) for name in (*MILESTONES, NONE_FAILED)},
    }


def markdown(results: Mapping[str, Mapping[str, Any]], training: Mapping[str, Mapping[str, Any]]) -> str:
    """The tables.

    Args:
        results: ``"<policy>/<split>"`` to `summarise`'s answer.
        training: Policy to ``{"minutes", "steps", "samples", "parameters"}``.
    """
    lines = [
        "| policy | colour pairs | success | 95 % | Task Progress | 95 % |",
        "|---|---|---|---|---|---|",
    ]
    for key, row in results.items():
        policy, split = key.split("/")
        low, high = row["success_interval"]
        p_low, p_high = row["progress_interval"]
        lines.append(
            f"| {policy} | {split.replace('_', ' ')} | {row['successes']}/{row['episodes']} | "
            f"{100 * low:.0f} to {100 * high:.0f} % | {row['progress']:.1f} | {p_low:.1f} to {p_high:.1f} |"
        )
    names = [*MILESTONES, NONE_FAILED]
    lines += [
        "",
        "First phase that failed, in episodes:",
        "",
        "| policy | colour pairs | " + " | ".join(name.replace("_", " ") for name in names) + " |",
        "|---|---|" + "---|" * len(names),
    ]
    for key, row in results.items():
        policy, split = key.split("/")
        counts = " | ".join(str(row["first_failing_phase"][name]) for name in names)
        lines.append(f"| {policy} | {split.replace('_', ' ')} | {counts} |")
    lines += [
        "",
        "| policy | minutes in training steps | steps | samples | parameters |",
        "|---|---|---|---|---|",
    ]
    for policy, row in training.items():
        lines.append(
            f"| {policy} | {row['minutes']:.1f} | {row['steps']} | {row['samples']} | {row['parameters'] / 1e6:.1f} M |"
        )
    return "\n".join(lines) + "\n"


def chart(results: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Task Progress with intervals, and where episodes fail first, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    labels = [key.replace("/", "\n").replace("_", " ") for key in results]
    rows = list(results.values())
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    progress = [row["progress"] for row in rows]
    errors = [
        [row["progress"] - row["progress_interval"][0] for row in rows],
        [row["progress_interval"][1] - row["progress"] for row in rows],
    ]
    left.bar(labels, progress, yerr=errors, capsize=4, color="#0072b2")
    left.set_ylim(0, 100)
    left.set_title("Task Progress, mean and 95 % interval")
    bottom = [0.0] * len(rows)
    colours = ("#d55e00", "#e69f00", "#f0e442", "#56b4e9", "#0072b2", "#cc79a7", "#009e73")
    for name, colour in zip((*MILESTONES, NONE_FAILED), colours, strict=True):
        share = [row["first_failing_phase"][name] / row["episodes"] for row in rows]
        right.bar(labels, share, bottom=bottom, label=name.replace("_", " "), color=colour)
        bottom = [b + s for b, s in zip(bottom, share, strict=True)]
    right.set_title("First phase that failed, share of episodes")
    right.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)
    plt.close(figure)
