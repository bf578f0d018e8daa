# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Writes the policy's flags by group, with default and reason, as Markdown: python scripts/options.py FILE."""

from __future__ import annotations

import json
import sys
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from draccus.wrappers.docstring import get_attribute_docstring

from lerobot_wallwm.policies.config.acting_fields import ActingFields
from lerobot_wallwm.policies.config.model_fields import ModelFields
from lerobot_wallwm.policies.config.safety_fields import SafetyFields
from lerobot_wallwm.policies.config.training_fields import TrainingFields

GROUPS = (ModelFields, TrainingFields, ActingFields, SafetyFields)
HEAD = """# Options

Flags of the policy: `--policy.<name>=<value>` for `lerobot-train`, and for `lerobot-eval` and `lerobot-rollout` with
`--policy.path`. Where the default is a dash it follows the backbone or the stage, as the reason says. What a policy
learns from its data has no flag; it lies in `learned.json` beside the checkpoint's `config.json`. This page is written
by `python scripts/options.py docs/train/options.md`.
"""


def page() -> str:
    """The page in Markdown."""
    parts = [HEAD]
    for group in GROUPS:
        name = group.__name__.removesuffix("Fields")
        parts.append(
            f"\n## {name}\n\n{(group.__doc__ or '').strip()}\n\n| name | default | reason |\n|---|---|---|\n"
        )
        own = group.__dict__["__annotations__"]
        for field in fields(group):
            if field.name in own:
                reason = get_attribute_docstring(group, field.name).comment_above
                parts.append(f"| `{field.name}` | {_default(field)} | {_cell(reason)} |\n")
    return "".join(parts)


def _default(field: Field[Any]) -> str:
    value = field.default if field.default_factory is MISSING else field.default_factory()
    if value is None:
        return "-"
    return f"`{value if isinstance(value, str) and value else json.dumps(value)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
