# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Puts the page together: one file, no external resource, data as inert JSON that no markup can break out of."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

SCRIPTS = ("corrections.js", "store.js", "frames.js", "timeline.js", "list.js", "clusters.js", "app.js")
ASSETS = Path(__file__).parent / "assets"


def safe_json(value: Any) -> Markup:
    """JSON for a script element: no `<`, `>`, `&` or line separator survives unescaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return Markup(text)


def write_page(path: Path, title: str, index: dict[str, Any], episodes: Iterable[dict[str, Any]]) -> int:
    """Writes the page, an episode at a time. Returns its size in bytes.

    The Content-Security-Policy allows this page's one script and one style by their hashes and nothing from outside.
    """
    style, *parts = (Markup((ASSETS / name).read_text(encoding="utf-8")) for name in ("page.css", *SCRIPTS))
    script = Markup("'use strict';(function(){\n%s\n})();") % Markup("\n").join(parts)
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (script, style)]
    policy = (
        f"default-src 'none'; script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    pages = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS), autoescape=True, trim_blocks=True, keep_trailing_newline=True
    )
    content = pages.get_template("page.html.jinja").stream(
        title=title,
        policy=Markup(policy),
        style=style,
        script=script,
        index=safe_json(index),
        episodes=((episode["i"], safe_json(episode)) for episode in episodes),
    )
    content.dump(str(path), encoding="utf-8")
    return path.stat().st_size
