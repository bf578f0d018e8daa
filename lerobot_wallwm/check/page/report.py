# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The page of a check: the verdict, why, and the pictures. One file that loads nothing from anywhere.

The page's words are in `check.html.jinja`; here are its figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from lerobot_wallwm.check import thresholds
from lerobot_wallwm.check.measure.errors import AROUND_S, NEAR
from lerobot_wallwm.check.measure.latency import control_rate
from lerobot_wallwm.check.measure.measure import Measured
from lerobot_wallwm.check.measure.video import Clips, comparison_film, side_by_side
from lerobot_wallwm.check.measure.views import HeldOut
from lerobot_wallwm.check.page import charts, plots
from lerobot_wallwm.check.page.plots import Album
from lerobot_wallwm.check.rules import Judgement

CLIPS_SHOWN = 4
SECTIONS = {
    "actions": "Actions",
    "errors": "Errors",
    "inputs": "Does it look?",
    "sight": "What it looks at",
    "video": "Video",
    "ends": "Ends",
    "speed": "Speed",
    "match": "The same arm?",
    "rules": "Rules",
    "how": "How",
}


def page_templates(*folders: Path) -> jinja2.Environment:
    """The pages' templates, and those of more folders; whatever a template inserts is escaped.

    Filters: ``digits(n)`` writes a number, or a dash for None; ``level`` is `_level`. Tests: ``finite``.
    """
    own = jinja2.PackageLoader("lerobot_wallwm.check", "page")
    templates = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.FileSystemLoader(folders), own]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["digits"] = lambda value, digits: "–" if value is None else f"{value:.{digits}f}"
    templates.tests["finite"] = isfinite
    templates.filters["level"] = _level
    return templates


def _level(value: float, care: float, bad: float) -> bool | str:
    """A figure that should be low, as a card's colour: true below ``care``, false above ``bad``, in between ``care``."""
    return value < care or ("care" if value <= bad else False)


def build_page(m: Measured, verdict: Judgement, heldout: HeldOut, album: Album, about: dict[str, Any]) -> str:
    """The page as HTML; its figures go into the album. ``about`` is the part of ``check.json`` that `results` takes."""
    figures = {}

    def draw(name: str, drawing: Any) -> None:
        figures[name] = album.add(name, drawing)

    episodes = [
        (episode, album.add(f"actions_{number}", plots.episode_figure(episode, heldout.joints, m.unit)))
        for number, episode in enumerate(m.shown, 1)
    ]
    if m.open_loop is not None:
        draw("errors", plots.errors_figure(m.open_loop, m.of_range, m.end))
        draw("errors_by_joint", plots.joints_figure(m.open_loop, heldout.joints, m.of_range))
        if m.open_loop.by_event:
            draw("errors_by_event", plots.kinds_figure(m.open_loop, m.of_range))
    if m.sensitivity is not None:
        draw("sensitivity", plots.sensitivity_figure(m.sensitivity, m.of_range))
    if m.sight is not None:
        draw("sight", plots.sight_figure(m.sight, m.of_range))
    clips = _clips(m.clips, album) if m.clips is not None and m.clips.metrics["frames"] else None
    if m.predicted_end is not None:
        draw("remaining", plots.remaining_figure(*m.predicted_end))
    speed = None
    if m.latency is not None and m.match is not None:
        fps = m.match.control_fps
        draw("latency", plots.latency_figure(m.latency, fps))
        look, holds = m.latency.looks[m.latency.imagination], control_rate(m.latency, fps, thresholds.ROOM)
        speed = {"look": look, "holds": holds}
    if m.match is not None:
        draw("ranges_action", plots.ranges_figure(m.match.actions, m.unit))
        draw("ranges_state", plots.ranges_figure(m.match.states, m.unit))
    there: dict[str, Any] = {
        "actions": episodes,
        "errors": m.open_loop,
        "inputs": m.sensitivity,
        "sight": m.sight,
        "video": clips,
    }
    there |= {"ends": m.predicted_end, "speed": speed, "match": m.match}
    navigation = [(name, label) for name, label in SECTIONS.items() if there.get(name, True)]
    shown: dict[str, Any] = {
        "m": m,
        "verdict": verdict,
        "heldout": heldout,
        "episodes": episodes,
        "figures": figures,
    }
    shown |= {
        "clips": clips,
        "speed": speed,
        "t": thresholds,
        "near": NEAR,
        "around": AROUND_S,
        "navigation": navigation,
    }
    return page_templates().get_template("check.html.jinja").render(**shown, **about)


def _clips(clips: Clips, album: Album) -> dict[str, Any]:
    """The clips that move most: each as a strip ``(data URI, width, caption)``, and all as a film."""
    moved = np.abs(clips.real.astype(np.int16) - clips.real[:, :, :1]).mean(axis=(1, 3, 4, 5))
    order = np.argsort(-(moved * clips.valid).max(axis=1), kind="stable")[:CLIPS_SHOWN]
    strips = []
    for number, n in enumerate(order, 1):
        frames = np.flatnonzero(clips.valid[n]).tolist()
        picture = np.concatenate([_strip(clips.real[n], frames), _strip(clips.imagined[n], frames)])
        album.add_picture(f"video_{number}", picture)
        seconds = clips.seconds[frames[-1]]
        caption = f"{clips.captions[n]}: real above, imagined below, {seconds:.1f} s from left to right"
        strips.append((charts.png_uri(picture), min(picture.shape[1], 960), caption))
    film = comparison_film(clips.part([int(n) for n in order]), scale=1)
    return {"strips": strips, "film": charts.gif_uri(film), "width": 2 * film.shape[2]}


def _strip(video: np.ndarray, frames: Sequence[int]) -> np.ndarray:
    """Frames of all cameras in a row, each with a thin white edge so that neighbours stay apart."""
    edge = ((1, 1), (1, 1), (0, 0))
    return np.concatenate(
        [np.pad(side_by_side(video[:, f]), edge, constant_values=255) for f in frames], axis=1
    )
