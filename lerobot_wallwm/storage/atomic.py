# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Files and folders that appear whole or not at all, even if the process is killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from lerobot_wallwm.storage.errors import DataError


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a temporary sibling to write, with the same suffix; renames it to `path` when the block ends without error.

    Threads and processes may replace the same file at once: one of them wins. Makes the folder where there is none.

    Example:
        with replacing(path) as partial:
            pq.write_table(table, partial)
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.partial-{os.getpid()}-{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Writes a file of UTF-8 text."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _refuse_existing(out: Path, overwrite: bool, marker: str, flag: str) -> None:
    if out.exists() and not overwrite:
        fix = f"choose another {flag}, or pass --overwrite=true"
        raise FileExistsError(f"{out}: the output folder exists. Fix: {fix}")
    if out.exists() and not ((out / marker).is_file() or (out.is_dir() and not any(out.iterdir()))):
        raise FileExistsError(
            f"{out}: holds no {marker}, so it is not an earlier output and --overwrite=true will not delete it. "
            f"Fix: choose another {flag}, or remove the folder yourself"
        )


@contextlib.contextmanager
def atomic_folder(
    out: str | Path, *, overwrite: bool = False, marker: str = "summary.json", flag: str = "--out.root"
) -> Iterator[Path]:
    """Yields a temporary sibling `.<name>.partial-<pid>`; renames it to `out` when the block ends without error.

    A lock beside it keeps two runs apart. The lock dies with its process, so what a killed run left is removed here.

    Args:
        out: The folder to make.
        overwrite: Replace an existing `out`, provided it holds `marker`, i.e. was made by the same command.
        marker: A file that every finished output has.
        flag: That the folder was named by, for messages.

    Raises:
        FileExistsError: If `out` exists and `overwrite` is off, or `out` does not look like such an output.
        BlockingIOError: If another process is writing the same `out`.
        DataError: If nothing can be written there.
    """
    import filelock

    out = Path(os.path.abspath(out))
    lock_path = out.with_name(f".{out.name}.lock")
    lock = filelock.FileLock(lock_path)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except OSError as error:
        if isinstance(error, filelock.Timeout) and lock_path.exists():
            problem = f"another process is writing it ({lock_path})"
            raise BlockingIOError(f"{out}: {problem}. Fix: wait for it to end") from error
        why = error.strerror or "no file can be written beside it"
        raise DataError(out, "folder", f"cannot be made ({why})", f"choose another {flag}") from error
    try:
        for leftover in sorted(out.parent.glob(f".{out.name}.partial-*")):
            # A run killed between its two renames has moved the old output aside and not put the new one there.
            if ".partial-old-" in leftover.name and not out.exists():
                os.replace(leftover, out)
            else:
                shutil.rmtree(leftover)
        _refuse_existing(out, overwrite, marker, flag)
        partial = out.with_name(f".{out.name}.partial-{os.getpid()}")
        partial.mkdir()
        try:
            yield partial
            if out.exists():
                # The old output goes aside first: a rename cannot replace a folder that is not empty.
                aside = out.with_name(f".{out.name}.partial-old-{os.getpid()}")
                os.replace(out, aside)
                os.replace(partial, out)
                shutil.rmtree(aside)
            else:
                os.replace(partial, out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    finally:
        lock_path.unlink(missing_ok=True)
        lock.release()
