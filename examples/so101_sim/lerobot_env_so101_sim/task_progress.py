# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Task Progress: a 0 to 100 score with partial credit, judged from the simulator's truth.

The paper scores real robots on a 10-point rubric scaled to 100 (pick, place, one point for the retreat; paper
p. 36). Simulated pick and place gets six milestones. The weights are our choice, in the paper's spirit: picking
and placing carry most, the retreat 10.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

WEIGHTS = {
    "reached": 10.0,
    "grasped": 25.0,
    "lifted": 15.0,
    "above_target": 20.0,
    "released": 20.0,
    "retreated": 10.0,
}
MILESTONES = tuple(WEIGHTS)

# Our choice, all in metres. The cube's half edge is 0.015, the disc's radius 0.05.
REACHED_WITHIN = 0.03
LIFTED_BY = 0.03
RETREATED_BEYOND = 0.07


@dataclass(frozen=True)
class SceneTruth:
    """What the rubric looks at, at one instant.

    Attributes:
        tool_to_cube: Distance from the point between the finger tips to the cube's centre, metres.
        grasped: Both fingers press the cube from opposite sides.
        lift_height: Height of the cube over where it stood at the start, metres.
        over_disc: The cube's centre is inside the disc's outline, seen from above.
        placed: The cube rests on the table inside the disc, still, and touched by nothing else.
    """

    tool_to_cube: float
    grasped: bool
    lift_height: float
    over_disc: bool
    placed: bool


class TaskProgress:
    """The running maximum over an episode. Milestones count in order: none without the ones before it."""

    def __init__(self) -> None:
        self._reached = 0

    def update(self, truth: SceneTruth) -> float:
        """Takes one more instant into account and returns the score so far, 0 to 100."""
        passes = (
            truth.tool_to_cube < REACHED_WITHIN,
            truth.grasped,
            truth.grasped and truth.lift_height > LIFTED_BY,
            truth.grasped and truth.lift_height > LIFTED_BY and truth.over_disc,
            truth.placed and not truth.grasped,
            truth.placed and truth.tool_to_cube > RETREATED_BEYOND,
        )
        # Several milestones may fall into one control step, so go on while the next one holds too.
        while self._reached < len(passes) and passes[self._reached]:
            self._reached += 1
        return self.score

    @property
    def score(self) -> float:
        """The score so far, 0 to 100."""
        return sum(list(WEIGHTS.values())[: self._reached])

    @property
    def flags(self) -> dict[str, bool]:
        """Each milestone's name and whether it was passed."""
        return {name: index < self._reached for index, name in enumerate(MILESTONES)}

    @property
    def complete(self) -> bool:
        """Whether all milestones were passed."""
        return self._reached == len(MILESTONES)


class StepsProgress:
    """The same for a task of several steps, which count in their order: a step begins when the one before is complete.

    Args:
        count: How many steps.
    """

    def __init__(self, count: int) -> None:
        self.steps = [TaskProgress() for _ in range(count)]

    @property
    def current(self) -> int:
        """The first step that is not complete; the last one once all are."""
        return next((i for i, step in enumerate(self.steps) if not step.complete), len(self.steps) - 1)

    def update(self, truth: Callable[[int], SceneTruth]) -> float:
        """Takes one more instant into account; ``truth`` tells what a step's rubric looks at. Returns the score so far."""
        while True:
            current = self.current
            self.steps[current].update(truth(current))
            if self.current == current:
                return self.score

    @property
    def score(self) -> float:
        """The mean of the steps' scores, 0 to 100."""
        return sum(step.score for step in self.steps) / len(self.steps)

    @property
    def flags(self) -> dict[str, bool]:
        """Each milestone's name and whether every step passed it."""
        return {name: all(step.flags[name] for step in self.steps) for name in MILESTONES}

    @property
    def complete(self) -> bool:
        """Whether all steps passed all milestones."""
        return all(step.complete for step in self.steps)
