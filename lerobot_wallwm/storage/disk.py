# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Room on a disk: asked for before the work, and one clear error where it runs out all the same."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from lerobot_wallwm.storage.errors import DataError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def require_space(
    folder: str | Path,
    needed: int,
    parts: str = "",
    fix: str = "free some space, or choose a folder on another disk",
) -> None:
    """Raises DataError if the disk of `folder`, which need not exist yet, has less than so many bytes.

    ``parts`` says what they are for, ``fix`` what the user can do about it.
    """
    whole = Path(folder).absolute()
    free = shutil.disk_usage(next(path for path in (whole, *whole.parents) if path.exists())).free
    if free < needed:
        wanted = f"{readable_size(needed)} are needed{parts and f' ({parts})'}"
        problem = f"is {readable_size(free)}, but up to {wanted}; nothing was written"
        raise DataError(folder, "free space", problem, fix)


@contextlib.contextmanager
def full_disk_explained(out: str | Path) -> Iterator[None]:
    """Turns a full disk, a quota or a file size limit into a `DataError`. The block itself must remove what it wrote."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise DataError(
            out,
            "free space",
            f"ran out while writing ({os.strerror(error.errno)}); what was written is removed again",
            "free some space (or raise the quota or `ulimit -f`), or choose another --out.root, and start again",
        ) from error


def readable_size(size: float) -> str:
    """Bytes for a person, in units of 1000: `12 B`, `3.4 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
