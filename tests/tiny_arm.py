# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Names and command-line flags of the imaginary arm and the tiny model that the tests share."""

JOINTS = ["shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper"]
JOINT_NAMES = [f"{joint}.pos" for joint in JOINTS]
CAMERAS = ["observation.images.overhead", "observation.images.wrist"]
TINY_TASK = "pick up the red cube and place it on the blue disc"
TINY_FPS = 10

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
