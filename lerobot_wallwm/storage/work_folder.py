# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Results of a long step, kept one by one beside the output, so that a killed run goes on where it was.

The folder `.<name>.work` appears with the first result. A run that ends, well or with an error, removes it; what a kill
leaves there is found by the next run. Each step has its own journal, named by the hash of all that its results depend on:
another source or other parameters make another journal, and an old one is never read by mistake.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from lerobot_wallwm.storage.fingerprint import fingerprint


class Journal:
    """Results by key in a file of lines, each `<crc32> <JSON>`; appended unbuffered, line by line.

    A kill can only cut the last line: reading stops at the first line that is not whole, and writing goes on from there.
    A result survives the death of the process at once, and that of the machine as far as its disk had got.

    Args:
        path: The file; made with the first `put`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._results: dict[str, Any] = {}
        self._file: IO[bytes] | None = None
        self._good = 0
        if path.is_file():
            for line in path.read_bytes().splitlines(keepends=True):
                entry = _parse(line)
                if entry is None:
                    break
                self._results[entry[0]] = entry[1]
                self._good += len(line)

    def __len__(self) -> int:
        return len(self._results)

    def __contains__(self, key: str) -> bool:
        return key in self._results

    def get(self, key: str) -> Any:
        """The result kept under a key, or None."""
        return self._results.get(key)

    def put(self, key: str, result: Any) -> None:
        """Keeps a result: plain JSON values. NaN and infinity survive, tuples come back as lists."""
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115 - open for as long as the journal
            self._file.truncate(self._good)
        body = json.dumps([key, result], ensure_ascii=True).encode()
        line = b"%08x %s\n" % (zlib.crc32(body), body)
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        self._results[key] = result

    def close(self) -> None:
        """Closes the file; `put` opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._good = self.path.stat().st_size


def _parse(line: bytes) -> tuple[str, Any] | None:
    if not line.endswith(b"\n") or line[8:9] != b" ":
        return None
    body = line[9:-1]
    if line[:8] != b"%08x" % zlib.crc32(body):
        return None
    key, result = json.loads(body)
    return key, result


class WorkFolder:
    """The journals of one output folder. Use it under the lock of `atomic_folder`.

    Args:
        root: The folder; see `work_folder`.
        source: Fingerprint of the source (`source_fingerprint`).
    """

    def __init__(self, root: Path, source: str) -> None:
        self.root, self.source = root, source
        self._open: list[Journal] = []

    def journal(self, step: str, parameters: Any) -> Journal:
        """The journal of a step whose results depend on the source and on `parameters` (plain JSON values)."""
        name = f"{step}-{fingerprint([self.source, step, parameters])[:16]}.jsonl"
        journal = Journal(self.root / name)
        self._open.append(journal)
        return journal

    def close(self) -> None:
        """Closes all journals."""
        for journal in self._open:
            journal.close()


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
def work_folder(out: str | Path, source: Path) -> Iterator[WorkFolder]:
    """Yields the work folder of the output `out` for a source dataset, with what a killed run left in it.

    Removed when the block ends, except by a kill, Ctrl-C included: then the next run goes on from there.
    """
    out = Path(os.path.abspath(out))
    root = out.with_name(f".{out.name}.work")
    work = WorkFolder(root, source_fingerprint(source))
    keep = False
    try:
        yield work
    except KeyboardInterrupt:
        keep = True
        raise
    finally:
        work.close()
        if not keep:
            shutil.rmtree(root, ignore_errors=True)
