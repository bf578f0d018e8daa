# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The training stages as one table (paper p. 19-21, table 1). Plain data: neither torch nor LeRobot is imported.

A run of `lerobot-train` is one stage; the next one starts from its checkpoint by `--policy.path`. Numbers marked
None in the configuration come from here, so that a checkpoint does not hand its stage's numbers to the next.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

# In the order in which they are summed and logged.
LOSSES = ("action", "video", "remaining", "goal", "align", "next", "time", "cot", "match")
# Towers and eye; then the language half.
PARTS = ("video", "landmarks", "action", "text", "goal")
REASONING = ("vlm", "project", "stairs", "prefix")
# Stages that need the language half.
REASONED = frozenset({"vlm", "staircase", "unified"})


@dataclass(frozen=True)
class Stage:
    """One row of the table.

    Attributes:
        name: Value of ``--policy.stage``.
        trains: Parts that learn, of `PARTS`; the others are frozen. ``video`` is the video tower with its cross-view
            attention. ``action`` is the action tower with its side of the coupling and the head for the remaining
            time. ``text`` is nano's word encoder, which stands in for the paper's frozen umT5 and, unlike that, must
            learn its words with the first tower that reads them (our choice). ``landmarks`` and ``goal`` are ours, too.
            Of the language half, `REASONING`: the vision-language model, P_Q, the staircase's branch, and P_pref.
        losses: Which of `LOSSES` are summed.
        future_fraction: Part of all samples that carries the noised future.
        anchored_fraction: Part of those that hold the video at s* while the actions' level is free (the paper's
            asymmetric mapping, p. 10); the others have ``t_A = t_V``.
        action_draws: K, noise levels of the actions on one video forward.
        uniform_video_levels: Noise levels of the video are uniform in [0, 1], instead of shifted as the sampler's.
        caption_drop: Least and greatest share of captions dropped, by the event's length.
        ema_decay: Of the average of the trained weights; 0 keeps none.
    """

    name: str
    trains: frozenset[str]
    losses: frozenset[str]
    future_fraction: float
    anchored_fraction: float
    action_draws: int
    uniform_video_levels: bool = False
    caption_drop: tuple[float, float] = (0.0, 0.0)
    ema_decay: float = 0.0


_ROWS = (
    # Both towers at once: the paper's small-data setting (p. 10). The fractions are our choice.
    Stage(
        name="joint",
        trains=frozenset(PARTS),
        losses=frozenset({"action", "video", "remaining", "goal"}),
        future_fraction=0.125,
        anchored_fraction=0.5,
        action_draws=2,
    ),
    # Stage 1 (p. 19-20): the video loss alone, on every sample.
    Stage(
        name="video",
        trains=frozenset({"video", "landmarks", "text"}),
        losses=frozenset({"video"}),
        future_fraction=1.0,
        anchored_fraction=0.0,
        action_draws=1,
        uniform_video_levels=True,
        caption_drop=(0.1, 0.9),
        ema_decay=0.9999,
    ),
    # Stage 2 (p. 20): the video tower is frozen and held at s*; K = 6. In the paper every sample carries its future;
    # here half of them do (our choice). From the other half, which see the keyframe alone, the remaining time is
    # learned (a future in sight would tell it) and acting without imagination.
    Stage(
        name="action",
        trains=frozenset({"landmarks", "action", "goal"}),
        losses=frozenset({"action", "remaining", "goal"}),
        future_fraction=0.5,
        anchored_fraction=1.0,
        action_draws=6,
    ),
    # Stage 5 (p. 21): both towers on observation-centred windows (chunk_window.py). The paper gives no weights and calls
    # K = 6 optional: the numbers are those of `joint`. nano's words must be learned anew, for events have others than
    # the task (our choice). Chunks end by the clock: no goal, no remaining time.
    Stage(
        name="next_chunk",
        trains=frozenset({"video", "landmarks", "action", "text"}),
        losses=frozenset({"action", "video"}),
        future_fraction=0.125,
        anchored_fraction=0.5,
        action_draws=2,
    ),
    # Stage 3 (p. 20-21): the vision-language model learns to say what happens now and next and how long it takes, and P_Q
    # to put its words where the towers' text encoder puts them. In the paper the model itself is pretrained and frozen;
    # nano's has no pretraining and learns here (our choice).
    Stage(
        name="vlm",
        trains=frozenset({"vlm", "project"}),
        losses=frozenset({"align", "next", "time"}),
        future_fraction=0.0,
        anchored_fraction=0.0,
        action_draws=1,
    ),
    # Stage 4 (p. 21): the branch learns latents that a frozen decoder reads back as what happens now and next. `match` is
    # ours: the towers shall see the same with latents as with the event's caption. Without it nothing brings the
    # latents to where the towers read.
    Stage(
        name="staircase",
        trains=frozenset({"stairs", "prefix"}),
        losses=frozenset({"cot", "match"}),
        future_fraction=0.0,
        anchored_fraction=0.0,
        action_draws=1,
    ),
    # Ours: no stage of the paper uses the path from actions into language. Chunks are told by latents, and the loss of
    # their actions reaches the branch through towers that stay frozen.
    Stage(
        name="unified",
        trains=frozenset({"stairs", "project"}),
        losses=frozenset({"action", "cot"}),
        future_fraction=0.0,
        anchored_fraction=0.0,
        action_draws=2,
    ),
)
STAGES = {row.name: row for row in _ROWS}
# The paper's own numbers, where the rows above have ours: every sample carries its future, and from what the keyframe alone
# shows nothing is learned, the remaining time neither: there a VLM tells it (p. 20).
PAPER_STAGES = {
    **STAGES,
    # The symmetric mapping of small data (p. 10).
    "joint": replace(STAGES["joint"], future_fraction=1.0, anchored_fraction=0.0, action_draws=1),
    "action": replace(STAGES["action"], future_fraction=1.0),
    # The same anchor s*, optional K = 6 (p. 21).
    "next_chunk": replace(STAGES["next_chunk"], future_fraction=1.0, anchored_fraction=1.0, action_draws=6),
}
