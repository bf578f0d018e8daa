# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Puts the page together: one file, no external resource, data as inert JSON that no markup can break out of."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any, TextIO

SCRIPTS = ("corrections.js", "store.js", "frames.js", "timeline.js", "list.js", "clusters.js", "app.js")


def safe_json(value: Any) -> str:
    """JSON for a script element: no `<`, `>`, `&` or line separator survives unescaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


def _asset(name: str) -> str:
    return (files("lerobot_wallwm.inspect") / "assets" / name).read_text(encoding="utf-8")


def write_page(path: Path, title: str, index: dict[str, Any], episodes: Iterable[dict[str, Any]]) -> int:
    """Writes the page, an episode at a time. Returns its size in bytes.

    The Content-Security-Policy allows this page's one script and one style by their hashes and nothing from outside.
    """
    script = "'use strict';(function(){\n" + "\n".join(_asset(name) for name in SCRIPTS) + "\n})();"
    style = _asset("page.css")
    hashes = {
        name: "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
        for name, text in (("script", script), ("style", style))
    }
    policy = (
        f"default-src 'none'; script-src {hashes['script']}; style-src {hashes['style']}; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    head, body = _asset("page.html").split("<!--DATA-->")
    head = (
        head.replace("{{title}}", html.escape(title))
        .replace("{{policy}}", policy)
        .replace("{{style}}", style)
    )

    def data(out: TextIO, name: str, value: Any) -> None:
        out.write(f'<script type="application/json" id="{name}">{safe_json(value)}</script>\n')

    with path.open("w", encoding="utf-8", newline="\n") as out:
        out.write(head)
        data(out, "index", index)
        out.write(f"<script>{script}</script>\n")  # before the episodes: the page works while they load
        for episode in episodes:
            data(out, f"episode-{episode['i']}", episode)
        out.write(body)
    return path.stat().st_size
