# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The planner that a configuration asks for, and what it knows of the checkpoint's events."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from lerobot_wallwm.language.event_grammar import END, matches
from lerobot_wallwm.policies.config.acting_fields import planner_server
from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig
from lerobot_wallwm.policies.planning.human_planner import TERMINAL, HumanPlanner, orders_from, print_prompt
from lerobot_wallwm.policies.planning.own_planner import OwnPlanner, Speaker
from lerobot_wallwm.policies.planning.planners import (
    GrammarPlanner,
    InstructionPlanner,
    Planner,
    ScriptPlanner,
    check_captions,
)
from lerobot_wallwm.policies.planning.vlm_planner import VlmPlanner

# Where a checkpoint does not know its clock (a policy that was never trained); LeRobot's usual control rate.
_FPS = 30.0
# An event is left after this multiple of the longest one in the data, whatever the model predicts (our choice).
MAX_EVENT_STRETCH = 1.5


def _grammar(config: WallwmConfig) -> GrammarPlanner:
    learned = config.learned
    return GrammarPlanner(learned.event_transitions, instructions=learned.instructions, holds=learned.holds)


def frames_per_second(config: WallwmConfig) -> float:
    """The rollout's clock."""
    return config.learned.fps or _FPS


def make_planner(config: WallwmConfig, write: Callable[..., None], speaker: Speaker | None = None) -> Planner:
    """The planner of ``--policy.planner``.

    Args:
        config: The policy's configuration.
        write: Adds a line to the rollout's diary: a kind, and facts by name.
        speaker: The model's language half; None where it has none.

    Raises:
        ValueError: ``script`` holds a caption that the checkpoint does not know, there is no grammar to follow, the
            server's address or key makes no sense, or there is no language half to ask.
    """
    known = known_templates(config)
    if config.planner == "script":
        check_captions(config.script, known)
        return ScriptPlanner(config.script)
    if config.planner == "grammar":
        return _grammar(config)
    grammar = _grammar(config) if config.learned.event_transitions else None
    if config.planner == "human":
        prompt = print_prompt if config.planner_file == TERMINAL else None
        place = config.planner_file
        assert place is not None
        return HumanPlanner(orders_from(place), known, grammar, functools.partial(_say, write), prompt)
    if config.planner == "own":
        if speaker is None:
            raise ValueError(
                "--policy.planner=own asks the checkpoint's language half, and it has none. Fix: train --policy.stage=vlm from it"
            )
        return OwnPlanner(speaker, grammar, write)
    if config.planner == "vlm":
        return VlmPlanner(planner_server(config), known, grammar, frames_per_second(config), write)
    return InstructionPlanner()


def needs_task(config: WallwmConfig) -> bool:
    """Whether captions are made from the task: the instruction itself, or templates with an object or a target."""
    if config.planner == "grammar":
        return any("{" in template for template in known_templates(config))
    return config.planner in ("instruction", "vlm")


def known_templates(config: WallwmConfig) -> list[str]:
    """Caption templates that the checkpoint was trained on."""
    nexts = config.learned.event_transitions.values()
    return sorted({template for options in nexts for template in options if template != END})


def frame_limit(config: WallwmConfig, caption: str) -> float:
    """Longest stay in an event: a stretch of the longest such event in the data. A chunk ends by the clock."""
    if config.chunked:
        return config.chunk_length
    lengths = config.learned.event_max_frames
    known = [frames for template, frames in lengths.items() if matches(template, caption)]
    return MAX_EVENT_STRETCH * max(known or lengths.values() or [10_000])


def _say(write: Callable[..., None], accepted: bool, line: str, reason: str) -> None:
    """Tells the person, and the log, what became of an order."""
    facts: dict[str, Any] = {"text": line, "accepted": accepted}
    if not accepted:
        facts["reason"] = reason
        print_prompt(f"Refused {line!r}: {reason}")
    write("order", **facts)
