# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What cards are written from: text that is safe in Markdown, the source's own card, the flags of a run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

CARD = "README.md"
_LETTERS = 160
# What a Hub tag or licence looks like; anything else in a source's card is left out.
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,95}")


def source_card_data(root: Path) -> dict[str, Any]:
    """Licence, its name and link, tags and languages from the front matter of the source's own card.

    A card that is missing or cannot be parsed gives an empty dictionary: its dataset can still be used.
    """
    import yaml

    try:
        parts = re.split(r"^---\s*$", (root / CARD).read_text(encoding="utf-8"), maxsplit=2, flags=re.M)
        data = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0].strip() else {}
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    if not isinstance(data, dict):
        return {}
    found: dict[str, Any] = {}
    for name in ("license", "tags", "language"):
        values = data.get(name)
        values = values if isinstance(values, list) else [values]
        words = [word for word in values if isinstance(word, str) and _WORD.fullmatch(word)]
        if words:
            found[name] = words[0] if name == "license" and len(words) == 1 else words
    for name in ("license_name", "license_link"):
        if isinstance(data.get(name), str):
            found[name] = data[name][:500]
    return found


def plain(text: str, letters: int = _LETTERS) -> str:
    """Text from a dataset as one line of Markdown that shows it and does nothing else."""
    line = " ".join(text.split())
    line = line if len(line) <= letters else line[: letters - 3] + "..."
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~$&-])", r"\\\1", line)


def differing(ours: Mapping[str, Any], defaults: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Flags of a run that differ from their defaults: ``group.name`` and value."""
    for key, value in ours.items():
        default = defaults.get(key) if isinstance(defaults, Mapping) else None
        if isinstance(value, Mapping) and isinstance(default, Mapping) and default:
            yield from differing(value, default, f"{prefix}{key}.")
        elif value != default:
            yield f"{prefix}{key}", value
