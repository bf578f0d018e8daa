# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The one error type for bad input: what is wrong, in which file, under which key, and how to mend it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


class DataError(ValueError):
    """Bad input data.

    Attributes:
        file: The file (or folder) that is at fault.
        key: The column, feature or field in it.
        problem: What is wrong, in one clause.
        fix: What the user can do about it.
    """

    def __init__(self, file: str | Path, key: str, problem: str, fix: str) -> None:
        self.file = str(file)
        self.key = key
        self.problem = problem
        self.fix = fix
        super().__init__(f"{self.file}: {key}: {problem}. Fix: {fix}")

    def __reduce__(self):
        # ValueError would be rebuilt from the joined message alone, which breaks in `datasets.map(num_proc=...)`.
        return (type(self), (self.file, self.key, self.problem, self.fix))


def check_fields(config: object, flag: str, must: str, allowed: Callable[[Any], bool], *names: str) -> None:
    """Refuses fields of a config whose value is not `allowed`, naming the flag: "--flag.name must be `must`".

    Without a flag the fields are the command's own: "--name must be `must`".
    """
    group = flag and f"{flag}."
    for name in names:
        value = getattr(config, name)
        if not allowed(value):
            raise ValueError(
                f"--{group}{name} must be {must}, got {value!r}. Fix: leave it out for the default"
            )
