# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What training learned from its data, as it lies in a checkpoint: `learned.json`, apart from what a person chose."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from lerobot_wallwm.hub.files.safe_files import TRUST, UnsafeCheckpointError, read_object

LEARNED = "learned.json"
# Measured as sizes of a movement, and not as places.
_SIZES = ("step", "lead", "acceleration")


@dataclass
class Learned:
    """Facts of the training data, and of the backbone that training started from."""

    # Frames per second; the unit of all counts of steps. None in a policy that was never trained.
    fps: float | None = None
    # Names of the action's dimensions, or None where the dataset has none.
    action_feature_names: list[str] | None = None
    state_feature_names: list[str] | None = None  # the same of the state's
    # The camera that each row of the view tables belongs to.
    camera_rows: list[str] = field(default_factory=list)
    # How events follow each other: context (``template`` or ``template || template``) -> next template -> count.
    event_transitions: dict[str, dict[str, int]] = field(default_factory=dict)
    event_max_frames: dict[str, int] = field(default_factory=dict)  # longest event per template, in frames
    # How the joints move, in the dataset's units; see `learn_motion_limits`.
    motion_limits: dict[str, list[float]] = field(default_factory=dict)
    # Numbers of the backbone's transformer, so that a checkpoint loads without it.
    backbone_shape: dict[str, int] = field(default_factory=dict)
    # Fingerprint of its umT5, so that a checkpoint acts without it on captions that it knows.
    text_encoder_id: str | None = None

    def check(self, where: str | Path = LEARNED) -> None:
        """Refuses values of another kind than training writes.

        Raises:
            UnsafeCheckpointError: Names file and key.
        """
        for name, (right, kind) in _KINDS.items():
            value = getattr(self, name)
            if not right(value):
                raise UnsafeCheckpointError(where, f"'{name}' must be {kind}, got {str(value)[:80]}.", TRUST)
        for name, values in self.motion_limits.items():
            least = 0.0 if name in _SIZES else -math.inf
            if not all(least <= value < math.inf and value > -math.inf for value in values):
                kind = "finite numbers of at least 0" if name in _SIZES else "finite numbers"
                raise UnsafeCheckpointError(
                    where, f"motion_limits['{name}'] must be {kind}, got {values}.", TRUST
                )

    def write(self, folder: Path) -> None:
        """Writes `learned.json` into a checkpoint's folder."""
        (folder / LEARNED).write_text(json.dumps(asdict(self), indent=4), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Learned:
        """Reads a checkpoint's `learned.json`, strictly.

        Raises:
            UnsafeCheckpointError: It is absent, too large or no JSON, or a key is unknown or of the wrong kind.
        """
        file = folder / LEARNED
        values = read_object(file)
        known = {f.name for f in fields(cls)}
        if values.keys() != known:
            wrong = ", ".join(sorted(values.keys() ^ known))
            fix = f"install the version that wrote it, or {TRUST}"
            raise UnsafeCheckpointError(
                file, f"has other keys than this version writes ({wrong[:200]}).", fix
            )
        learned = cls(**values)
        learned.check(file)
        return learned


def _strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _counts(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(k, str) and type(n) is int and 0 < n < 2**53 for k, n in value.items()
    )


def _numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(row, list) and all(type(x) in (int, float) for x in row) for row in value.values()
    )


_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "fps": (lambda v: v is None or (type(v) in (int, float) and 0 < v < 1e4), "a rate in Hz"),
    "action_feature_names": (lambda v: v is None or _strings(v), "a list of names"),
    "state_feature_names": (lambda v: v is None or _strings(v), "a list of names"),
    "camera_rows": (lambda v: _strings(v) and len(set(v)) == len(v), "a list of different names"),
    "event_transitions": (
        lambda v: isinstance(v, dict) and all(map(_counts, v.values())),
        "counts by template",
    ),
    "event_max_frames": (_counts, "frames by template"),
    "motion_limits": (_numbers, "lists of numbers by name"),
    "backbone_shape": (_counts, "whole numbers by name"),
    "text_encoder_id": (
        lambda v: v is None or (isinstance(v, str) and bool(re.fullmatch(r"[\w.:-]{1,128}", v))),
        "a fingerprint",
    ),
}
