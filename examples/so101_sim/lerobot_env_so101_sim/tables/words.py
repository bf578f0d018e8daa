# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Steps of an instruction, the sentences that ask for them, and which of them a table does not allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lerobot_env_so101_sim.colours import CUBE_COLOURS

CUBES = tuple(f"{colour} cube" for colour in CUBE_COLOURS)
# How one step is said, by what it puts the cube on: in training, and where wordings are new.
CLAUSES = {
    "disc": ("put {cube} on {place}", "pick up {cube} and place it on {place}"),
    "bin": ("put {cube} in {place}", "pick up {cube} and place it in {place}"),
    "cube": ("stack {cube} on {place}", "pick up {cube} and put it on {place}"),
}
NEW_CLAUSES = {
    "disc": ("set {cube} down on {place}", "move {cube} onto {place}"),
    "bin": ("drop {cube} into {place}", "move {cube} into {place}"),
    "cube": ("place {cube} on top of {place}", "move {cube} onto {place}"),
}
# How steps are joined, by their number. Where a later step is said first, everything keeps its full name.
JOINTS = {
    1: ("{0}",),
    2: ("{0}, then {1}", "{0} and then {1}", "before you {1}, {0}"),
    3: ("{0}, then {1}, then {2}", "{0}, then {1} and then {2}"),
}
NEW_JOINTS = {
    1: ("please {0}",),
    2: ("first {0}, after that {1}", "{0}; once that is done, {1}", "{1} after you {0}"),
    3: ("first {0}, next {1}, finally {2}", "{0}; after that {1}; at the end {2}"),
}
# How often a later step says "it", "the blue one" or "the other cube" where it may.
SHORT_NAMES = 0.5


@dataclass(frozen=True)
class Step:
    """One cube to be moved: ``Step("red cube", "black disc")``, or onto another cube."""

    cube: str
    place: str

    @property
    def kind(self) -> str:
        """What the place is: ``disc``, ``bin`` or ``cube``."""
        return self.place.rsplit(" ", 1)[-1]

    def __str__(self) -> str:
        return f"{self.cube} > {self.place}"


class StepError(ValueError):
    """A step that the table does not allow."""

    def __init__(self, number: int, step: Step, problem: str, fix: str) -> None:
        super().__init__(f"step {number} ({step}): {problem}. Fix: {fix}")


def check_steps(steps: Sequence[Step], cubes: Sequence[str], places: Sequence[str]) -> None:
    """Refuses steps that cannot be done in their order.

    Args:
        steps: In the order in which they are to be done.
        cubes: What stands on the table, each beside the others.
        places: Its discs and bins, all empty.

    Raises:
        StepError: A step names something that is absent, moves a cube that carries another, or goes where no room is.
        ValueError: There are no steps.
    """
    if not steps:
        raise ValueError("an instruction needs at least one step. Fix: give steps, e.g. [Step(cube, place)]")
    stands_on: dict[str, str] = {}
    for number, step in enumerate(steps, start=1):
        for name, known in ((step.cube, cubes), (step.place, [*cubes, *places])):
            if name not in known:
                there = ", ".join(known)
                raise StepError(number, step, f"there is no {name} on this table", f"name one of: {there}")
        on_top = {under: cube for cube, under in stands_on.items()}
        if step.cube == step.place:
            raise StepError(number, step, "a cube cannot stand on itself", "name another place")
        if step.cube in on_top:
            upper = on_top[step.cube]
            raise StepError(number, step, f"the {upper} stands on it by then", f"move the {upper} first")
        if step.place in on_top:
            upper = on_top[step.place]
            raise StepError(number, step, f"the {upper} is there by then", "name a free place")
        if step.place in cubes and stands_on.get(step.place) in cubes:
            raise StepError(number, step, "a third cube would not be safe", "name a lower place")
        stands_on[step.cube] = step.place


def sentence(steps: Sequence[Step], cubes: Sequence[str], rng: np.random.Generator, new: bool = False) -> str:
    """Asks for steps in one of several wordings.

    Args:
        steps: One to three.
        cubes: All that stand on the table; "the other cube" needs to know.
        rng: Chooses the wording.
        new: Take wordings that training never has.
    """
    clauses, joints = (NEW_CLAUSES, NEW_JOINTS) if new else (CLAUSES, JOINTS)
    joint = str(rng.choice(joints[len(steps)]))
    in_order = joint.find("{0}") < joint.find("{1}") or len(steps) == 1
    parts = []
    for i, step in enumerate(steps):
        cube, place, choices = f"the {step.cube}", f"the {step.place}", clauses[step.kind]
        if i and in_order:
            before = steps[i - 1].cube
            if rng.random() < SHORT_NAMES:
                cube = f"the {step.cube.removesuffix(' cube')} one"
                if set(cubes) == {before, step.cube} and before != step.cube:
                    cube = "the other cube"
            if step.place == before and rng.random() < SHORT_NAMES:
                place, choices = "it", choices[:1]  # "pick it up and put it on it" says nothing
        parts.append(str(rng.choice(choices)).format(cube=cube, place=place))
    return joint.format(*parts)
