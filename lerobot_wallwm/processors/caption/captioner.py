# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Captions at four levels from kinematics and the instruction, without a model.

Which action an interval is follows from the gripper (open, closing, holding, opening) and from the interval's place in
that order: what comes before a grasp reaches and approaches, what follows lifts, moves and lowers. Equal events get equal
strings, so the captions are also the vocabulary that a planner can learn. Our choice: no claim about directions such as
"down", which joint angles do not show without the arm's geometry.

A robot with two arms, or an arm on a base, has a track of events for each part. The table is cut wherever one of them begins
another event, and a caption says what every part that moves does: "left arm: lift the red cube; right arm: reach for the
blue cube". So the training view follows all parts at once; `EventCaptioner.tracks` gives them apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from lerobot_wallwm.language import lexicon
from lerobot_wallwm.language.event_grammar import PAUSE
from lerobot_wallwm.language.instruction import TASK, Instruction, Instructions, fill, numbered
from lerobot_wallwm.language.reading import Step
from lerobot_wallwm.processors.motion.kinematics import Kinematics, KinematicsConfig, kinematics
from lerobot_wallwm.processors.segment.segmenter import CUT_FIELDS, Cut, Segmentation
from lerobot_wallwm.processors.segment.tracks import BASE, arms_of, drives, moves, part_episode, parts_of
from lerobot_wallwm.processors.source.episodes import Episode
from lerobot_wallwm.processors.source.events import LEVELS, Event

# Of the episode's fast speed; above it the arm does something else than hold still for its gripper.
_MOVING = 0.35
# A shorter standstill belongs to the action before it. Our choice: a person's moment of thought rather than an event.
_SHORTEST_WAIT_S = 1.0
# Boundaries of two parts that are no farther apart, in seconds, are one. Our choice, as the shortest event.
_NEAR_S = 0.15
# Confidence of a boundary at a gripper's switch that is too near the next one for an event of the usual length.
_LATE = 0.95
_WAITS = re.compile(r"\b(?:wait|hold still|stay still|pause)\b", re.I)


@dataclass
class _Span:
    """An interval while it is being named."""

    start: int
    end: int
    label: str
    confidence: float
    source: str


# Spans of one part by level, below the task.
Track = dict[str, list[_Span]]

# What is said where the sentence does not tell the object.
_NAMELESS = {
    "reach": "reach for the object",
    "approach": "approach the object",
    "grasp": "grasp the object",
    "lift": "lift the object",
    "move": "move the object",
    "lower": "lower the object",
    "release": "release the object",
    "retreat": "retreat from the object",
    "pick": "pick up the object",
    "place": "put down the object",
}


def caption_templates(instruction: str | Instruction, number: int | None = 1) -> dict[str, str]:
    """Caption template of each label for this instruction.

    `number` is the step of the instruction, counted from 1; None where that is not known: the templates then hold the whole
    sentence instead of an object.
    """
    if isinstance(instruction, str):
        instruction = Instruction.of(instruction)
    deeds = {
        "manipulate": instruction.template or "do the task",
        "task": instruction.template or "do the task",
    }
    still = {"open": "open the gripper", "close": "close the gripper"}
    still |= {"wait": "wait" if _WAITS.search(instruction.text) else PAUSE}
    still |= {"drive": "drive the base", "turn": "turn the base"}
    if number is None or number > len(instruction.steps):
        told = ": {task}" if instruction.text.strip() else ""
        return {label: text + told for label, text in _NAMELESS.items()} | deeds | still
    step = instruction.steps[number - 1]
    thing, goal = (f"{{{numbered(slot, number)}}}" for slot in ("object", "target"))
    near, onto = {"on": ("on", "onto"), "in": ("in", "into"), "at": ("at", "to")}.get(
        step.place, [step.place] * 2
    )
    away = onto if step.place not in ("on", "in", "at") else "to"
    spoken = {
        "reach": f"reach for the {thing}",
        "approach": f"approach the {thing}",
        "grasp": f"grasp the {thing}",
        "lift": f"lift the {thing}",
        "move": f"move the {thing} {away} the {goal}" if step.target else f"move the {thing}",
        "lower": f"lower the {thing} {onto} the {goal}" if step.target else f"lower the {thing}",
        "release": f"release the {thing}",
        "retreat": f"retreat from the {goal}" if step.target else f"retreat from the {thing}",
        "pick": f"pick up the {thing}",
        "place": f"place the {thing} {near} the {goal}" if step.target else f"put down the {thing}",
    }
    if instruction.whole:
        spoken = {label: f"{text}: {{task}}" for label, text in spoken.items()}
    return spoken | deeds | still


class EventCaptioner:
    """Names the intervals of a segmentation.

    `captioner(episode, segmentation)` returns the episode's events at all four levels, ids counted from 0 (see
    `number_events`). As a transform of an episodes-as-rows `datasets.Dataset` that has been through `EventSegmenter`,
    `ds.map(captioner, batched=True)` adds a column `events`, a list of event rows per episode.

    Args:
        kinematics: How state and action are read; the same as the segmenter's.
        instructions: How the dataset's tasks are read; None reads each alone.
    """

    def __init__(
        self, kinematics: KinematicsConfig | None = None, instructions: Instructions | None = None
    ) -> None:
        self.kinematics = kinematics or KinematicsConfig()
        self.instructions = instructions or Instructions()

    def __call__(self, item: Episode | Mapping[str, list], segmentation: Segmentation | None = None) -> Any:
        """See the class."""
        if isinstance(item, Episode):
            if segmentation is None:
                raise TypeError("EventCaptioner(episode, segmentation) needs the segmentation")
            return self.caption(item, segmentation)
        if "cut_frame" not in item:
            raise ValueError(
                "the rows have no column cut_frame. Fix: map EventSegmenter over the dataset first"
            )
        rows = []
        for values in zip(*item.values(), strict=True):
            row = dict(zip(item.keys(), values, strict=True))
            episode = Episode.from_row(row)
            cuts = zip(*(row[f"cut_{name}"] for name in CUT_FIELDS), strict=True)
            events = self.caption(episode, Segmentation(len(episode), tuple(Cut(*cut) for cut in cuts)))
            rows.append([{name: getattr(e, name) for name in Event.__slots__} for e in events])
        return {**item, "events": rows}

    def caption(self, episode: Episode, segmentation: Segmentation) -> list[Event]:
        """Events of one episode: its task, subtasks, actions and segments, tiling `[0, T)` at every level.

        Where the instruction changes within the episode there are several tasks, and a boundary at every level.
        Neighbouring intervals that get the same name become one action; their cuts stay as cuts between segments.
        """
        tracks = self.tracks(episode, segmentation)
        near = max(1, round(_NEAR_S * episode.fps))
        events: list[Event] = []
        for text, start, end in episode.task_spans:
            task = _Span(start, end, "task", 1.0, "task" if start else "episode")
            own = {part: _clip_track(track, start, end, near) for part, track in tracks.items()}
            self._add_task(events, episode.index, text, task, own, near)
        return events

    def _add_task(
        self, events: list[Event], index: int, text: str, task: _Span, tracks: dict[str, Track], near: int
    ) -> None:
        """Adds the events of one instruction of episode `index`; the tracks tile the span `task`."""
        spans = next(iter(tracks.values())) if len(tracks) == 1 else together(tracks, near)
        instruction = self.instructions(text)
        wording = _Wording(instruction, tracks)
        slots = instruction.slots | {TASK: text}

        def add(
            level: str, span: _Span, parent: int, template: str, label: str, caption: str | None = None
        ) -> int:
            caption = fill(template, slots) if caption is None else caption
            at = (span.start, span.end, label, caption, template, parent, span.confidence, span.source)
            events.append(Event(len(events), index, level, *at))
            return len(events) - 1

        template = caption_templates(instruction, None)["task"]
        task_id = add("task", task, -1, template, "task", text)
        for subtask in spans["subtask"]:
            within = _inside(spans["action"], subtask)
            label, template = wording(subtask, within[0])
            subtask_id = add("subtask", subtask, task_id, template, label)
            for action in within:
                label, template = wording(action, action)
                action_id = add("action", action, subtask_id, template, label)
                first = True
                for segment in _inside(spans["segment"], action):
                    label, template = wording(segment, action)
                    if not first and label != "wait":
                        template = f"continue to {template}"
                    first = first and label == "wait" != action.label
                    add("segment", segment, action_id, template, label)

    def tracks(self, episode: Episode, segmentation: Segmentation) -> dict[str, Track]:
        """The named intervals of each part of a robot, by part; in each they tile the episode. `""` is a robot of one part."""
        return {
            part: self._track(episode, part, [cut for cut in segmentation.cuts if cut.part == part])
            for part in parts_of(episode)
        }

    def _track(self, episode: Episode, part: str, cuts: list[Cut]) -> Track:
        if part and not moves(episode, part):
            still = [_Span(0, len(episode), "wait", 1.0, "episode")]
            return dict.fromkeys(LEVELS[1:], still)
        own = part_episode(episode, part) if part else episode
        if part == BASE:
            row = [_Span(start, end, label, 1.0, "base") for start, end, label in drives(own)]
            return dict.fromkeys(LEVELS[1:], row)
        motion = kinematics(own, self.kinematics)
        bounds = [Cut(0, "action", 1.0, "episode"), *cuts]
        ends = [*(cut.frame for cut in cuts), len(episode)]
        segments = [_Span(c.frame, e, "", c.confidence, c.source) for c, e in zip(bounds, ends, strict=True)]
        actions: list[_Span] = []
        for cut, end in zip(bounds, ends, strict=True):
            if cut.level == "action":
                actions.append(_Span(cut.frame, end, "", cut.confidence, cut.source))
            else:
                actions[-1].end = end
        for frame in _late_switches(actions, motion):
            actions, segments = _split(actions, frame), _split(segments, frame)
        _name_actions(actions, motion)
        actions = _join(actions, motion.frames(_SHORTEST_WAIT_S))
        for segment in segments:
            action = next(a for a in actions if a.start <= segment.start < a.end)
            segment.label = "wait" if _still(motion, segment) else action.label
        return {"subtask": _subtasks(actions), "action": actions, "segment": segments}


class _Wording:
    """Templates of spans: for a robot of one part its own words, for more what each part that moves does."""

    def __init__(self, instruction: Instruction, tracks: Mapping[str, Track]) -> None:
        self.tracks, self.instruction = tracks, instruction
        self.two = len(arms_of(list(tracks))) > 1
        self.by_number = {
            n: caption_templates(instruction, n) for n in (*range(1, len(instruction.steps) + 1), None)
        }
        self.numbers = {part: self._numbers(part, track["action"]) for part, track in tracks.items()}

    def _numbers(self, part: str, actions: list[_Span]) -> list[int | None]:
        """The step that each of a part's actions belongs to: of those that name this arm, where any names an arm."""
        side, steps = part.removesuffix(" arm") if self.two else "", self.instruction.steps
        mine = [n for n, step in enumerate(steps, 1) if not side or step.arm in (side, "both")]
        other = {"left": "right", "right": "left"}.get(side)
        mine = mine or [n for n, step in enumerate(steps, 1) if not step.arm or step.arm != other]
        asked = replace(self.instruction, steps=tuple(steps[n - 1] for n in mine))
        gripper = any(action.label in ("grasp", "release", "open", "close") for action in actions)
        return [None if n is None else mine[n - 1] for n in step_numbers(actions, asked, gripper)]

    def __call__(self, span: _Span, action: _Span) -> tuple[str, str]:
        """Label and template of a span that lies in an action, or begins with it."""
        labels = dict(zip(self.tracks, span.label.split("+"), strict=True))
        acting = {part: label for part, label in labels.items() if label != "wait"}
        if not acting:
            return "wait", self.by_number[None]["wait"]
        said = []
        for part, label in acting.items():
            track = self.tracks[part]["action"]
            number = self.numbers[part][track.index(_most_of(track, action.start, action.end))]
            arm = f"{part}: " if self.two and part != BASE else ""
            said.append(arm + self.by_number[number][label])
        return "+".join(acting.values()), "; ".join(said)


def together(tracks: Mapping[str, Track], near: int) -> Track:
    """Spans of all parts at once, cut where one of them is; a label joins those of the parts by `+`, in their order.

    Boundaries of two parts that are at most `near` frames apart become the surer one of them.
    """
    length = max(span.end for track in tracks.values() for span in track["action"])
    first = next(iter(tracks.values()))["action"][0]
    begin = first.start
    found = [span for track in tracks.values() for span in track["segment"] if span.start > begin]
    kept = {begin: (1.0, first.source)}
    moved = {begin: begin}
    for span in sorted(found, key=lambda span: (-span.confidence, span.start)):
        other = min(kept, key=lambda frame: abs(frame - span.start))
        if abs(other - span.start) > near:
            other = span.start
            kept[other] = span.confidence, span.source
        moved[span.start] = other
    joined: Track = {}
    bounds = {begin}
    for level in LEVELS[1:]:
        bounds |= {moved[span.start] for track in tracks.values() for span in track[level]}
        edges = [*sorted(bounds), length]
        joined[level] = [
            _Span(
                start,
                end,
                "+".join(_most_of(t[level], start, end).label for t in tracks.values()),
                *kept[start],
            )
            for start, end in pairwise(edges)
        ]
    return joined


def _most_of(spans: Sequence[_Span], start: int, end: int) -> _Span:
    """The span that holds most of an interval."""
    return max(spans, key=lambda span: min(span.end, end) - max(span.start, start))


def _inside(spans: Sequence[_Span], outer: _Span) -> list[_Span]:
    return [span for span in spans if outer.start <= span.start < outer.end]


def _clip_track(track: Track, start: int, end: int, near: int) -> Track:
    """A track within `[start, end)`; stages are found anew from what is left of the actions."""
    clipped = {level: _clip(row, start, end, near) for level, row in track.items()}
    if track["subtask"] is not track["action"] and (start, end) != (0, track["action"][-1].end):
        clipped["subtask"] = _subtasks(clipped["action"])
    return clipped


def _clip(spans: list[_Span], start: int, end: int, near: int) -> list[_Span]:
    """Copies of the spans within `[start, end)`; a rest of fewer than `near` frames at an edge goes to its neighbour."""
    inside = [replace(span) for span in spans if span.start < end and span.end > start]
    cut = inside[-1].end > end
    inside[-1].end = end
    if start and len(inside) > 1 and inside[0].end - start < near:
        inside.pop(0)
    if start:
        inside[0] = replace(inside[0], start=start, confidence=1.0, source="task")
    if cut and len(inside) > 1 and end - inside[-1].start < near:
        inside.pop()
        inside[-1].end = end
    return inside


def _split(spans: list[_Span], frame: int) -> list[_Span]:
    """The spans, with a boundary at `frame`."""
    found: list[_Span] = []
    for span in spans:
        if span.start < frame < span.end:
            found += [replace(span, end=frame), _Span(frame, span.end, "", _LATE, "gripper")]
        else:
            found.append(span)
    return found


def _late_switches(actions: list[_Span], motion: Kinematics) -> list[int]:
    """Where a switch starts in the second half of an interval: what comes before is no part of it, and gets its own verb."""
    owned = ((actions[position], switch) for position, switch in _own_switches(actions, motion).items())
    return [s.start for span, s in owned if s.start - span.start > (span.end - span.start) / 2]


def step_numbers(actions: list[_Span], instruction: Instruction, gripper: bool) -> list[int | None]:
    """The step of the instruction that each named action belongs to, counted from 1; None where that is not known.

    A round is what leads up to a grasp, and what follows until the gripper has let go. `gripper`: whether it moved at all.
    """
    steps, rounds, current, let_go = instruction.steps, [], 0, False
    for position, action in enumerate(actions):
        if (
            let_go
            and action.label not in ("retreat", "wait")
            and any(a.label == "grasp" for a in actions[position:])
        ):
            current, let_go = current + 1, False
        let_go = let_go or action.label == "release"
        rounds.append(current)
    chosen: list[int | None] = [None]
    held = [n for n, step in enumerate(steps, 1) if step.held and _carries(step)]
    if len(steps) == 1 and (steps[0].held or not gripper):
        chosen = [1] * (current + 1)
    elif steps and not gripper:
        chosen = [1]
    elif len(steps) == current + 1 and all(step.held for step in steps):
        chosen = list(range(1, len(steps) + 1))
    elif len(held) == current + 1:
        chosen = list(held)
    return [chosen[n] if n < len(chosen) else None for n in rounds]


def _carries(step: Step) -> bool:
    """Whether a step takes its object somewhere, as opening a drawer or turning on a stove does not."""
    return bool(step.target) or step.verb in lexicon.TAKE | lexicon.PUT | lexicon.POUR or not step.verb


def number_events(per_episode: list[list[Event]]) -> list[Event]:
    """Joins the events of many episodes into one table with unique ids."""
    table: list[Event] = []
    for events in per_episode:
        offset = len(table)
        for e in events:
            parent = e.parent + offset if e.parent >= 0 else -1
            table.append(replace(e, event_id=e.event_id + offset, parent=parent))
    return table


def _still(motion: Kinematics, span: _Span) -> bool:
    switching = any(s.start < span.end and s.end > span.start for s in motion.switches)
    return not switching and float(np.median(motion.speed[span.start : span.end])) <= motion.still


def _name_actions(actions: list[_Span], motion: Kinematics) -> None:
    """Sets the labels: first the gripper's own actions, then what lies between them by order."""
    holding, released = _holds_from_the_start(actions, motion), False
    stretch: list[_Span] = []  # arm motion since the gripper's last action

    def close_stretch(before: str) -> None:
        moving = [span for span in stretch if not _still(motion, span)]
        count = len(moving)
        for span in stretch:
            span.label = "wait"
        if before == "grasp":
            names = ["reach"] * (count - 1) + ["approach"] if count > 1 else ["reach"]
            # The next step of a task: away from what was set down, then to the next thing.
            if released and count > 2:
                names[0] = "retreat"
        elif before == "release":
            names = ["move"] if count == 1 else ["lift"] + ["move"] * (count - 2) + ["lower"]
        elif before == "end" and holding:
            names = ["lift"] + ["move"] * (count - 1)
        elif before == "end" and released:
            names = ["retreat"] * count
        elif before == "end" and not motion.switches:
            # Pushing and the like: to the object, the deed, and away again.
            deeds = ["manipulate"] * max(1, count - 2)
            names = deeds if count == 1 else ["reach", *deeds, "retreat"]
        else:
            names = ["reach"] * count
        for span, name in zip(moving, names, strict=False):
            span.label = name
        stretch.clear()

    switches = _own_switches(actions, motion)
    for position, span in enumerate(actions):
        switch = switches.get(position)
        quiet = float(np.median(motion.speed[span.start : span.end])) < _MOVING
        more = any(s.start >= span.end for s in motion.switches)
        if switch is None or switch.closing == holding:
            stretch.append(span)
        elif switch.closing and (quiet or more or not released):
            close_stretch("grasp")
            span.label, holding = "grasp", True
        elif switch.closing:
            stretch.append(span)  # the jaw shuts on the way home
        elif holding:
            retry = not stretch
            close_stretch("release")
            # Opened where it closed, and another grasp follows: nothing was carried.
            again = any(s.closing and s.start >= span.end for s in motion.switches)
            span.label = "open" if retry and again else "release"
            holding, released = False, not (retry and again)
        elif quiet:
            close_stretch("open")
            span.label = "open"
        else:
            stretch.append(span)
        if position == len(actions) - 1:
            close_stretch("end")


def _holds_from_the_start(actions: list[_Span], motion: Kinematics) -> bool:
    """Whether the episode begins with something in the gripper, as recoveries may: it moves, opens, and never closes."""
    if not motion.switches or any(switch.closing for switch in motion.switches):
        return False
    opens = motion.switches[0].start
    return any(span.end <= opens and not _still(motion, span) for span in actions)


def _own_switches(actions: list[_Span], motion: Kinematics) -> dict[int, Any]:
    """The gripper switch of each interval that has one, by position; it belongs to the first that holds most of it."""
    owned: dict[int, tuple[int, Any]] = {}
    for switch in motion.switches:
        overlaps = [min(a.end, switch.end) - max(a.start, switch.start) for a in actions]
        position = overlaps.index(max(overlaps))
        if overlaps[position] > owned.get(position, (0, None))[0]:
            owned[position] = (overlaps[position], switch)
    return {position: switch for position, (_, switch) in owned.items()}


def _join(actions: list[_Span], shortest_wait: int) -> list[_Span]:
    """Joins equal neighbours, and a wait of fewer than `shortest_wait` frames with the action before (or after) it."""
    joined: list[_Span] = []
    for i, span in enumerate(actions):
        label = span.label
        if label == "wait" and span.end - span.start < shortest_wait and len(actions) > 1:
            following = next((a.label for a in actions[i:] if a.label != "wait"), label)
            label = joined[-1].label if joined else following
        if joined and joined[-1].label == label:
            joined[-1].end = span.end
        else:
            joined.append(_Span(span.start, span.end, label, span.confidence, span.source))
    return joined


def _subtasks(actions: list[_Span]) -> list[_Span]:
    """Groups actions: picking up to the lift (or the grasp, where nothing lifts), placing up to the next reach."""
    stages: list[_Span] = []
    carried = False
    for position, action in enumerate(actions):
        previous = stages[-1].label if stages else ""
        if action.label in ("reach", "approach", "grasp", "open"):
            stage, carried = "pick", carried if action.label != "grasp" else True
        elif action.label == "lift":
            stage = "pick"
        elif action.label in ("move", "lower", "release"):
            stage = "place"
        elif action.label == "retreat":
            stage = previous or "place"
        elif action.label == "manipulate":
            stage = "manipulate"
        else:
            following = next((a.label for a in actions[position:] if a.label != "wait"), "")
            stage = previous or ("manipulate" if following == "manipulate" else "pick")
        if stages and stages[-1].label == stage:
            stages[-1].end = action.end
        else:
            stages.append(_Span(action.start, action.end, stage, action.confidence, action.source))
    # Without a grasp nothing is picked: the deed is one stage.
    if not carried:
        first = stages[0]
        return [_Span(first.start, stages[-1].end, "manipulate", first.confidence, first.source)]
    return stages
