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
    """Refuses work that the disk of `folder` has no room for.

    Args:
        folder: Where it will be written; it need not exist yet.
        needed: Bytes, at most.
        parts: What they are for, for the message.
        fix: What the user can do about it.

    Raises:
        DataError: Less is free.
    """
    folder = Path(folder)
    free = shutil.disk_usage(_existing_parent(folder)).free
    if free < needed:
        raise DataError(
            folder,
            "free space",
            f"is {readable_size(free)}, but up to {readable_size(needed)} are needed{parts and f' ({parts})'}; "
            "nothing was written",
            fix,
        )


@contextlib.contextmanager
def full_disk_explained(out: str | Path) -> Iterator[None]:
    """Turns a full disk, a quota or a file size limit into a `DataError`. The block itself must remove what it wrote.

    Raises:
        DataError: The block met one of them.
    """
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


def _existing_parent(path: Path) -> Path:
    """`path`, or its nearest parent that exists."""
    return path if path.exists() else _existing_parent(path.absolute().parent)
