# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The figures of a check, each as a PNG beside the page and as SVG in it.

Shapes: T frames of an episode, D joints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from lerobot_wallwm.check.measure.errors import HOLD, NEAR, OpenLoopErrors
from lerobot_wallwm.check.measure.latency import Timings
from lerobot_wallwm.check.measure.match import JointRange
from lerobot_wallwm.check.measure.observations import WholeEpisode
from lerobot_wallwm.check.measure.sight import (
    CAPTION,
    HOLD as STILL,
    IMAGES,
    NOISE,
    OWN,
    STATE,
    InputChanges,
    Sight,
)
from lerobot_wallwm.check.page.charts import INK, PALETTE, new_axes, svg

BLUE, ORANGE, GREY = PALETTE[0], PALETTE[5], PALETTE[8]
# Colours of neighbouring looks, so that one can tell where a new one begins.
LOOKS = (PALETTE[5], PALETTE[2])
DPI = 110


class Album:
    """Writes figures into a folder as PNG files, and keeps their names in order."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.names: list[str] = []

    def add(self, name: str, figure: Any) -> Markup:
        """Writes ``<name>.png`` and returns the figure as inline SVG."""
        figure.savefig(self.folder / f"{name}.png", dpi=DPI, facecolor="white")
        self.names.append(f"{name}.png")
        figure.set_layout_engine("none")  # laid out once is enough
        return svg(figure, name)

    def add_picture(self, name: str, pixels: np.ndarray) -> None:
        """Writes ``(H, W, 3)`` uint8 as ``<name>.png``."""
        from PIL import Image

        Image.fromarray(pixels).save(self.folder / f"{name}.png", optimize=True)
        self.names.append(f"{name}.png")


def episode_figure(episode: WholeEpisode, joints: Sequence[str], unit: str) -> Any:
    """A panel per joint: what was recorded, and what each look would have done."""
    figure, axes = new_axes(len(joints), 1, width=10.0, height=0.5 + 1.05 * len(joints), sharex=True)
    seconds = np.arange(len(episode.true)) / episode.fps
    for d, (axis, joint) in enumerate(zip(axes, joints, strict=True)):
        for k, (start, end, _) in enumerate(episode.events):
            if k % 2:
                axis.axvspan(start / episode.fps, end / episode.fps, color=GREY, alpha=0.12, linewidth=0)
            if k:
                axis.axvline(start / episode.fps, color=GREY, linewidth=0.6)
        axis.plot(seconds, episode.true[:, d], color=BLUE, linewidth=2.4, alpha=0.75, label="recorded")
        for k, (frame, actions) in enumerate(episode.looks):
            at = (frame + np.arange(len(actions))) / episode.fps
            colour = LOOKS[k % 2]
            axis.plot(at, actions[:, d], color=colour, linewidth=1.1, label=f"look {k}")
            axis.plot(at[:1], actions[:1, d], color=colour, marker="o", markersize=2.6)
        axis.set_ylabel(joint, rotation=0, ha="right", va="center")
        if unit.startswith("degrees"):
            _at_least(axis, 6.0)
    above = {"transform": axes[0].get_xaxis_transform(), "ha": "center", "fontsize": 8, "color": INK}
    for k, (start, end, kind) in enumerate(episode.events):
        if kind:
            axes[0].text((start + end) / 2 / episode.fps, 1.04 + 0.14 * (k % 2), kind, **above)
    axes[0].set_xlim(0, len(episode.true) / episode.fps)
    axes[-1].set_xlabel(f"seconds   ({unit})")
    from matplotlib.legend_handler import HandlerTuple

    drawn = {line.get_label(): line for line in axes[0].get_lines()}
    looks = tuple(drawn[name] for name in ("look 0", "look 1") if name in drawn)
    handles, labels = (
        [drawn["recorded"], looks],
        ["recorded", "predicted, one line per look, colours in turn"],
    )
    figure.legend(
        handles, labels, loc="outside lower left", ncols=2, handler_map={tuple: HandlerTuple(ndivide=None)}
    )
    return figure


def _at_least(axis: Any, span: float) -> None:
    """A joint that hardly moves should look so."""
    low, high = axis.get_ylim()
    if np.isfinite([low, high]).all() and high - low < span:
        axis.set_ylim((low + high - span) / 2, (low + high + span) / 2)


def _grouped(
    groups: Sequence[str],
    series: Mapping[str, Sequence[float]],
    unit: str,
    intervals: Sequence[tuple[float, float] | None] | None = None,
) -> Any:
    """Horizontal bars for each group, one of each series where its value is known; ``intervals`` are the first series'."""
    rows = len(series)
    figure, (axis,) = new_axes(height=0.7 + len(groups) * (0.15 + 0.2 * rows))
    size = 0.8 / rows
    colours = (ORANGE, GREY, PALETTE[4], PALETTE[1])
    ends = [high for _, high in filter(None, intervals or [])]
    most = max([v for values in series.values() for v in values if np.isfinite(v)] + ends + [1e-9])
    for k, (name, values) in enumerate(series.items()):
        at = np.arange(len(groups)) + (k - (rows - 1) / 2) * size
        axis.barh(at, np.nan_to_num(values), color=colours[k % len(colours)], height=size * 0.9, label=name)
        for group, (row, value) in enumerate(zip(at, values, strict=True)):
            if not np.isfinite(value):
                continue
            end, interval = value, intervals[group] if intervals and k == 0 else None
            if interval is not None:
                axis.plot(interval, (row, row), color=INK, linewidth=1.0, marker="|", markersize=5)
                end = max(interval[1], value)
            axis.text(end + 0.006 * most, row, _short(value), va="center", fontsize=7.5, color=INK)
    axis.set_yticks(range(len(groups)), groups)
    axis.invert_yaxis()
    axis.set_xlim(0, most * 1.12)
    axis.set_xlabel(f"mean absolute error ({unit})")
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _short(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 or value == 0 else f"{value:.2g}"


def errors_figure(result: OpenLoopErrors, unit: str, end: str) -> Any:
    """Near and event error of the policy beside the baselines, with the policy's interval; ``end`` is of the longer reach."""
    reaches = ("near", "event")
    series = {"this policy": [result.error[r] for r in reaches]}
    series |= {name: [errors[r] for r in reaches] for name, errors in result.baselines.items()}
    groups = [f"next {NEAR} steps", f"to the {end}"]
    intervals: list[tuple[float, float] | None] = [result.intervals[reach] for reach in reaches]
    for name, near in result.critical.items():
        groups.append(f"around a {name}")
        intervals.append(None)
        for baseline, values in series.items():
            values.append({"this policy": near["error"], HOLD: near["hold"]}.get(baseline, np.nan))
    return _grouped(groups, series, unit, intervals)


def joints_figure(result: OpenLoopErrors, joints: Sequence[str], unit: str) -> Any:
    """Error of each joint as a part of its range, beside holding the pose; the numbers are in the dataset's units."""
    own, still = ([by[name] for name in joints] for by in (result.by_joint, result.hold_by_joint))
    size = np.ones(len(joints)) if result.scale is None else np.nan_to_num(result.scale, nan=np.inf)
    names = [f"{name}  {_short(error)}" for name, error in zip(joints, own, strict=True)]
    return _grouped(names, {"this policy": list(own / size), HOLD: list(still / size)}, unit)


def kinds_figure(result: OpenLoopErrors, unit: str) -> Any:
    """Error of each kind of event beside holding the pose."""
    rows = result.by_event
    own, still = ([row[name] for row in rows.values()] for name in ("event", "hold_event"))
    names = [f"{kind} ({row['observations']:.0f})" for kind, row in rows.items()]
    return _grouped(names, {"this policy": own, HOLD: still}, unit)


def sensitivity_figure(result: InputChanges, unit: str) -> Any:
    """Change by each exchanged input, and what the recordings of the same pairs differ by."""
    labels = {IMAGES: "other images", CAPTION: "another caption", STATE: "another pose", NOISE: "fresh noise"}
    shown = [name for name in labels if np.isfinite(result.change[name])]
    series = {
        "change of this policy's actions": result.change,
        "difference of the recordings": result.natural,
    }
    bars = {label: [values[name] for name in shown] for label, values in series.items()}
    figure = _grouped([labels[name] for name in shown], bars, unit)
    figure.axes[0].set_xlabel(f"mean absolute change ({unit})")
    return figure


def sight_figure(sight: Sight, unit: str) -> Any:
    """Error at the end of events by what was exchanged, beside those with its own inputs and of holding the pose."""
    values = {name: sight.mean(name) for name in sight.ends}
    figure = _grouped(list(values), {"error": list(values.values())}, unit)
    axis = figure.axes[0]
    for name, colour in ((OWN, BLUE), (STILL, GREY)):
        axis.axvline(values[name], color=colour, linewidth=1.0, linestyle=":", label=name)
    axis.set_xlabel(f"mean absolute error at the event's end, gripper left out ({unit})")
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def latency_figure(latency: Timings, fps: float) -> Any:
    """Milliseconds of looks and ticks beside the time that the control rate leaves."""
    rows = latency.named()
    times = {"median": [r.median for r in rows.values()], "99 of 100 below": [r.p99 for r in rows.values()]}
    figure = _grouped(list(rows), times, "")
    axis, tick = figure.axes[0], 1000 / fps
    axis.axvline(tick, color=BLUE, linewidth=1.4, label=f"one tick at {fps:g} Hz")
    axis.set_xlim(0, max(axis.get_xlim()[1], 1.12 * tick))
    axis.set_xlabel("milliseconds")
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def remaining_figure(predicted: np.ndarray, true: np.ndarray) -> Any:
    """Predicted against true frames to the event's end."""
    figure, (axis,) = new_axes(width=4.2, height=3.4)
    most = float(max(true.max(), np.nanmax(predicted, initial=0))) * 1.05
    axis.plot((0, most), (0, most), color=GREY, linewidth=0.8, linestyle=":")
    axis.scatter(true, predicted, s=10, color=BLUE, alpha=0.6, linewidths=0)
    axis.set_xlim(0, most)
    axis.set_ylim(0, most)
    axis.set_xlabel("frames to the event's end")
    axis.set_ylabel("predicted")
    return figure


def ranges_figure(joints: Sequence[JointRange], unit: str) -> Any:
    """Where each joint was in training, and where it is in the data."""
    figure, (axis,) = new_axes(height=0.75 + 0.3 * len(joints))
    for row, joint in enumerate(joints):
        if joint.trained is not None:
            axis.plot(joint.trained, (row, row), color=GREY, linewidth=9, alpha=0.45, solid_capstyle="butt")
        colour = ORANGE if joint.outside > 0 else BLUE
        axis.plot(joint.here, (row, row), color=colour, linewidth=3, solid_capstyle="butt")
    axis.set_yticks(range(len(joints)), [joint.name for joint in joints])
    axis.invert_yaxis()
    axis.set_xlabel(
        f"broad: training data; narrow: this data, orange where some of it lies outside   ({unit})"
    )
    return figure
