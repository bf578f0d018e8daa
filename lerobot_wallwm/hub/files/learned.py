# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What training learned from its data, as it lies in a checkpoint: `learned.json`, apart from what a person chose."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from lerobot_wallwm.embodiment.description import Embodiment
from lerobot_wallwm.hub.files.safe_files import TRUST, UnsafeCheckpointError, read_object
from lerobot_wallwm.hub.files.safe_settings import LEARNED

# Measured as sizes of a movement, and not as places.
_SIZES = ("step", "lead", "acceleration")


def _different(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("names must differ")
    return names


def _sized(limits: dict[str, list[float]]) -> dict[str, list[float]]:
    if any(value < 0 for name in _SIZES for value in limits.get(name, ())):
        raise ValueError(f"{', '.join(_SIZES)} must be at least 0")
    return limits


Rate = Annotated[float, Field(gt=0, lt=1e4)]
Counts = dict[str, Annotated[int, Field(gt=0, lt=2**53)]]
Limits = Annotated[dict[str, list[Annotated[float, Field(allow_inf_nan=False)]]], AfterValidator(_sized)]
Fingerprint = Annotated[str, Field(pattern=r"^[\w.:-]{1,128}$")]


@dataclass
class Learned:
    """Facts of the training data, and of the backbone that training started from."""

    # Frames per second; the unit of all counts of steps. None in a policy that was never trained.
    fps: Rate | None = None
    # Names of the action's dimensions, or None where the dataset has none.
    action_feature_names: list[str] | None = None
    state_feature_names: list[str] | None = None  # the same of the state's
    # What each dimension of action and state is; None in a checkpoint from before there was such a description.
    embodiment: Embodiment | None = None
    # The camera that each row of the view tables belongs to.
    camera_rows: Annotated[list[str], AfterValidator(_different)] = field(default_factory=list)
    # How events follow each other: context (``template`` or ``template || template``) -> next template -> count.
    event_transitions: dict[str, Counts] = field(default_factory=dict)
    event_max_frames: Counts = field(default_factory=dict)  # longest event per template, in frames
    # Slots of the tasks whose sentence alone does not give them: set by hand, or kept whole.
    instructions: dict[str, dict[str, str]] = field(default_factory=dict)
    # How the joints move, in the dataset's units; see `learn_motion_limits`.
    motion_limits: Limits = field(default_factory=dict)
    # How far grippers stay from their commands where an event ends with something in them; see `learn_holds`.
    holds: Limits = field(default_factory=dict)
    # Numbers of the backbone's transformer, so that a checkpoint loads without it.
    backbone_shape: Counts = field(default_factory=dict)
    # Fingerprint of its umT5, so that a checkpoint acts without it on captions that it knows.
    text_encoder_id: Fingerprint | None = None
    # Whether landmarks and words have learned where things lie; a training that goes on from there lets them be.
    eye_taught: bool = False
    # Training stages so far, in order.
    stages: list[str] = field(default_factory=list)
    # What the language half can say.
    words: list[str] = field(default_factory=list)

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
        wrong_keys = (values.keys() ^ known) - {
            "embodiment",
            "holds",
            "instructions",
        }  # which earlier versions did not write
        if wrong_keys:
            wrong = ", ".join(sorted(wrong_keys))
            problem = f"has other keys than this version writes ({wrong[:200]})."
            raise UnsafeCheckpointError(file, problem, f"install the version that wrote it, or {TRUST}")
        try:
            # From JSON text, so that strict mode takes an object for the dataclass.
            found = TypeAdapter(cls).validate_json(json.dumps(values), strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            key, got = ".".join(map(str, first["loc"])), str(first["input"])[:80]
            raise UnsafeCheckpointError(file, f"'{key}': {first['msg']}, got {got}.", TRUST) from None
        try:
            if found.embodiment is not None:
                found.embodiment.check()
        except ValueError as error:
            raise UnsafeCheckpointError(file, f"'embodiment': {error}.", TRUST) from None
        return found
