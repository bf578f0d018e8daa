# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Writes every command's help and its commonest mistakes, with what it answers: python scripts/commands.py FILE.

The mistakes are made for real, in an empty folder and without a network.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_LEROBOT_HOME"] = os.environ["HF_HOME"] = tempfile.gettempdir() + "/wallwm_no_cache"

from lerobot_wallwm.cli import COMMANDS, USAGE, main  # noqa: E402

HEAD = """# Commands

What `wallwm` prints, and what it answers to the mistakes that are made most often. Every message names what is wrong and, behind
`Fix:`, what to type instead. This page is written by `python scripts/commands.py docs/start/commands.md`.
"""
NO_FOLDER = "--dataset.root=data/cups"
MISTAKES: dict[str, list[str]] = {
    "prepare": [
        "--out.root=data/events",
        f"{NO_FOLDER} --out.root=data/events",
        "--dataset.repo_id=me/cups --out.root=data/events",
        "--dataset.root=data/cups --out.root=data/events --clean=true",
        "--dataset.root=data/cups --out.root=data/events --levle=subtask",
    ],
    "sync": [
        "",
        "data/cups",
        "--dataset.repo_id=me/cups",
        "data/cups --synchronizer=0.1",
        "data/cups --quite=true",
    ],
    "recover": [
        "",
        NO_FOLDER,
        f"{NO_FOLDER} --radius=wide",
        f"{NO_FOLDER} --segmenter=0.2",
        f"{NO_FOLDER} --event=release",
    ],
    "verify": [
        "--view.root=data/events/train",
        "--source.root=data/cups --view.root=data/events/train",
        "--source=data/cups --view.root=data/events/train",
        "--source.root=data/cups --view.root=data/events/train --frames=rows",
        "data/events/train",
    ],
    "inspect": [
        "--out.root=page",
        f"{NO_FOLDER} --out.root=page",
        f"{NO_FOLDER} --out=page",
        f"{NO_FOLDER} --out.root=page --width=wide",
        f"{NO_FOLDER} --out.rot=page",
    ],
    "check": [
        f"{NO_FOLDER} --out=check",
        f"--policy.path=outputs/cups {NO_FOLDER} --out=check",
        f"--policy.path=outputs/cups {NO_FOLDER}",
        f"--policy=outputs/cups {NO_FOLDER} --out=check",
        f"--policy.path=outputs/cups {NO_FOLDER} --out=check --observations=3",
    ],
    "publish": [
        "",
        "--policy.path=outputs/cups",
        "--policy.path=outputs/cups --repo_id=me/cups",
        "--dataset.root=data/events/train",
        "--policy.path=outputs/cups --repo=me/cups",
    ],
    "pull": ["", "cups", "me/cups", "me/cups --revison=main", "me/cups --overwrite=2"],
}


def answer(words: list[str]) -> str:
    """What a command prints, without this machine's folders."""
    said, complained = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(complained),
        contextlib.suppress(SystemExit),
    ):
        main(words)
    text = (said.getvalue() + complained.getvalue()).strip()
    home = os.environ["HF_LEROBOT_HOME"]
    return text.replace(home, "~/.cache/huggingface/lerobot").replace(os.getcwd() + "/", "")


def page() -> str:
    """The page in Markdown."""
    parts = [HEAD, f"\n```text\n$ wallwm\n{USAGE}\n```\n"]
    for name, (_, does, _) in COMMANDS.items():
        parts.append(f"\n## wallwm {name}\n\n{does[0].upper()}{does[1:]}.\n")
        parts.append(f"\n```text\n$ wallwm {name} --help\n{answer([name, '--help'])}\n```\n")
        if name in MISTAKES:
            parts.append("\nCommon mistakes:\n\n```text\n")
            asked = [(words, answer([name, *words.split()])) for words in MISTAKES[name]]
            parts.append(
                "\n".join(f"$ wallwm {name} {words}".rstrip() + f"\n{said}\n" for words, said in asked)
            )
            parts.append("```\n")
    return "".join(parts)


if __name__ == "__main__":
    target = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as empty, contextlib.chdir(empty):
        text = page()
    target.write_text(text, encoding="utf-8")
