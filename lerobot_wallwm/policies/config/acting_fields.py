# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The fields of event mode on an arm, one reason per field. All numbers are our choice; the paper gives none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lerobot_wallwm.language.config import VlmConfig

if TYPE_CHECKING:
    from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig


@dataclass
class EventModeConfig:
    """What `WallwmConfig` adds for running an arm event by event."""

    # Orders for planner=human: a file whose last line says what to do now, read again whenever it changes; `-` for the
    # terminal. A line is a caption, `next`, `hold`, `go` or `stop`.
    planner_file: str | None = None
    # planner=vlm: an OpenAI-compatible server, up to and with /v1, and the model's name there. The key comes from the
    # environment variable WALLWM_VLM_API_KEY alone.
    planner_url: str = "http://127.0.0.1:8000/v1"
    planner_model: str = ""
    # Seconds for one attempt (there are two) before the grammar decides, or the arm holds where there is none.
    planner_timeout_s: float = 10.0
    # Commands pass from one event's plan to the next, and to rest, with at most this multiple of the acceleration that
    # 99 of 100 moving ticks of the demonstrations stay below (`motion_limits`; see seams.py). 0: they jump.
    seam_acceleration: float = 1.0
    # Computes the next plan on a thread of its own while the arm carries out the last one, so that `select_action` waits
    # for none but the first. Not needed with `lerobot-rollout --inference.type=rtc`, which has a thread of its own.
    background_inference: bool = False
    # An arm that does not move for so long, although its goal is `stall_distance` away (in the dataset's units: degrees
    # or percent), has stalled. 0 s: never. Grippers do not count: they stall on every object that they hold.
    stall_s: float = 1.0
    stall_distance: float = 8.0
    # Looks again, within the same event, before `on_stall` decides: `retry` without end (the event's limit stays),
    # `next` event, or `hold`.
    stall_retries: int = 2
    on_stall: str = "retry"
    # JSON lines of what happened when: events, looks, orders, stalls, late plans, the planner's questions and answers.
    event_log: str | None = None


def check_event_mode(config: WallwmConfig) -> None:
    """Raises ValueError for values out of range, or fields that contradict each other."""
    if config.stall_retries < 0:
        raise ValueError(f"--policy.stall_retries must be at least 0, got {config.stall_retries}.")
    for name, least in (
        ("seam_acceleration", 0.0),
        ("stall_s", 0.0),
        ("stall_distance", 1e-6),
        ("planner_timeout_s", 1e-3),
    ):
        value = getattr(config, name)
        if not (math.isfinite(value) and value >= least):
            raise ValueError(f"--policy.{name} must be a finite number of at least {least:g}, got {value}.")
    if config.planner == "human" and not config.planner_file:
        raise ValueError(
            "--policy.planner=human needs --policy.planner_file=events.txt, or - for the terminal, got none."
        )
    if config.planner == "vlm":
        if not config.planner_model:
            raise ValueError(
                "--policy.planner=vlm needs --policy.planner_model=<its name on the server>, got none."
            )
        planner_server(config)
    if config.background_inference and config.save_predicted_video:
        raise ValueError(
            "--policy.background_inference=true does not go with --policy.save_predicted_video=true, which imagines in "
            "the control loop. Fix: choose one."
        )


def planner_server(config: WallwmConfig) -> VlmConfig:
    """The server of planner=vlm; its key comes from the environment alone.

    Raises:
        ValueError: A value makes no sense, in the words of ``--policy``'s flags.
    """
    try:
        return VlmConfig(
            base_url=config.planner_url,
            model=config.planner_model,
            timeout_s=config.planner_timeout_s,
            attempts=2,  # a refused answer is worth a second try
            backoff_s=0.2,
            max_wait_s=1.0,
            concurrency=1,
            give_up_after=10**6,  # a server may come back
            max_tokens=256,
        )
    except ValueError as error:
        text = str(error).replace("--vlm.base_url", "--policy.planner_url")
        text = text.replace("--vlm.timeout_s", "--policy.planner_timeout_s")
        raise ValueError(text) from error
