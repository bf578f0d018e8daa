# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Colour pairs: which cube goes on which disc, and which pairs training never shows."""

from __future__ import annotations

# Disjoint on purpose: a cube on a disc of its own colour could not be seen from above.
CUBE_COLOURS = ("red", "green", "blue", "yellow")
DISC_COLOURS = ("purple", "orange", "black", "white")

# Each colour of a left-out pair is seen in three other pairs.
LEFT_OUT_PAIRS = (("red", "white"), ("green", "purple"), ("blue", "orange"), ("yellow", "black"))
ALL_PAIRS = tuple((cube, disc) for cube in CUBE_COLOURS for disc in DISC_COLOURS)
SEEN_PAIRS = tuple(pair for pair in ALL_PAIRS if pair not in LEFT_OUT_PAIRS)
SPLITS = ("seen", "left_out", "all")


def pairs_of(split: str) -> tuple[tuple[str, str], ...]:
    """Returns the (cube colour, disc colour) pairs of a split.

    Raises:
        ValueError: The split is none of ``SPLITS``.
    """
    if split not in SPLITS:
        raise ValueError(f"split={split!r} is unknown; choose one of {SPLITS}")
    return {"seen": SEEN_PAIRS, "left_out": LEFT_OUT_PAIRS, "all": ALL_PAIRS}[split]


def instruction(cube: str, disc: str) -> str:
    """Returns the sentence that the policy gets as its task."""
    return f"pick up the {cube} cube and place it on the {disc} disc"
