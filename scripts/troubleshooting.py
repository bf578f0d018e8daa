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
    "embodiment": "What an action is",
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


# Errors that take problem and fix as arguments, and where these stand.
STRUCTURED = {
    "DataError": (2, 3),
    "UnsafeCheckpointError": (1, 2),
    "WeightsError": (1, 2),
    "NotPortableError": (1, 2),
}


def argument(call: ast.Call, at: int, name: str, constants: dict[str, str]) -> str:
    """The text of an argument, by its place or its name; a constant of the module is looked up."""
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    node = call.args[at] if at < len(call.args) else given.get(name)
    if isinstance(node, ast.Name):
        return constants.get(node.id, "{" + node.id + "}")
    if isinstance(node, ast.IfExp):
        return " or ".join(text_of(part) for part in (node.body, node.orelse))
    return "" if node is None else text_of(node)


def messages(file: Path, constants: dict[str, str]) -> list[tuple[str, str]]:
    """What a module says and how to mend it, each once, in the order of the source; docstrings are left out."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    docs = {
        id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)
    }
    inside: set[int] = set()
    found: list[tuple[str, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in STRUCTURED:
            places = zip(STRUCTURED[node.func.id], ("problem", "fix"), strict=True)
            said, fix = (argument(node, at, name, constants) for at, name in places)
        elif isinstance(node, (ast.Constant, ast.JoinedStr, ast.BinOp)) and id(node) not in docs | inside:
            inside.update(id(child) for child in ast.walk(node))
            said, mark, fix = text_of(node).partition("Fix:")
            if not mark:
                continue
        else:
            continue
        entry = " ".join(said.split()), " ".join(fix.split())
        if all(entry) and entry not in found:
            found.append(entry)
    return found


def constants_of(package: Path) -> dict[str, str]:
    """Strings that modules name at their top, by that name."""
    return {
        target.id: text_of(node.value)
        for file in package.rglob("*.py")
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and text_of(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def page() -> str:
    """The page in Markdown."""
    rooms: dict[str, list[tuple[str, str]]] = {room: [] for room in ROOMS}
    constants = constants_of(PACKAGE)
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).parts
        room = parts[0] if len(parts) > 1 else ""
        rooms[room] += [entry for entry in messages(file, constants) if entry not in rooms[room]]
    lines = [INTRO]
    for room, title in ROOMS.items():
        if not rooms[room]:
            continue
        lines += [f"## {title}", "", "| it says | fix |", "|---|---|"]
        for entry in rooms[room]:
            said, fix = (part.strip(" .;").replace("|", "\\|").replace("<", "&lt;") for part in entry)
            lines.append(f"| {said} | {fix} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
