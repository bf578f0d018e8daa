# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The flags of a command from its dataclass: help that fits a screen, values, and errors that say what to type instead.

draccus, which LeRobot uses, decodes the values. Its own parser and help stay aside: for nested flags it answers with
tracebacks and sixty lines of usage, knows no "did you mean", and reads each class' source once a field.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Groups of more flags than this are one line of the short help, unless its usage names one of them.
SHOWN = 2
WIDTH = 100


@dataclass(frozen=True)
class Flag:
    """One flag, or a group of them.

    Attributes:
        name: With its groups, without dashes: ``dataset.root``.
        kind: Its type; a dataclass for a group.
        default: Its default; None for a group.
        text: The comment above the field or behind it, on one line.
    """

    name: str
    kind: Any
    default: Any
    text: str

    @property
    def is_group(self) -> bool:
        """Whether it stands for several flags."""
        return dataclasses.is_dataclass(self.kind)


def flags_of(config_class: type, prefix: str = "") -> Iterator[Flag]:
    """A class' own flags and groups in their order, without those inside the groups."""
    kinds, texts = typing.get_type_hints(config_class), _comments(config_class)
    for field in dataclasses.fields(config_class):
        kind, default, make = kinds[field.name], field.default, field.default_factory
        if default is dataclasses.MISSING:
            plain = make is not dataclasses.MISSING and not dataclasses.is_dataclass(kind)
            default = make() if plain and callable(make) else None
        yield Flag(prefix + field.name, kind, default, texts.get(field.name, ""))


def all_flags(config_class: type, prefix: str = "") -> Iterator[Flag]:
    """Groups and all flags inside them."""
    for flag in flags_of(config_class, prefix):
        yield flag
        if flag.is_group:
            yield from all_flags(flag.kind, f"{flag.name}.")


def parse[Config](command: str, config_class: type[Config], args: Sequence[str]) -> Config:
    """The configuration that ``--name=value`` (or ``--name value``) flags describe.

    Raises:
        ValueError: A flag is unknown, lacks its value, or has one of another kind; says what to type instead.
    """
    from draccus.parsers import decoding
    from draccus.utils import DecodingError, DraccusException

    known = {flag.name: flag for flag in all_flags(config_class)}
    values: dict[str, Any] = {}
    for name, text in _pairs(command, known, args):
        _put(values, name.split("."), _value(command, known[name], known, text))
    try:
        return decoding.decode(config_class, values)
    except DraccusException as error:
        said = str(error.__cause__ or error)
        if said.startswith("--"):  # a class' own check of its fields, which draccus wraps
            raise ValueError(said) from error
        where = f"--{'.'.join(map(str, error.key_path))}: " if isinstance(error, DecodingError) else ""
        raise ValueError(f"{where}{said}. Fix: see `wallwm {command} --help-all`") from error


def _pairs(command: str, known: dict[str, Flag], args: Sequence[str]) -> Iterator[tuple[str, str]]:
    waiting = list(args)
    while waiting:
        word = waiting.pop(0)
        if not word.startswith("--"):
            named = word.lstrip("-").partition("=")[0] in known
            fix = f"--{word.lstrip('-')}" if named else "flags are written --name=value"
            raise ValueError(f"{word!r} is no flag. Fix: {fix}, see `wallwm {command} --help`")
        name, equals, text = word[2:].partition("=")
        if name not in known:
            raise ValueError(_unknown(command, name, known))
        if not equals:
            if waiting and not waiting[0].startswith("--"):
                text = waiting.pop(0)
            elif known[name].kind is bool:
                text = "true"
            elif not known[name].is_group:
                raise ValueError(f"--{name} needs a value. Fix: --{name}={_example(known[name])}")
        yield name, text


def _unknown(command: str, name: str, known: dict[str, Flag]) -> str:
    plain = [flag for flag, what in known.items() if not what.is_group]
    group, _, last = name.rpartition(".")
    inside = {flag.rpartition(".")[2]: flag for flag in plain if flag.rpartition(".")[0] == group}
    alike = [inside[near] for near in difflib.get_close_matches(last, inside, n=2)]
    alike += [flag for flag in plain if flag.rpartition(".")[2] == last and flag not in alike][:3]
    alike += [] if alike else difflib.get_close_matches(name, known, n=2, cutoff=0.7)
    meant = f". Did you mean {' or '.join(f'--{flag}' for flag in alike)}?" if alike else "."
    return f"--{name}: there is no such flag{meant} Fix: see `wallwm {command} --help-all`"


def _value(command: str, flag: Flag, known: dict[str, Flag], text: str) -> Any:
    """What a flag's text stands for, before draccus decodes it; ValueError where it is of another kind."""
    kinds = _alternatives(flag.kind)
    if flag.is_group:
        inside = [
            name for name, what in known.items() if name.startswith(f"{flag.name}.") and not what.is_group
        ]
        parsed = _read(flag, text) if text else None
        if isinstance(parsed, dict):
            return parsed
        raise ValueError(
            f"--{flag.name}{'=' + text if text else ''}: has no value itself, it stands for {_listed(inside)}. "
            f"Fix: --{inside[0]}={text or _example(known[inside[0]])}"
            if len(inside) <= SHOWN
            else f"--{flag.name}{'=' + text if text else ''}: has no value itself, it is a group of {len(inside)} flags. "
            f"Fix: set one of them, such as --{inside[0]}={_example(known[inside[0]])}; they are in "
            f"`wallwm {command} --help-all`"
        )
    if type(None) in kinds and text.lower() in ("null", "none", ""):
        return None
    if not {list, dict, tuple} & kinds and (kinds & {str, Path}) and not kinds & {bool, int, float}:
        return text
    parsed = _read(flag, text)
    numbers = bool(kinds & {int, float}) and bool not in kinds
    if numbers and (isinstance(parsed, bool) or not isinstance(parsed, int | float)):
        try:
            return float(text) if float in kinds else int(text)
        except ValueError:
            what = "a whole number" if float not in kinds else "a number"
            raise ValueError(
                f"--{flag.name}={text}: takes {what}. Fix: write one, such as --{flag.name}={_example(flag)}"
            ) from None
    if numbers and float not in kinds and not isinstance(parsed, int):
        raise ValueError(f"--{flag.name}={text}: takes a whole number. Fix: --{flag.name}={round(parsed)}")
    if kinds - {type(None)} == {list} and not isinstance(parsed, list):
        raise ValueError(f"--{flag.name}={text}: takes a list. Fix: --{flag.name}=[{text}]")
    if kinds - {type(None)} == {bool} and not isinstance(parsed, bool):
        raise ValueError(f"--{flag.name}={text}: is switched on or off. Fix: --{flag.name}=true or false")
    return parsed


def _read(flag: Flag, text: str) -> Any:
    """What a text is in YAML, in which LeRobot's flags are written."""
    import yaml
    from draccus.cfgparsing import parse_string

    try:
        return parse_string(text)
    except yaml.YAMLError as error:
        raise ValueError(
            f"--{flag.name}={text}: cannot be read. Fix: close its brackets and quotes, such as --{flag.name}={_example(flag)}"
        ) from error


def _listed(names: Sequence[str]) -> str:
    return " and ".join(f"--{name}" for name in names)


def _alternatives(kind: Any) -> set[Any]:
    """The types that a value may have; of a list or another container the container."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return {k for part in typing.get_args(kind) for k in _alternatives(part)}
    return {typing.get_origin(kind) or kind}


def _example(flag: Flag) -> str:
    """A value to show: the default, or something of its type."""
    if flag.default not in (None, "", 0, False) and not isinstance(flag.default, list | tuple | dict):
        return str(flag.default)
    kinds = _alternatives(flag.kind)
    for kind, text in (
        (bool, "true"),
        (float, "0.02"),
        (int, "3"),
        (Path, "FOLDER"),
        (str, "NAME"),
        (list, "[1,2]"),
    ):
        if kind in kinds:
            return text
    return "VALUE"


def _put(values: dict[str, Any], path: Sequence[str], value: Any) -> None:
    *groups, last = path
    for group in groups:
        values = values.setdefault(group, {})
    if isinstance(value, dict) and isinstance(values.get(last), dict):
        values[last] |= value
    else:
        values[last] = value


def help_text(command: str, config_class: type, does: str, usage: str, everything: bool = False) -> str:
    """What ``--help`` prints: the flags, large groups in one line each; with ``everything`` all flags with their reasons."""
    lines = [f"usage: wallwm {command} {usage}", "", textwrap.fill(f"wallwm {command}: {does}.", WIDTH), ""]
    if everything:
        for flag in all_flags(config_class):
            lines += _section(flag) if flag.is_group else _paragraph(flag)
        return "\n".join(lines)
    collapsed = False
    for flag in flags_of(config_class):
        inside = [f for f in all_flags(flag.kind, f"{flag.name}.") if not f.is_group] if flag.is_group else []
        if len(inside) > SHOWN and f"--{flag.name}." not in usage:
            collapsed = True
            lines.append(_line(f"--{flag.name}.*", f"({len(inside)} flags) {_first_sentence(flag.text)}"))
        else:
            lines += [_line(*_shown(f)) for f in inside or [flag]]
    more = (
        "all flags, with those of the groups and their reasons" if collapsed else "the same with all reasons"
    )
    return "\n".join([*lines, "", f"`wallwm {command} --help-all`: {more}."])


def _shown(flag: Flag) -> tuple[str, str]:
    default = _default(flag)
    return f"--{flag.name}{'=' + default if default else ''}", _first_sentence(flag.text)


def _default(flag: Flag) -> str:
    if flag.default is None or flag.default in ("", [], {}):
        return ""
    return str(flag.default).lower() if isinstance(flag.default, bool) else str(flag.default)


def _line(left: str, right: str) -> str:
    column = max(28, len(left) + 1)
    return f"  {left:<{column}}{_cut(right, WIDTH - 2 - column)}".rstrip()


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else textwrap.shorten(text, width, placeholder=" ...")


def _section(flag: Flag) -> list[str]:
    return ["", *textwrap.wrap(f"{flag.name}: {flag.text}", WIDTH)]


def _paragraph(flag: Flag) -> list[str]:
    default = _default(flag)
    head = f"  --{flag.name}" + (f"  (default {default})" if default else "")
    return [head, *textwrap.wrap(flag.text, WIDTH, initial_indent="      ", subsequent_indent="      ")]


def _first_sentence(text: str) -> str:
    text = re.split(r"(?<=[a-z)])[.;] ", text, maxsplit=1)[0]
    return text.rstrip(".;:")


def _comments(config_class: type) -> dict[str, str]:
    """The comment above each field, and the one behind it, of a class and those that it comes from."""
    found: dict[str, str] = {}
    for owner in reversed(config_class.__mro__):
        if dataclasses.is_dataclass(owner):
            found |= _comments_in(inspect.getsource(owner))
    return found


def _comments_in(source: str) -> dict[str, str]:
    found: dict[str, str] = {}
    above: list[str] = []
    for line in source.splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            above.append(stripped.lstrip("# "))
            continue
        field = re.match(r"\s{4}(\w+): [^#]*?(?:#\s*(.*))?$", line)
        if field:
            last = next(reversed(found.values()), "")  # two fields may stand under one comment
            found[field[1]] = " ".join(filter(None, [*above, field[2]])) or last
        above = []
    return found
