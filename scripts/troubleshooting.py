# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Writes docs/start/troubleshooting.md: every message of the package that names a fix, grouped by who says it.

python scripts/troubleshooting.py docs/start/troubleshooting.md
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "lerobot_wallwm"
INTRO = """<!-- Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0. -->

# Troubleshooting

Errors that you can mend say how, after `Fix:`. Search this page for the words of yours; `{...}` stands for a name or a number. The page is made from
the source by `make docs`.

An error without a `Fix:` and with a traceback is our fault: please report it.
"""
# Who says it, in the order in which one meets them.
ROOMS = {
    "processors": "wallwm prepare, verify, recover",
    "inspect": "wallwm inspect",
    "policies": "Training and acting",
    "check": "wallwm check",
    "hub": "wallwm publish, pull, and reading checkpoints",
    "language": "Captions and vision-language models",
    "storage": "Files and folders",
    "": "The command line",
}


def text_of(node: ast.AST) -> str:
    """The text of a string expression, with ``{name}`` for what is filled in."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(value) for value in node.values)
    if isinstance(node, ast.FormattedValue):
        inner = ast.unparse(node.value)
        return "{" + (inner if inner.isidentifier() else "...") + "}"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return text_of(node.left) + text_of(node.right)
    return ""


def messages(file: Path) -> list[str]:
    """Texts of a module that name a fix, each once, in the order of the source; docstrings are left out."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    docs = {
        id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)
    }
    inside: set[int] = set()
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.Constant, ast.JoinedStr, ast.BinOp)) and id(node) not in docs | inside:
            text = " ".join(text_of(node).split())
            inside.update(id(child) for child in ast.walk(node))
            if "Fix:" in text and not text.startswith("Fix:") and text not in found:
                found.append(text)
    return found


def page() -> str:
    """The page in Markdown."""
    rooms: dict[str, list[str]] = {room: [] for room in ROOMS}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).parts
        room = parts[0] if len(parts) > 1 else ""
        rooms[room] += [text for text in messages(file) if text not in rooms[room]]
    lines = [INTRO]
    for room, title in ROOMS.items():
        if not rooms[room]:
            continue
        lines += [f"## {title}", "", "| it says | fix |", "|---|---|"]
        for text in rooms[room]:
            said, _, fix = text.partition("Fix:")
            said, fix = (part.strip(" .;").replace("|", "\\|").replace("<", "&lt;") for part in (said, fix))
            lines.append(f"| {said} | {fix} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
