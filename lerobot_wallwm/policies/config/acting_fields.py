# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""How the policy acts: planner, imagination, event mode on an arm."""

from __future__ import annotations

from dataclasses import dataclass, field

from lerobot_wallwm.language.config import VlmConfig
from lerobot_wallwm.policies.config.model_fields import BY_BACKBONE, BY_RECIPE, check_choice, check_least
from lerobot_wallwm.policies.config.training_fields import TrainingFields


@dataclass
class ActingFields(TrainingFields):
    """Acting. All numbers are our choice; the paper gives none. Flags of `lerobot-eval` and `lerobot-rollout` as well."""

    # Who names the next event: the data's `grammar`, a `script`, the `instruction`, a `human`, a `vlm`, or the checkpoint's `own`.
    planner: str = "grammar"
    # What the towers are told at each look (paper p. 21-22): the planner's caption (`atomic`), the `instruction`, or `latents`.
    text_source: str = "atomic"
    # Captions for planner=script, in order, each with its duration where the plan gives one: "lift the cup | 1.5 s".
    script: list[str] = field(default_factory=list)
    # After the last event: `hold` the pose, or `repeat` the plan from its start.
    on_plan_end: str = "hold"
    # What the video tower does before acting: `none` (recipe nano), `anchor` (to s*, then held; recipe paper) or `full` (in step with the actions).
    imagination: str = BY_RECIPE
    # Denoising steps of actions and imagined video: nano 1, for more cost time and gain nothing (measured); Wan 5 (our choice).
    num_inference_steps: int = BY_BACKBONE
    # Seed of every rollout's noise, so that a rollout can be repeated; None draws fresh noise.
    inference_seed: int | None = 0
    # Actions executed before looking again inside an event: recipe nano 4; 0 runs each event open loop, as the paper does (p. 21).
    replan_steps: int = BY_RECIPE
    # Collect imagined video for LeRobot's `pred_episode_N.mp4`; costs one imagination per event.
    save_predicted_video: bool = False
    # Orders for planner=human: a file whose last line counts (a caption, next, hold, go or stop); `-` for the terminal.
    planner_file: str | None = None
    # planner=vlm: an OpenAI-compatible server, up to and with /v1; its key comes from WALLWM_VLM_API_KEY alone.
    planner_url: str = "http://127.0.0.1:8000/v1"
    # planner=vlm: the model's name on that server.
    planner_model: str = ""
    # Seconds for each of two attempts before the grammar decides, or the arm holds where there is none.
    planner_timeout_s: float = 10.0
    # Most acceleration of commands from plan to plan, as a multiple of the demonstrations' (see seams.py); 0: they jump.
    seam_acceleration: float = 1.0
    # Compute the next plan on a thread of its own while the arm carries out the last; LeRobot's RTC engine has its own.
    background_inference: bool = False
    # Seconds that an arm does not move, although its goal is away, after which it has stalled; 0: never.
    stall_s: float = 1.0
    # How far that goal is away, in degrees or percent, of other units as a percentage of the range; grippers do not count.
    stall_distance: float = 8.0
    # How often an event that stalls, or whose gripper holds nothing where it should, is tried again before `on_stall`, or a hold; 0: never.
    retries: int = 2
    # What follows a stall after these looks in the same event: `retry` without end (the event's limit stays), the `next` event, or `hold`.
    on_stall: str = "retry"
    # JSON lines of what happened when: events, looks, orders, stalls, late plans, the planner's questions and answers.
    event_log: str | None = None

    def check(self) -> None:
        """Raises ValueError for values out of range, or fields that contradict each other."""
        super().check()
        check_choice("planner", self.planner, ("grammar", "script", "instruction", "human", "vlm", "own"))
        check_choice("text_source", self.text_source, ("atomic", "instruction", "latents"))
        check_choice("on_plan_end", self.on_plan_end, ("hold", "repeat"))
        check_choice("imagination", self.imagination, ("none", "anchor", "full"))
        check_choice("on_stall", self.on_stall, ("retry", "next", "hold"))
        check_least(self, num_inference_steps=1, seam_acceleration=0)
        check_least(self, retries=0, stall_s=0, stall_distance=1e-6, planner_timeout_s=1e-3)
        if self.planner == "script" and not self.script:
            raise ValueError(
                "--policy.planner=script needs --policy.script='[\"reach for the red cube\", ...]', got an empty list."
            )
        if self.planner == "human" and not self.planner_file:
            raise ValueError(
                "--policy.planner=human needs --policy.planner_file=events.txt, or - for the terminal, got none."
            )
        if self.planner == "vlm":
            if not self.planner_model:
                raise ValueError(
                    "--policy.planner=vlm needs --policy.planner_model=<its name on the server>, got none."
                )
            planner_server(self)
        if self.background_inference and self.save_predicted_video:
            raise ValueError(
                "--policy.background_inference=true does not go with --policy.save_predicted_video=true, which imagines in "
                "the control loop. Fix: choose one."
            )


def planner_server(config: ActingFields) -> VlmConfig:
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
