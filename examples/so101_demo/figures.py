# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The charts of the demo's report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lerobot_wallwm.check.page.charts import INK, PALETTE, new_axes, svg


def timeline(
    name: str,
    states: np.ndarray,
    joints: Sequence[str],
    events: Sequence[Mapping[str, Any]],
    fps: float,
    colour_of: Mapping[str, str],
) -> str:
    """Joint curves over time with the events as coloured bands.

    Args:
        name: Unique on the page.
        states: ``(T, D)``.
        joints: D names.
        events: With ``start``, ``end`` (frames) and ``label``.
        fps: Of the data.
        colour_of: Label to colour.
    """
    figure, (axis,) = new_axes(height=2.8)
    seconds = np.arange(len(states)) / fps
    for event in events:
        colour = colour_of[event["label"]]
        axis.axvspan(event["start"] / fps, event["end"] / fps, color=colour, alpha=0.22, linewidth=0)
        middle = (event["start"] + event["end"]) / 2 / fps
        axis.text(middle, 1.01, event["label"], transform=axis.get_xaxis_transform(), ha="center", fontsize=8)
    for d, joint in enumerate(joints):
        axis.plot(seconds, states[:, d], linewidth=1.2, label=joint, color=PALETTE[d % len(PALETTE)])
    axis.set_xlim(0, len(states) / fps)
    axis.set_xlabel("seconds")
    axis.set_ylabel("degrees (gripper 0 to 100)")
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return svg(figure, name)


def loss_curves(name: str, steps: Sequence[int], curves: Mapping[str, Sequence[float]]) -> str:
    """One small chart per loss, logarithmic.

    Args:
        name: Unique on the page.
        steps: Of each value.
        curves: Title to values.
    """
    figure, axes = new_axes(1, len(curves), height=2.3)
    for axis, (title, values) in zip(axes, curves.items(), strict=True):
        axis.plot(steps, values, color=PALETTE[0], linewidth=1.2, marker="o" if len(steps) < 4 else None)
        axis.set_title(title)
        axis.set_xlabel("step")
        if len(values) and min(values) > 0:
            axis.set_yscale("log")
    return svg(figure, name)


def action_chart(
    name: str, true: np.ndarray, predicted: np.ndarray, state: np.ndarray, joints: Sequence[str], fps: float
) -> str:
    """Predicted and recorded actions of one event, a panel per joint.

    Args:
        name: Unique on the page.
        true: ``(T, D)``.
        predicted: ``(T, D)``.
        state: ``(D,)`` observed at the keyframe, drawn as the pose that `hold` would keep.
        joints: D names.
        fps: Of the data.
    """
    columns = 3
    rows = -(-len(joints) // columns)
    figure, axes = new_axes(rows, columns, height=1.7 * rows, sharex=True)
    seconds = np.arange(len(true)) / fps
    for d, joint in enumerate(joints):
        axis = axes[d]
        axis.axhline(state[d], color=PALETTE[8], linewidth=0.8, linestyle=":", label="observed pose")
        axis.plot(seconds, true[:, d], color=PALETTE[0], linewidth=1.4, label="recorded")
        axis.plot(
            seconds, predicted[:, d], color=PALETTE[5], linewidth=1.4, linestyle="--", label="predicted"
        )
        axis.set_title(joint)
        # A joint that hardly moves should look so.
        low, high = axis.get_ylim()
        if high - low < 6:
            axis.set_ylim((low + high) / 2 - 3, (low + high) / 2 + 3)
    for axis in axes[len(joints) :]:
        axis.axis("off")
    axes[0].legend(loc="best")
    figure.supxlabel("seconds since the keyframe", fontsize=8, color=INK)
    return svg(figure, name)
