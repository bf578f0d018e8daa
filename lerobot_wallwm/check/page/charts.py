# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Charts as inline SVG that takes the page's text colour, and pictures as data URIs."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

# Okabe-Ito without black: distinguishable with colour-blind eyes, readable on light and on dark.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a7fd1", "#9a8c2c", "#7f7f7f")
# Stands for the page's text colour until the SVG is written.
INK = "#010203"


def new_axes(rows: int = 1, columns: int = 1, width: float = 9.0, height: float = 2.6, **kwargs: Any) -> Any:
    """A transparent matplotlib figure and its axes in the pages' style (always a flat list)."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    style: Any = {
        "svg.fonttype": "none",
        "text.parse_math": False,  # a caption with two dollar signs is no formula
        "font.family": "sans-serif",
        "font.size": 9,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6,
        "axes.titlesize": 9,
        "legend.frameon": False,
        "legend.fontsize": 8,
    }
    plt.rcParams.update(style)
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), layout="constrained", **kwargs)
    figure.patch.set_alpha(0)
    flat = list(np.atleast_1d(axes).flat)
    for axis in flat:
        axis.patch.set_alpha(0)
    return figure, flat


def svg(figure: Any, name: str) -> Markup:
    """A matplotlib figure as an inline ``<svg>`` that a template inserts as it is; the figure is closed afterwards.

    Args:
        figure: From `new_axes`.
        name: Unique on the page; ids inside an SVG are the whole page's.
    """
    import matplotlib.pyplot as plt

    sink = io.StringIO()
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(sink, format="svg", transparent=True)
    plt.close(figure)
    text = sink.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    # HTML knows SVG's namespaces by itself; without them the page holds no address at all.
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", text)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    return Markup(text.replace(INK, "currentColor"))  # matplotlib escapes the texts


def png_uri(image: np.ndarray) -> str:
    """An image ``(H, W, 3)`` uint8 as a PNG data URI."""
    from PIL import Image

    sink = io.BytesIO()
    Image.fromarray(image).save(sink, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(sink.getvalue()).decode()


def gif_uri(frames: Sequence[np.ndarray] | np.ndarray, fps: float = 5) -> str:
    """Frames ``(H, W, 3)`` uint8 as a looping GIF in a data URI, which moves by itself in every browser."""
    from PIL import Image

    pictures = [Image.fromarray(np.ascontiguousarray(frame)) for frame in frames]
    sink = io.BytesIO()
    rest = {"save_all": True, "append_images": pictures[1:], "duration": round(1000 / fps), "loop": 0}
    pictures[0].save(sink, format="GIF", **rest)
    return "data:image/gif;base64," + base64.b64encode(sink.getvalue()).decode()
