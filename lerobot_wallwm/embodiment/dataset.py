# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The description of a dataset on disk: that which a view carries, or one read off names and rows, as corrected by flags."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lerobot_wallwm.embodiment.description import (
    FORMS,
    KINDS,
    QUANTITIES,
    UNITS,
    Dimension,
    Embodiment,
    Rotation,
)
from lerobot_wallwm.embodiment.recognise import Rows, recognise
from lerobot_wallwm.storage.errors import DataError

ACTION, STATE = "action", "observation.state"
# Where a view keeps it: a key of its `meta/wallwm.json`.
SIDECAR, KEY = "wallwm.json", "embodiment"
# Rows that are enough to judge by (our choice); of larger datasets the first files are read.
ENOUGH_ROWS = 200_000
# How far from 1 a rotation's numbers may be in length: rounding, and what a filter leaves (our choice).
UNIT_LENGTH = 0.05
PARTS = {"arm": "arm", "left": "left arm", "right": "right arm", "base": "base"}


def flat_names(names: Any) -> tuple[str, ...]:
    """LeRobot writes feature names as a list, as `{"motors": [...]}`, or as null."""
    if isinstance(names, dict):
        values = list(names.values())
        names = values[0] if len(values) == 1 and isinstance(values[0], list) else list(names)
    return tuple(str(name) for name in names) if isinstance(names, list | tuple) else ()


def read_rows(root: Path, *columns: str, enough: int | None = None) -> list[np.ndarray] | None:
    """Columns of a LeRobot dataset, ``(rows,)`` or ``(rows, D)``; None where the folder holds none of them.

    Args:
        root: Dataset folder.
        columns: Their names.
        enough: Rows after which no further file is read; None reads all.
    """
    tables: list[pa.Table] = []
    for file in sorted(root.glob("data/*/*.parquet")):
        if enough is not None and sum(map(len, tables)) >= enough:
            break
        try:
            tables.append(
                pq.read_table(file, columns=[n for n in pq.read_schema(file).names if n in columns])
            )
        except (OSError, pa.ArrowException):
            continue  # a writer that was killed left it; its episodes are refused by name where they are read
    if not tables or any(set(table.column_names) != set(columns) for table in tables):
        return None
    parts = ([t[name].to_numpy(zero_copy_only=False) for t in tables] for name in columns)
    values = (np.concatenate(part) for part in parts)
    return [np.stack(list(v)) if v.dtype == object else v for v in values]


def describe(
    root: Path | None, features: Mapping[str, Any], fps: float, changes: Mapping[str, str] | None = None
) -> Embodiment:
    """What a dataset's action and state are.

    Args:
        root: Its folder; None where only its features are known.
        features: Of its `meta/info.json`.
        fps: Frames a second.
        changes: See `changed`.

    Raises:
        DataError: An action or a state that is no list of numbers, or that a flag describes as what it cannot be.
    """
    place = (root or Path()) / "meta" / "info.json"
    widths = []
    for key in (ACTION, STATE):
        shape = tuple(features[key].get("shape") or ())
        if len(shape) != 1 or shape[0] < 1:
            fix = "write one number a dimension: shape [D], and names for each"
            raise DataError(
                place, f"features.{key}.shape", f"is {list(shape)}, but a list of D numbers is needed", fix
            )
        widths.append(int(shape[0]))
    found, rows = (None if root is None else _of_view(root, widths)), None
    if found is None:
        named = (flat_names(features[key].get("names")) for key in (ACTION, STATE))
        # As many names as dimensions, or they say nothing.
        names = [own if len(own) == width else () for own, width in zip(named, widths, strict=True)]
        rows = None if root is None else _rows(root, widths, fps)
        found = recognise(names[0], names[1], (widths[0], widths[1]), rows)
    found = changed(found, changes or {}, place)
    if rows is not None:
        _refuse_no_rotations(place, ACTION, found.action, found.action_rotations, rows.action)
        _refuse_no_rotations(place, STATE, found.state, found.state_rotations, rows.state)
    return found


def _refuse_no_rotations(
    place: Path, key: str, dims: Sequence[Dimension], turns: Sequence[Rotation], values_TD: np.ndarray
) -> None:
    """Quaternions and columns of a matrix have the length 1, and are poses; others would be read as something they are not.

    Raises:
        DataError: Most of these have not.
    """
    for turn in turns:
        if turn.form not in ("quaternion", "6d"):
            continue
        where = " ".join(dims[d].name for d in turn.dims)
        state = "state:" if key == STATE else ""
        if any(dims[d].kind == "step" for d in turn.dims):
            problem = f"{where} are steps written as a rotation ({turn.form}), whose rest is not zero"
            fix = "write how far to turn as three numbers, axis times angle (drx, dry, drz)"
            raise DataError(place, f"features.{key}", problem, fix)
        values = values_TD[:, list(turn.dims)]
        sizes = np.linalg.norm(values.reshape(len(values), -1, 4 if turn.form == "quaternion" else 3), axis=2)
        if not np.isfinite(sizes).all() or float(np.median(np.abs(sizes - 1))) <= UNIT_LENGTH:
            continue
        problem = f"{where} have the names of a rotation ({turn.form}), but lengths from {sizes.min():.3g} to {sizes.max():.3g}"
        fix = f"""if they are none: --embodiment='{{"{state}{where}": "numbers"}}'; else write them with length 1"""
        raise DataError(place, f"features.{key}", problem, fix)


def _rows(root: Path, widths: Sequence[int], fps: float) -> Rows | None:
    """Rows to judge by."""
    try:
        rows = read_rows(root, ACTION, STATE, "episode_index", enough=ENOUGH_ROWS)
    except ValueError:
        return None
    if rows is None or rows[0].ndim != 2 or [values.shape[1] for values in rows[:2]] != list(widths):
        return None
    return Rows(rows[0], rows[1], rows[2], fps)


def _of_view(root: Path, widths: Sequence[int]) -> Embodiment | None:
    """The description that `wallwm prepare` left in a view; None where there is none."""
    file = root / "meta" / SIDECAR
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text()).get(KEY)
        found = None if content is None else Embodiment.from_json(content)
    except ValueError as error:
        raise DataError(file, KEY, f"cannot be read ({error})", "run `wallwm prepare` again") from error
    if found is None or [len(found.action), len(found.state)] != list(widths):
        return None
    return found


def changed(found: Embodiment, changes: Mapping[str, str], place: str | Path = "--embodiment") -> Embodiment:
    """The description as a person corrects it.

    Args:
        found: What was recognised.
        changes: What to correct: the name or number of an action's dimension (``state:NAME`` for the state's) to words of
            `KINDS`, `QUANTITIES`, `UNITS` and `PARTS`, ``wraps`` or ``straight``, ``opens:high`` or ``opens:low``, ``follows:NAME`` or ``follows:none``. Several
            names to a form of `FORMS` make a rotation: ``{"roll pitch yaw": "euler_xyz degrees"}``; ``numbers`` breaks it up.
        place: For errors.

    Raises:
        DataError: A name or word that is not known.
    """
    dims = {ACTION: list(found.action), STATE: list(found.state)}
    turns = {ACTION: list(found.action_rotations), STATE: list(found.state_rotations)}

    def fail(key: str, problem: str, fix: str) -> DataError:
        return DataError(place, f"--embodiment '{key}'", problem, fix)

    def index(key: str, name: str, whose: str) -> int:
        names = [dim.name for dim in dims[whose]]
        labels = [dim.label for dim in dims[whose]]
        for known in (names, labels):
            if name in known:
                return known.index(name)
        if name.isdecimal() and int(name) < len(names):
            return int(name)
        raise fail(
            key, f"{name!r} is no dimension of the {whose.split('.')[-1]}", f"choose of {', '.join(labels)}"
        )

    for key, text in changes.items():
        whose = STATE if key.startswith("state:") else ACTION
        places = [index(key, n, whose) for n in key.removeprefix("state:").replace(",", " ").split()]
        for word in text.replace(",", " ").split():
            if word in FORMS or word == "numbers":
                turns[whose] = [t for t in turns[whose] if not set(t.dims) & set(places)]
                if word in FORMS:
                    if len(places) != FORMS[word]:
                        raise fail(key, f"{word} takes {FORMS[word]} numbers", "name as many dimensions")
                    turns[whose].append(Rotation(word, tuple(places)))
                continue
            for d in places:
                dims[whose][d] = _with(dims[whose][d], word, key, fail, lambda n, k=key: index(k, n, STATE))
    out = Embodiment(
        tuple(dims[ACTION]), tuple(dims[STATE]), tuple(turns[ACTION]), tuple(turns[STATE]), found.guessed
    )
    try:
        out.check()
    except ValueError as error:
        raise DataError(place, "--embodiment", str(error), "correct the flag") from error
    return out


def _with(dim: Dimension, word: str, key: str, fail: Any, state_index: Any) -> Dimension:
    """A dimension with one word of a flag."""
    for name, allowed in (("kind", KINDS), ("quantity", QUANTITIES), ("unit", UNITS)):
        if word in allowed:
            follows = -1 if name == "kind" and word != "position" else dim.follows
            new: dict[str, Any] = {name: word, "follows": follows}
            return replace(dim, **new)
    if word in PARTS:
        return replace(dim, part=PARTS[word])
    if word in ("opens:high", "opens:low"):
        return replace(dim, opens=word.removeprefix("opens:"))
    if word == "straight":
        return replace(dim, wraps=None)
    if word == "wraps":
        half = 180.0 if dim.unit == "degrees" else float(np.pi)
        return replace(dim, wraps=dim.wraps or (-half, half))
    if word.startswith("follows:"):
        name = word.removeprefix("follows:")
        return replace(dim, follows=-1 if name == "none" else state_index(name))
    every = [
        *KINDS,
        *QUANTITIES,
        *filter(None, UNITS),
        *PARTS,
        *FORMS,
        "wraps",
        "straight",
        "opens:high",
        "opens:low",
        "follows:NAME",
        "numbers",
    ]
    raise fail(key, f"{word!r} is no word for a dimension", f"choose of {', '.join(every)}")
