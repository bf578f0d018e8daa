# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The charts and videos of the demo's report."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from lerobot_wallwm.check.page.charts import INK, PALETTE, new_axes, svg


def timeline(
    name: str,
    states: np.ndarray,
    joints: Sequence[str],
    events: Sequence[Mapping[str, Any]],
    fps: float,
    colour_of: Mapping[str, str],
) -> Markup:
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


def loss_curves(name: str, steps: Sequence[int], curves: Mapping[str, Sequence[float]]) -> Markup:
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
            # Plain numbers: this page's text knows no formulas. Those between powers of ten only where there is room.
            axis.yaxis.set_major_formatter("{x:g}")
            axis.yaxis.set_minor_formatter("{x:g}" if max(values) < 10 * min(values) else "")
    return svg(figure, name)


def action_chart(
    name: str, true: np.ndarray, predicted: np.ndarray, state: np.ndarray, joints: Sequence[str], fps: float
) -> Markup:
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


def bars(name: str, values: Mapping[str, float], unit: str) -> Markup:
    """Horizontal bars with their figures.

    Args:
        name: Unique on the page.
        values: Label to value.
        unit: Printed behind each value.
    """
    figure, (axis,) = new_axes(height=0.32 * len(values) + 0.2)
    labels = list(values)
    axis.barh(range(len(labels)), list(values.values()), color=PALETTE[0], height=0.62)
    axis.set_yticks(range(len(labels)), labels)
    axis.invert_yaxis()
    axis.set_xticks([])
    axis.spines["bottom"].set_visible(False)
    axis.set_xlim(0, max([*values.values(), 1e-9]) * 1.15)
    for row, value in enumerate(values.values()):
        axis.text(value, row, f" {value:.2f} {unit}", va="center", fontsize=8.5, color=INK)
    return svg(figure, name)


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each distinct name, in order of appearance."""
    distinct = list(dict.fromkeys(names))
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(distinct)}


def mp4_uri(source: str | Path | Sequence[np.ndarray] | np.ndarray, fps: float = 20) -> str:
    """A video as an MP4 data URI.

    Args:
        source: An MP4 file, or frames ``(H, W, 3)`` uint8 with even sides.
        fps: For frames.
    """
    if isinstance(source, str | Path):
        content = Path(source).read_bytes()
    else:
        import av

        sink = io.BytesIO()
        with av.open(sink, mode="w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=round(fps), options={"crf": "20"})
            stream.height, stream.width = source[0].shape[:2]
            stream.pix_fmt = "yuv420p"
            for frame in source:
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
                container.mux(stream.encode(picture))
            container.mux(stream.encode())
        content = sink.getvalue()
    return "data:video/mp4;base64," + base64.b64encode(content).decode()
