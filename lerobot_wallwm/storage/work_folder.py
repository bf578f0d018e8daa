# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Results of a long step, kept one by one beside the output, so that a killed run goes on where it was.

The folder `.<name>.work` appears with the first step. A run that ends, well or with an error, removes it; what a kill
leaves there is found by the next run. Each step has its own journal, named by the hash of all that its results depend on:
another source or other parameters make another journal, and an old one is never read by mistake.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lerobot_wallwm.storage.fingerprint import fingerprint
from lerobot_wallwm.storage.kept_results import KeptResults

# The journal of a step whose results depend on the source and on parameters (plain JSON values).
Journals = Callable[[str, Any], KeptResults]


def source_fingerprint(root: Path) -> str:
    """Hash of the names, sizes and times of all files of a dataset; no file is opened."""
    files = [
        [path.relative_to(root).as_posix(), path.stat().st_size, path.stat().st_mtime_ns]
        for folder in ("meta", "data", "videos", "images")
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
    ]
    return fingerprint(files)


@contextlib.contextmanager
def work_folder(out: str | Path, source: Path) -> Iterator[Journals]:
    """Yields the journals of the output `out` for a source dataset, with what a killed run left in them.

    Use it under the lock of `atomic_folder`. The folder is removed when the block ends, except by a kill, Ctrl-C included:
    then the next run goes on from there.
    """
    out = Path(os.path.abspath(out))
    root, of_source = out.with_name(f".{out.name}.work"), source_fingerprint(source)
    opened = contextlib.ExitStack()

    def journal(step: str, parameters: Any) -> KeptResults:
        name = f"{step}-{fingerprint([of_source, step, parameters])[:16]}.sqlite"
        return opened.enter_context(contextlib.closing(KeptResults(root / name, flush=False)))

    keep = False
    try:
        with opened:
            yield journal
    except KeyboardInterrupt:
        keep = True
        raise
    finally:
        if not keep:
            shutil.rmtree(root, ignore_errors=True)
