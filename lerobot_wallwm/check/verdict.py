# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What the rules judge, what a rule says, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass

LEVELS = ("yes", "care", "no")


@dataclass(frozen=True)
class Finding:
    """What one rule says.

    Attributes:
        rule: Its name.
        level: One of `LEVELS`.
        text: A sentence for a person.
    """

    rule: str
    level: str
    text: str


@dataclass(frozen=True)
class Verdict:
    """The worst level, its reasons, and everything that the rules said."""

    level: str
    reasons: list[str]
    findings: list[Finding]

    @property
    def switch_on(self) -> bool:
        """Whether the arm may be switched on at all."""
        return self.level != "no"

    @property
    def answer(self) -> str:
        """In words."""
        return {"yes": "yes", "care": "yes, with care", "no": "no"}[self.level]
