# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Settings as they may leave this machine: without its folders, its servers and its secrets.

LeRobot writes all three into `config.json` and `train_config.json`. A copy is changed, never the checkpoint itself.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from lerobot_wallwm.hub.files.safe_files import is_repo_id
from lerobot_wallwm.hub.files.safe_settings import TEXTS, is_path, is_url, names_file

_SECRET_KEY = re.compile(r"token$|api_?key|password|passwd|secret|credential|authorization", re.I)
# `max_text_tokens` and the like count something.
_COUNT_KEY = re.compile(r"tokens$", re.I)
_SECRET = re.compile(
    r"\b(hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|AKIA[A-Z0-9]{16})\b"
)
_USER_INFO = re.compile(r"://[^/\s]*@")


class NotPortableError(ValueError):
    """A setting that can neither be published nor left out."""


_GONE = object()


def portable(settings: Mapping[str, Any], where: str) -> tuple[dict[str, Any], list[str]]:
    """A copy of LeRobot's settings that may be published.

    Args:
        settings: JSON.
        where: For errors: the file.

    Returns:
        The copy, and the names of the settings that are not in it, so that a reader gets their defaults.

    Raises:
        NotPortableError: A text holds what looks like an access token.
    """
    dropped: list[str] = []

    def walk(value: Any, keys: tuple[str, ...]) -> Any:
        if isinstance(value, Mapping):
            items = {str(name): walk(item, (*keys, str(name))) for name, item in value.items()}
            return {name: item for name, item in items.items() if item is not _GONE}
        if isinstance(value, list):
            return [item for item in (walk(item, keys) for item in value) if item is not _GONE]
        if not isinstance(value, str):
            return value
        if _stays_here(keys[-1] if keys else "", value):
            dropped.append(".".join(keys))
            return _GONE
        if _SECRET.search(value) or _USER_INFO.search(value):
            name = ".".join(keys)
            raise NotPortableError(
                f"{where}: {name} holds what looks like an access token. Fix: take it out of the file, and withdraw "
                "the token if it was real"
            )
        return value

    return walk(dict(settings), ()), dropped


def _stays_here(key: str, value: str) -> bool:
    if _SECRET_KEY.search(key) and not _COUNT_KEY.search(key):
        return True
    if key == "pretrained_path":
        return not is_repo_id(value)
    return names_file(key) or (key not in TEXTS and (is_path(value) or is_url(value)))


def portable_command(command: str) -> str:
    """A command line for the card: folders lose their path, servers and secrets are left out."""
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    kept = []
    for word in words:
        flag, equals, value = word.partition("=")
        flag, value = (flag, value) if equals else ("", word)
        name = flag.lstrip("-").rsplit(".", 1)[-1]
        if (
            _SECRET.search(word)
            or is_url(value)
            or (_SECRET_KEY.search(name) and not _COUNT_KEY.search(name))
        ):
            continue
        kept.append(shlex.quote(flag + equals + (PurePath(value).name if is_path(value) else value)))
    return " ".join(kept)


def without_folders(text: str) -> str:
    """A sentence in which absolute paths have lost their folders."""
    return re.sub(r"(?<![\w.])(?:~|/[\w.@-]+)(?:/[\w.@-]+)*/(?=[\w.@-])", "", text)
