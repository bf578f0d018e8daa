# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What a split draws: which things stand on the table, what is asked for, and what differs from training.

A plan is the kinds of an instruction's steps in order: ``P`` puts a cube on a disc or in a bin, ``S`` stacks it on a cube.
A combination is a plan with its first two cubes in order. Training has half of the combinations of each plan, and of each
two cubes one order in half of the plans; it has every cube, disc and bin, and every plan.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lerobot_env_so101_sim.colours import DISC_COLOURS, LEFT_OUT_PAIRS
from lerobot_env_so101_sim.tables.words import CUBES, Step, sentence

PLANS = ("P", "S", "PP", "PS", "SP", "PPS", "PSP")
# In training the plans of one, two and three steps, and how often each.
TRAINED_PLANS = {"P": 0.25, "S": 0.1, "PP": 0.2, "PS": 0.15, "SP": 0.1, "PPS": 0.1, "PSP": 0.1}
BINS_SHARE = 0.35
CLUTTER_SHARE = 0.3
MOST_BINS, MOST_DISCS = 2, 3


@dataclass(frozen=True)
class Split:
    """How a split differs from training.

    Attributes:
        plans: Plans and their shares.
        cubes: Fewest and most cubes, beyond what the steps need.
        places: Fewest and most discs and bins.
        left_out_pairs: Cubes go to the colours that training never has them go to.
        left_out_orders: Combinations that training never has.
        new_words: Wordings that training never has.
        shift: ``camera``, ``light``, ``texture`` or ``size``.
        pairs: 1 or 2: the first or the second of two instructions for the same scene.
    """

    plans: dict[str, float] = field(default_factory=lambda: TRAINED_PLANS)
    cubes: tuple[int, int] = (1, 3)
    places: tuple[int, int] = (1, 2)
    left_out_pairs: bool = False
    left_out_orders: bool = False
    new_words: bool = False
    shift: str | None = None
    pairs: int = 0


def _only(*plans: str) -> dict[str, float]:
    return dict.fromkeys(plans, 1 / len(plans))


TABLE_SPLITS = {
    "seen": Split(),
    "unseen_pairs": Split(plans=_only("P", "PP"), left_out_pairs=True),
    "unseen_orders": Split(plans=_only("S", "PP", "PS", "SP"), left_out_orders=True),
    "unseen_compositions": Split(plans=_only("PPS", "PSP"), left_out_orders=True),
    "paraphrases": Split(new_words=True),
    "more_objects": Split(cubes=(4, 4), places=(3, 3)),
    "camera": Split(shift="camera"),
    "light": Split(shift="light"),
    "texture": Split(shift="texture"),
    "size": Split(shift="size"),
    "pairs": Split(cubes=(2, 3), places=(2, 2), pairs=1),
    "pairs_swapped": Split(cubes=(2, 3), places=(2, 2), pairs=2),
}


@dataclass(frozen=True)
class Scenario:
    """One table and what is asked for.

    Attributes:
        cubes: Names, ``"red cube"``; at most one of a colour.
        places: Discs and bins, ``"black disc"``; at most one of a colour.
        clutter: Things that no instruction names.
        steps: In order.
        task: The sentence.
        shift: What differs from training.
        other: The pair's other instruction, and what tells the two apart: ``cube``, ``place`` or ``order``.
    """

    cubes: tuple[str, ...]
    places: tuple[str, ...]
    clutter: int
    steps: tuple[Step, ...]
    task: str
    shift: str | None = None
    other: tuple[Step, ...] = ()
    differ_in: str = ""


def trained(plan: str, first: str, second: str) -> bool:
    """Whether training has this plan with these two cubes, in this order."""
    ahead = (CUBES.index(second) - CUBES.index(first)) % len(CUBES)
    # Of any two cubes one leads: whose colour comes before the other's in the round, or the earlier of two opposite ones.
    leads = ahead == 1 or (ahead == 2 and CUBES.index(first) < 2)
    return leads == (PLANS.index(plan) % 2 == 0)


def draw(split: str, rng: np.random.Generator) -> Scenario:
    """Draws a scenario.

    Raises:
        ValueError: The split is unknown.
    """
    if split not in TABLE_SPLITS:
        raise ValueError(f"split={split!r} is unknown; choose one of {tuple(TABLE_SPLITS)}")
    kind = TABLE_SPLITS[split]
    if kind.pairs:
        return _pair(kind, rng)
    plan = str(rng.choice(list(kind.plans), p=list(kind.plans.values())))
    n_cubes = rng.integers(max(_needs(plan)[0], kind.cubes[0]), kind.cubes[1] + 1)
    n_places = rng.integers(max(_needs(plan)[1], kind.places[0]), kind.places[1] + 1)
    while True:
        cubes, places = _things(int(n_cubes), int(n_places), rng)
        steps = steps_of(plan, cubes, places)
        if _allowed(kind, plan, steps, cubes):
            break
    # A stream of its own for the wording: the same seed gives the same table whatever the words.
    clutter, words = _clutter(rng), np.random.default_rng(rng.integers(2**31))
    return Scenario(cubes, places, clutter, steps, sentence(steps, cubes, words, kind.new_words), kind.shift)


def steps_of(plan: str, cubes: tuple[str, ...], places: tuple[str, ...]) -> tuple[Step, ...]:
    """The steps of a plan, which takes cubes and places in their order; stacks stand on the first cube."""
    if plan[0] == "S":
        others, free = list(cubes[2:]), list(places)
        steps = [Step(cubes[0], cubes[1])]
    else:
        others, free = list(cubes[1:]), list(places[1:])
        steps = [Step(cubes[0], places[0])]
    for letter in plan[1:]:
        steps.append(Step(others.pop(0), free.pop(0) if letter == "P" else cubes[0]))
    return tuple(steps)


def _needs(plan: str) -> tuple[int, int]:
    return len(plan) + (plan[0] == "S"), plan.count("P")


def _things(n_cubes: int, n_places: int, rng: np.random.Generator) -> tuple[tuple[str, ...], tuple[str, ...]]:
    cubes = tuple(str(name) for name in rng.permutation(CUBES)[:n_cubes])
    colours = rng.permutation(DISC_COLOURS)[:n_places]
    kinds = ["bin" if rng.random() < BINS_SHARE else "disc" for _ in colours]
    while kinds.count("bin") > MOST_BINS:
        kinds[kinds.index("bin")] = "disc"
    return cubes, tuple(f"{colour} {kind}" for colour, kind in zip(colours, kinds, strict=True))


def _clutter(rng: np.random.Generator) -> int:
    return int(rng.random() < CLUTTER_SHARE)


def _left_out(step: Step) -> bool:
    return (step.cube.split()[0], step.place.split()[0]) in LEFT_OUT_PAIRS


def _allowed(kind: Split, plan: str, steps: tuple[Step, ...], cubes: tuple[str, ...]) -> bool:
    if any(step.kind != "cube" and _left_out(step) != kind.left_out_pairs for step in steps):
        return False
    # Of one cube alone there is no order; new pairs of colours come in trained orders, as far as there are any.
    return _needs(plan)[0] < 2 or trained(plan, *cubes[:2]) != kind.left_out_orders


def _pair(kind: Split, rng: np.random.Generator) -> Scenario:
    """Two instructions for one scene that differ in the cube, in the place, or in the order."""
    differ_in = str(rng.choice(("cube", "place", "order")))
    n_cubes = int(rng.integers(kind.cubes[0], kind.cubes[1] + 1))
    while True:
        cubes, places = _things(n_cubes, kind.places[0], rng)
        first = (Step(cubes[0], places[0]),)
        if differ_in == "cube":
            second = (Step(cubes[1], places[0]),)
        elif differ_in == "place":
            second = (Step(cubes[0], places[1]),)
        else:
            first = (*first, Step(cubes[1], places[1]))
            second = first[::-1]
        if not any(map(_left_out, first + second)):
            break
    told, other = (first, second) if kind.pairs == 1 else (second, first)
    # The same wording for both: they differ in nothing else.
    clutter, words = _clutter(rng), np.random.default_rng(rng.integers(2**31))
    return Scenario(
        cubes, places, clutter, told, sentence(told, cubes, words), other=other, differ_in=differ_in
    )
