# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A JSON file with a schema, read or refused with the field that breaks it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from pydantic import BaseModel, ValidationError

from lerobot_wallwm.storage.errors import DataError


def read_json_as[Model: BaseModel](
    path: str | Path, model: type[Model], fix: str, variants: Collection[str] = ()
) -> Model:
    """Reads a file whose schema is `model`.

    ``variants`` are tags of a union, which pydantic counts among the names of a field and a user does not.

    Raises:
        DataError: The file is missing, is not JSON, or a field breaks the schema; the field is named.
    """
    try:
        return model.model_validate_json(Path(path).read_bytes())
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error})"
        raise DataError(path, "file", problem, "check the path") from error
    except ValidationError as error:
        first, count = error.errors()[0], error.error_count()
        before = (None, *first["loc"])
        parts = zip(before, first["loc"], strict=False)
        key = ".".join(str(part) for last, part in parts if not (part in variants and isinstance(last, int)))
        more = f" ({count - 1} more such problems)" if count > 1 else ""
        problem = f"is not JSON ({first['msg']})" if first["type"] == "json_invalid" else first["msg"] + more
        raise DataError(path, key or "file", problem, fix) from error
