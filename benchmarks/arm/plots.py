# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Pictures of a run on an emulated arm: goals that the servos received, where the joints were, and the events.

    python benchmarks/arm_plots.py --run=outputs/arms/so101_follower

The folder is one that `rollout_on_emulator.py` wrote: ``journal.jsonl``, ``positions.jsonl``, ``calibration/arm.json``,
and, if the policy kept them, ``events.jsonl`` and ``safety.jsonl``.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emulated_arm.arms import ARMS, Arm
from emulated_arm.journal import read_journal

# Captions that get a lane of their own; later ones share the last.
MOST_CAPTIONS = 16


@dataclass
class Units:
    """From a servo's ticks to LeRobot's units, joint by joint: ``(ticks - zero) / scale``."""

    zero: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, arm: Arm, calibration: dict[str, dict]) -> Units:
        """From the arm's calibration, as LeRobot reads it."""
        zero, scale = [], []
        for joint in arm.joints:
            low, high = calibration[joint.name]["range_min"], calibration[joint.name]["range_max"]
            width = high - low
            each = {"degrees": 4095 / 360, "percent": width / 100, "signed_percent": width / 200}
            scale.append(each[joint.units])
            zero.append(low if joint.units == "percent" else (low + high) / 2)
        return cls(np.array(zero, float), np.array(scale, float))

    def from_ticks(self, ticks: np.ndarray) -> np.ndarray:
        """``(..., joints)`` ticks in LeRobot's units."""
        return (ticks - self.zero) / self.scale

    def to_ticks(self, values: np.ndarray) -> np.ndarray:
        """``(..., joints)`` LeRobot's units in ticks."""
        return values * self.scale + self.zero


def commands(journal: Path, joints: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Commands of all joints at once, as a sync write gives them.

    Args:
        journal: The emulator's.
        joints: How many there are.

    Returns:
        Times ``(T,)`` in seconds since 1970, of each command's first servo; ticks ``(T, joints)``; and whether each goal
        lay outside its servo's limits. A command that misses a servo is left out.
    """
    times, rows, outside = [], [], []
    row: dict[int, dict] = {}
    for goal in read_journal(journal, "goal"):
        if goal["id"] in row:
            row = {}
        row[goal["id"]] = goal
        if len(row) == joints:
            ordered = [row[i] for i in sorted(row)]
            times.append(ordered[0]["t"])
            rows.append([g["ticks"] for g in ordered])
            outside.append([g["outside"] for g in ordered])
            row = {}
    shape = (len(rows), joints)
    return (
        np.array(times),
        np.array(rows, float).reshape(shape),
        np.array(outside, bool).reshape(shape),
    )


def periods(times: np.ndarray, rate: float) -> dict[str, float]:
    """Figures of a control loop's beat, all in ms.

    Jitter is how far the time between two commands is from ``1 / rate``.
    """
    gaps = np.diff(times)
    off = np.abs(gaps - 1 / rate) * 1e3
    if not len(gaps):
        return {"commands": float(len(times))}
    return {
        "commands": float(len(times)),
        "seconds": float(times[-1] - times[0]),
        "rate_hz": float(len(gaps) / (times[-1] - times[0])),
        "jitter_p50_ms": float(np.quantile(off, 0.5)),
        "jitter_p99_ms": float(np.quantile(off, 0.99)),
        "jitter_max_ms": float(off.max()),
        "longest_gap_ms": float(gaps.max() * 1e3),
        "missed": float((np.maximum(np.round(gaps * rate), 1) - 1).sum()),
    }


def read_lines(path: Path) -> list[dict[str, Any]]:
    """JSON lines; none where there is no file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _draw_events(axis: Any, begins: list[dict[str, Any]], lanes: list[str], start: float, end: float) -> None:
    """A lane for each caption, and a bar for as long as its event lasted."""
    for event, until in zip(begins, [*(e["time"] for e in begins[1:]), end], strict=True):
        lane = lanes.index(event["caption"]) if event["caption"] in lanes else len(lanes) - 1
        axis.barh(lane, until - event["time"], left=event["time"] - start, height=0.7, color=f"C{lane % 10}")
    axis.set_yticks(range(len(lanes)), lanes, fontsize=7)
    axis.set_ylim(len(lanes) - 0.4, -0.6)
    axis.set_title(f"{len(begins)} events", fontsize=8, loc="left")


def draw(run: Path, picture: Path) -> None:
    """Draws all joints of a run.

    Raises:
        ValueError: The folder lacks a file; the message names it.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    for name in ("run.json", "journal.jsonl", "calibration/arm.json"):
        if not (run / name).is_file():
            raise ValueError(f"{run / name} is missing. Fix: run benchmarks/rollout_on_emulator.py first")
    facts = json.loads((run / "run.json").read_text())
    arm = ARMS[facts["arm"]]
    calibration = json.loads((run / "calibration" / "arm.json").read_text())
    units = Units.of(arm, calibration)
    times, ticks, _ = commands(run / "journal.jsonl", len(arm.joints))
    goals = units.from_ticks(ticks)
    positions = read_lines(run / "positions.jsonl")
    seen = np.array([p["t"] for p in positions])
    start = min([*times[:1], *seen[:1]])
    events = read_lines(run / "events.jsonl")
    guards = read_lines(run / "safety.jsonl")
    begins = [e for e in events if e["kind"] == "begin"]
    lanes = list(dict.fromkeys(e["caption"] for e in begins))[:MOST_CAPTIONS]
    rows = [max(0.6, 0.13 * len(lanes)), *[1.0] * (len(arm.joints) + 1)]
    figure, (above, *axes) = plt.subplots(
        len(rows), 1, figsize=(12, 2 * sum(rows)), sharex=True, layout="constrained", height_ratios=rows
    )
    _draw_events(above, begins, lanes, start, max([*times[-1:], *seen[-1:]], default=start))
    for index, joint in enumerate(arm.joints):
        axis = axes[index]
        entry = calibration[joint.name]
        ends = [
            units.from_ticks(np.full(len(arm.joints), entry[key]))[index]
            for key in ("range_min", "range_max")
        ]
        axis.axhspan(*ends, color="0.95", zorder=0)
        axis.plot(times - start, goals[:, index], lw=1, label="goal received by the servo")
        place = [p["position"][index] for p in positions]
        axis.plot(seen - start, place, lw=1, ls="--", label="position")
        axis.set_ylabel(joint.name)
        low, high = (f([*goals[:, index], *place]) for f in (min, max))
        axis.set_ylim(low - 0.1 * (high - low) - 1, high + 0.1 * (high - low) + 1)
    for kind, colour in zip(sorted({g["kind"] for g in guards}), plt.cm.tab10.colors, strict=False):
        moments = [g["time"] - start for g in guards if g["kind"] == kind]
        axes[-2].plot(
            moments,
            [1.0] * len(moments),
            "|",
            color=colour,
            label=f"guard: {kind}",
            transform=axes[-2].get_xaxis_transform(),
            clip_on=False,
        )
    axes[-1].plot((times - start)[1:], np.diff(times) * 1e3, lw=0.7)
    axes[-1].axhline(1e3 / facts["fps"], color="0.5", lw=0.7)
    axes[-1].set_ylabel("ms between\ncommands")
    axes[-1].set_xlabel("seconds")
    if len(times):  # the wait for LeRobot's start is of no interest
        axes[-1].set_xlim(times[0] - start - 1, times[-1] - start + 3)
    axes[1].legend(loc="upper right", fontsize=7)
    if guards:
        axes[-2].legend(loc="upper right", fontsize=7)
    figure.suptitle(f"lerobot-rollout, {facts['arm']} (emulated), units of LeRobot; grey: calibrated range")
    unfinished = picture.with_suffix(".partial.png")
    figure.savefig(unfinished, dpi=110)
    unfinished.rename(picture)
    plt.close(figure)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path, help="picture (default: RUN/plot.png)")
    options = parser.parse_args()
    picture = options.out or options.run / "plot.png"
    draw(options.run, picture)
    print(picture)


if __name__ == "__main__":
    main()
