# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Finds recoveries in demonstrations: retries, re-grasps and corrections (paper 6.4 and 6.6; the rules are our choice).

* retry: the gripper closed and opened again with nothing carried, and another grasp follows. The recovery is what follows
  the missed grasp, up to and with the next one.
* re-grasp: more grasps with a carry than episodes of the same instruction commonly have. The surplus are those with the
  shortest carry; the recovery is the way to the next grasp and that grasp. A short last cycle mends what was placed, and
  is the recovery itself.
* correction: inside an action, a segment whose net motion undoes part of the segment before it.

Labels come from the event table, so corrected captions count too. Only corrections need the episodes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lerobot_wallwm.embodiment.description import widest_alike
from lerobot_wallwm.processors.motion.kinematics import KinematicsConfig, kinematics
from lerobot_wallwm.processors.source.episodes import Episode
from lerobot_wallwm.processors.source.events import Event, by_episode
from lerobot_wallwm.storage.errors import DataError

KINDS = ("retry", "re-grasp", "correction")
_OPENS = ("open", "release")

# All of these are our choice.
# A re-grasp is a surplus only where so many episodes share the instruction, and this part of them the number of cycles.
LEAST_EPISODES = 3
COMMON_SHARE = 0.5
# A segment moves back where the cosine to the one before is below this, and it undoes at least this part of it.
OPPOSED = -0.6
UNDONE = 0.2
# Either must move this part of the arm's travel in the episode: less is settling.
LEAST_MOVE = 0.03
# More moves back and forth in one action are a stroke (wiping, stirring), not corrections.
MOST_CORRECTIONS = 2


@dataclass(frozen=True, slots=True)
class Recovery:
    """One event that recovers from something, of one of `KINDS`; `evidence` is what was measured, in one clause.

    `cause` is the `event_id` of what went wrong: the missed grasp, the short carry's grasp, the segment that was undone.
    """

    event_id: int
    kind: str
    cause: int
    evidence: str


@dataclass(frozen=True)
class _Cycle:
    """A grasp and the opening that ends it, as positions in an episode's actions; `carry` in frames."""

    grasp: int
    opening: int
    carry: int


def find_recoveries(
    events: Iterable[Event], episodes: Iterable[Episode] | None = None, config: KinematicsConfig | None = None
) -> list[Recovery]:
    """Finds the recoveries of an event table: one row per recovering event, by `event_id`.

    Actions and segments only: the segments of a recovering action recover with it. An event that fits two kinds keeps the
    first of `KINDS`.

    Args:
        events: Events of any number of episodes, levels action and segment at least (task for re-grasps).
        episodes: The same episodes, in any order, read one at a time; without them no correction is found. `DataError`
            if the table belongs to others.
        config: How state and action are read.
    """
    table = list(events)
    groups, cycles = by_episode(table), common_cycles(table)
    found = [recovery for own in groups.values() for recovery in _of_actions(own, cycles)]
    for episode in episodes or ():
        found += _corrections(episode, groups.get(episode.index, []), config or KinematicsConfig())
    first: dict[int, Recovery] = {}
    for recovery in sorted(found, key=lambda r: KINDS.index(r.kind)):
        first.setdefault(recovery.event_id, recovery)
    return [first[event_id] for event_id in sorted(first)]


def common_cycles(events: Iterable[Event]) -> dict[str, int]:
    """Number of grasps with a carry that most episodes of an instruction have, by task template.

    Templates with fewer than `LEAST_EPISODES` episodes, or whose episodes differ too much for one number to be common
    (clearing a table of any number of things), are left out. Of two equally common numbers the larger counts.
    """
    counts: dict[str, list[int]] = defaultdict(list)
    for own in by_episode(events).values():
        counts[_instruction(own)].append(sum(cycle.carry > 0 for cycle in _cycles(_actions(own))))
    common = {}
    for template, numbers in counts.items():
        number, times = max(Counter(numbers).items(), key=lambda item: (item[1], item[0]))
        if len(numbers) >= LEAST_EPISODES and times >= COMMON_SHARE * len(numbers):
            common[template] = number
    return common


def _instruction(own: Sequence[Event]) -> str:
    return next((event.template for event in own if event.level == "task"), "")


def _actions(own: Sequence[Event]) -> list[Event]:
    return sorted((event for event in own if event.level == "action"), key=lambda event: event.start)


def _cycles(actions: Sequence[Event]) -> list[_Cycle]:
    """Grasps in order, each with the opening that ends it; a grasp that is never opened ends with the episode."""
    found = []
    for position, action in enumerate(actions):
        if action.label != "grasp":
            continue
        ends = (i for i, a in enumerate(actions) if i > position and a.label in (*_OPENS, "grasp"))
        opening = next(ends, len(actions))
        carry = sum(a.length for a in actions[position + 1 : opening] if a.label != "wait")
        found.append(_Cycle(position, opening, carry))
    return found


def _of_actions(own: Sequence[Event], common: Mapping[str, int]) -> list[Recovery]:
    """Retries and re-grasps of one episode, with the segments inside them."""
    actions = _actions(own)
    cycles = _cycles(actions)
    # Kind, cause, first and one past the last position, evidence.
    spans: list[tuple[str, int, int, int, str]] = []
    carried: list[int] = []
    for place, cycle in enumerate(cycles):
        opened = cycle.opening < len(actions) and actions[cycle.opening].label in _OPENS
        if cycle.carry:
            carried.append(place)
        elif opened and place + 1 < len(cycles):
            grasp, opening = actions[cycle.grasp], actions[cycle.opening]
            evidence = (
                f"closed at frame {grasp.start}, opened again at {opening.start} with nothing carried, "
                f"closed again at {actions[cycles[place + 1].grasp].start}"
            )
            spans.append(("retry", grasp.event_id, cycle.grasp + 1, cycles[place + 1].grasp + 1, evidence))
    usual = common.get(_instruction(own))
    surplus = max(0, len(carried) - usual) if usual else 0
    for place in sorted(carried, key=lambda p: (cycles[p].carry, p))[:surplus]:
        cycle = cycles[place]
        cause = actions[cycle.grasp]
        evidence = f"grasp {len(carried)} times with a carry, {usual} are common; this carry lasted {cycle.carry} frames"
        if place + 1 < len(cycles):
            again = cycles[place + 1].grasp
            begin, end = cycle.opening + (cycle.opening < again), again + 1
        else:
            begin, end = (cycles[place - 1].opening + 1 if place else 0), cycle.opening + 1
            while begin < cycle.grasp and actions[begin].label == "retreat":
                begin += 1
        spans.append(("re-grasp", cause.event_id, begin, end, evidence))
    found = []
    for kind, cause_id, begin, end, evidence in spans:
        ids = sorted({action.event_id for action in actions[begin:end]})
        inside = [event.event_id for event in own if event.level == "segment" and event.parent in ids]
        found += [Recovery(event_id, kind, cause_id, evidence) for event_id in ids + inside]
    return found


def _corrections(episode: Episode, own: Sequence[Event], config: KinematicsConfig) -> list[Recovery]:
    """Segments that move back inside their action."""
    of_state = episode.what.state_grippers
    arm = np.delete(episode.state, of_state, axis=1)
    travel = np.ptp(arm, axis=0) if arm.size else np.zeros(0)
    if not travel.size or travel.max() <= 0:
        return []
    # A joint that hardly moves must not weigh as much as one that does the work.
    dims = [dim for d, dim in enumerate(episode.what.state) if d not in of_state]
    arm = arm / np.maximum(travel, 0.15 * widest_alike(travel, dims))
    switches = kinematics(episode, config).switches
    groups: dict[int, list[Event]] = defaultdict(list)
    for event in own:
        if event.end > len(arm):
            problem = f"ends at frame {event.end}, but episode {episode.index} has {len(arm)}"
            fix = "pass the event table of this very dataset"
            raise DataError("events", f"event_id {event.event_id}", problem, fix)
        if event.level == "segment" and event.label != "wait":
            groups[event.parent].append(event)
    found = []
    for segments in groups.values():
        segments.sort(key=lambda event: event.start)
        back = []
        for before, after in zip(segments, segments[1:], strict=False):
            away, home = (arm[min(e.end, len(arm) - 1)] - arm[e.start] for e in (before, after))
            size, undone = float(np.linalg.norm(away)), float(np.linalg.norm(home))
            switched = any(s.start < after.end and s.end > before.start for s in switches)
            if switched or min(size, undone) < LEAST_MOVE:
                continue
            cosine, part = float(away @ home) / (size * undone), -float(away @ home) / size**2
            if cosine < OPPOSED and part >= UNDONE:
                evidence = (
                    f"moves back: cosine {cosine:.2f} to the segment before, undoes {100 * part:.0f} % of it"
                )
                back.append(Recovery(after.event_id, "correction", before.event_id, evidence))
        if len(back) <= MOST_CORRECTIONS:
            found += back
    return found
