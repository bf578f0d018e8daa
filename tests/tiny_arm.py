# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Names and command-line flags of the imaginary arm and the tiny model that the tests share."""

from typing import Any

from lerobot_wallwm.language.event_grammar import learn_transitions

JOINTS = ["shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper"]
JOINT_NAMES = [f"{joint}.pos" for joint in JOINTS]
CAMERAS = ["observation.images.overhead", "observation.images.wrist"]
TINY_TASK = "pick up the red cube and place it on the blue disc"
TINY_FPS = 10
# The events of a plan for it, as templates, and as they are called in `TINY_TASK`.
PICK = ["reach for the {object}", "grasp the {object}", "move the {object} to the {target}"]
PICKED = ["reach for the red cube", "grasp the red cube", "move the red cube to the blue disc"]


def grammar(frames: int, **more: Any) -> dict[str, Any]:
    """Fields of a policy that plans `PICK`, each event of at most so many frames."""
    learned = {
        "event_transitions": learn_transitions([PICK]),
        "event_max_frames": dict.fromkeys(PICK, frames),
    }
    return {"planner": "grammar", **learned, **more}


# Command-line flags of the tiny model, for tests that go through `lerobot-train`.
TINY_FLAGS = [
    "--policy.image_size=[32,32]",
    "--policy.num_future_latents=1",
    "--policy.video_stride=2",
    "--policy.video_width=24",
    "--policy.video_depth=2",
    "--policy.video_heads=2",
    "--policy.video_ffn_width=32",
    "--policy.text_dim=16",
    "--policy.action_width=16",
    "--policy.action_heads=2",
    "--policy.action_ffn_width=16",
    "--policy.action_draws=2",
    "--policy.num_inference_steps=2",
]
