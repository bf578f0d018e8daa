# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Stages that are done once: each leaves a stamp with the fingerprint of what went into it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class StageResult:
    """What a stage left behind.

    Attributes:
        name: The stage.
        fingerprint: Of its inputs; feed it to the stages that build on this one.
        seconds: How long it took when it ran.
        reused: Whether this run found it done.
        values: What the stage's action returned (JSON types).
    """

    name: str
    fingerprint: str
    seconds: float
    reused: bool
    values: dict[str, Any]


class Stages:
    """Runs stages in order and skips those whose inputs have not changed.

    Args:
        root: Folder of the outputs; stamps go to ``<root>/stamps``.
        fresh: Forget earlier stamps.
        say: Prints a line.
    """

    def __init__(self, root: str | Path, fresh: bool = False, say: Callable[[str], None] = print):
        self.root = Path(root)
        self.say = say
        self.started = time.monotonic()
        self.results: list[StageResult] = []
        if fresh:
            shutil.rmtree(self.root / "stamps", ignore_errors=True)

    def run(
        self,
        name: str,
        inputs: Mapping[str, Any],
        outputs: Sequence[str | Path],
        action: Callable[[], dict[str, Any]],
        resumable: bool = False,
    ) -> StageResult:
        """Runs ``action`` unless a stamp says that it ran on these very inputs and its outputs are still there.

        Args:
            name: Names the stamp; letters, digits, - and _.
            inputs: JSON types; paths are given by `fingerprint_path`.
            outputs: Files or folders that the action makes. They are removed before it runs.
            action: Returns JSON-serialisable values, kept in the stamp.
            resumable: The action can go on from outputs of an interrupted run on the same inputs: keep those.
        """
        fingerprint = hashlib.sha256(json.dumps(inputs, sort_keys=True, default=str).encode()).hexdigest()[
            :16
        ]
        stamp = self.root / "stamps" / f"{name}.json"
        known = _read(stamp)
        same = known.get("fingerprint") == fingerprint
        if same and "values" in known and all(Path(path).exists() for path in outputs):
            result = StageResult(name, fingerprint, known["seconds"], True, known["values"])
            self.say(f"{self.clock()} {name}: done before ({known['seconds']:.0f} s), reused")
        else:
            if not (resumable and same):
                for path in outputs:
                    _remove(Path(path))
            # Without values: begun, not done.
            write_json(stamp, {"fingerprint": fingerprint})
            self.say(f"{self.clock()} {name}")
            began = time.monotonic()
            values = action()
            seconds = time.monotonic() - began
            write_json(stamp, {"fingerprint": fingerprint, "seconds": seconds, "values": values})
            # Through JSON, so that a first run and a second one hand on the same types.
            result = StageResult(name, fingerprint, seconds, False, json.loads(json.dumps(values)))
            self.say(f"{self.clock()} {name}: {seconds:.0f} s")
        self.results.append(result)
        return result

    def clock(self) -> str:
        """Time since the start, as ``[ 3:07]``."""
        seconds = int(time.monotonic() - self.started)
        return f"[{seconds // 60:2d}:{seconds % 60:02d}]"


def fingerprint_path(*paths: str | Path, suffixes: Sequence[str] = ()) -> str:
    """Hash of the names and contents of files and of all files below folders.

    Args:
        paths: Files or folders; a missing one counts as empty.
        suffixes: Only files that end so, for folders of source code.
    """
    digest = hashlib.sha256()
    for path in map(Path, paths):
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and (not suffixes or file.suffix in suffixes):
                digest.update(f"{file.relative_to(path.parent)}\0{file.stat().st_size}\0".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file; see `write_text`."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def write_text(path: Path, content: str) -> None:
    """Writes a text file; it appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    partial.write_text(content, encoding="utf-8")
    os.replace(partial, path)


def _read(stamp: Path) -> dict[str, Any]:
    try:
        return json.loads(stamp.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
