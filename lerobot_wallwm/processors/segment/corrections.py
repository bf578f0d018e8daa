# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The file of a person's corrections: its schema, and its reader. `wallwm inspect` exports it, `HumanLayer` applies it.

The corrections of a file are a set: their order does not matter. Every frame in it refers to the event table *before* any
correction, except that of a new boundary, which says where the boundary shall be once all others are deleted and moved.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from lerobot_wallwm.storage.json_file import read_json_as

_FIX = "export the file again with `wallwm inspect`, or correct this field"


def _one_line(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise ValueError("a caption is one line of printable text")
    return value


_Count, _Inner = Annotated[int, Field(ge=0)], Annotated[int, Field(gt=0)]
_Label = Annotated[str, Field(pattern=r"^[a-z][a-z0-9 _-]{0,39}$")]
_Caption = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_one_line)]
_Level = Literal["subtask", "action", "segment"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DatasetName(_Model):
    """Which dataset was corrected. The fingerprint decides; the name is for people."""

    name: str = ""
    fingerprint: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")


class BoundaryMove(_Model):
    """Moves the boundary at frame `old` to frame `new`; `new == old` confirms it.

    A boundary of a level is also one of every finer level, so the coinciding boundaries of parents and children move
    with it. `level` says how far it may go: not past the next boundary of `level` or of a coarser one; events of finer
    levels that lie wholly in the frames it passes give way.
    """

    kind: Literal["boundary"] = "boundary"
    episode: _Count
    level: _Level
    old: _Inner
    new: _Inner


class BoundaryInsert(_Model):
    """Cuts the event of a level that holds frame `at` in two, and with it every event of finer levels that holds it.

    A frame that bounds finer levels already becomes a boundary of this one too. What begins there keeps the caption that it
    had, or gets `caption` and `label` at this level.
    """

    kind: Literal["insert"] = "insert"
    episode: _Count
    level: _Level
    at: _Inner
    caption: _Caption | None = None
    label: _Label | None = None


class BoundaryDelete(_Model):
    """Joins the events of a level that meet at frame `at`, and with them those of coarser levels that meet there.

    The earlier event's caption stays. Finer levels keep their boundary there; deleted at level segment, it is gone.
    """

    kind: Literal["delete"] = "delete"
    episode: _Count
    level: _Level
    at: _Inner


class CaptionEdit(_Model):
    """Gives the event `[start, end)` of a level another caption and, where `label` is given, another label."""

    kind: Literal["caption"] = "caption"
    episode: _Count
    level: Literal["task", "subtask", "action", "segment"]
    start: _Count
    end: _Inner
    old: str = ""
    new: _Caption
    label: _Label | None = None


Correction = BoundaryMove | BoundaryInsert | BoundaryDelete | CaptionEdit


class Corrections(_Model):
    """The whole file."""

    format: Literal["wallwm-corrections"]
    format_version: Literal[1]
    dataset: DatasetName
    corrections: list[Annotated[Correction, Field(discriminator="kind")]]


def read_corrections(path: str | Path) -> Corrections:
    """Reads a corrections file.

    Raises:
        DataError: If the file is missing, is not JSON, or a field breaks the schema; the field is named.
    """
    return read_json_as(path, Corrections, _FIX, ("boundary", "insert", "delete", "caption"))
