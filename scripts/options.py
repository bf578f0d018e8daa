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
    return "".join(parts) + recipes()


RECIPES = """
## Recipes

`--policy.recipe=paper` sets what the paper has, `nano` (the default) what minutes of training on two CPU cores need. A flag that
is given wins, and `lerobot-train` names it beside the recipe's value. What the paper leaves open (learning rates, widths, how
event lengths are found without its language model) stays ours; its sight cones need `--policy.calibration`.
"""


def recipes() -> str:
    """Both recipes side by side."""
    from lerobot_wallwm.policies.training.recipes import PARTS, SETTINGS
    from lerobot_wallwm.policies.training.stages import PAPER_STAGES, STAGES

    def cell(value: Any) -> str:
        names = {None: "as the backbone", True: "yes", False: "no"}
        if isinstance(value, bool) or value is None:
            return names[value]
        return " x ".join(map(str, value)) if isinstance(value, tuple) else str(value)

    lines = ["", "| setting | nano | paper | where |", "|---|---|---|---|"]
    lines += [f"| {n} | {cell(s.nano)} | {cell(s.paper)} | {s.source} |" for n, s in SETTINGS.items()]
    told = {
        "place_codes": "a random code of its place on every video feature",
        "open_gates": "gates of the video tower open at the start",
        "residual": "the video head predicts what changes, instead of the flow (eq. 7)",
        "action_velocity": "the action head predicts the flow (p. 11)",
    }
    for name, words in told.items():
        lines.append(
            f"| {words} | {cell(getattr(PARTS['nano'], name))} | {cell(getattr(PARTS['paper'], name))} | |"
        )
    numbers = {
        "future_fraction": "samples with their future",
        "anchored_fraction": "of these, video held at s* = 45 of 50",
        "action_draws": "draws K (p. 11: 6)",
        "caption_drop": "captions dropped (p. 19-20)",
        "ema_decay": "weight average (p. 20: 0.9999)",
    }
    lines += ["", "| stage | | nano | paper |", "|---|---|---|---|"]
    for stage, row in STAGES.items():
        for name, words in numbers.items():
            ours, paper = getattr(row, name), getattr(PAPER_STAGES[stage], name)
            if ours != paper or ours != getattr(STAGES["joint"], name):
                lines.append(f"| {stage} | {words} | {_plain(ours)} | {_plain(paper)} |")
    return RECIPES + "\n".join(lines) + "\n"


def _plain(value: Any) -> str:
    return " to ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _default(field: Field[Any]) -> str:
    value = field.default if field.default_factory is MISSING else field.default_factory()
    if value is None:
        return "-"
    return f"`{value if isinstance(value, str) and value else json.dumps(value)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
