# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What came of a fault: judged from the goals that the servos received, the process's end, and its last words.

Outcomes: ``recovered`` (goals go on moving the arm), ``held`` (the arm was kept in place while the fault lasted, and went
on), ``ended`` (the process ended and says why), ``powered`` (so, but servos that were to be relaxed are still powered: the
bus was down when LeRobot wanted to tell them, and it says that; docs/act/safety.md), ``FAILED`` (anything else; ``what`` says
what).
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

RAISED = re.compile(r"^(?:[A-Za-z_][\w]*\.)*([A-Za-z_]\w*(?:Error|Exception|Interrupt|Exit))\b:? ?(.*)$")
# What LeRobot's rollout says at an end that somebody asked for.
SAID = ("Shutdown signal", "Duration limit reached", "Interrupted by user")
# What its drivers say where servos could not be told to let go.
UNTOLD = "Torque_Enable"
# One servo tick, in degrees, is far below what any limit is meant for; rounding to ticks costs up to one.
TICK = 1


@dataclass
class Goals:
    """Goals of one stretch of a run."""

    count: int = 0  # commands (of all joints)
    outside: int = 0  # goals outside the servos' calibrated limits
    margin: int | None = None  # least distance of a goal to its nearer limit, ticks; negative outside
    beyond_data: float = 0.0  # largest distance beyond the policy's own range, ticks
    step: float = 0.0  # largest change of a goal between two commands, as a part of the policy's limit
    moved: bool = False  # whether any goal changed


def weigh(
    lines: Iterable[dict],
    low: np.ndarray,
    high: np.ndarray,
    step: np.ndarray,
    free_from: float | None = None,
    rate: float = 30.0,
) -> Goals:
    """Sums up goal lines of the journal.

    Args:
        lines: In order.
        low, high: ``(joints,)`` the policy's range in ticks.
        step: ``(joints,)`` the policy's largest change per command, ticks.
        free_from: Time from which on LeRobot itself moves the arm (back to where it was), or None: only the servos'
            limits are judged then.
        rate: Commands per second. A step over a command that a fault has swallowed counts as two.
    """
    goals, last, first = Goals(), {}, {}
    for line in lines:
        joint, ticks = int(line["id"]) - 1, int(line["ticks"])
        goals.count += joint == 0
        goals.outside += bool(line["outside"])
        margin = min(ticks - line["low"], line["high"] - ticks)
        goals.margin = margin if goals.margin is None else min(goals.margin, margin)
        own = free_from is None or line["t"] < free_from
        if own:
            goals.beyond_data = max(goals.beyond_data, low[joint] - ticks - TICK, ticks - high[joint] - TICK)
            if joint in last:
                before, when = last[joint]
                change = max(0, abs(ticks - before) - TICK)
                commands = max(1, round((line["t"] - when) * rate))
                goals.step = max(goals.step, float(change / step[joint] / commands))
        goals.moved |= first.setdefault(joint, ticks) != ticks
        last[joint] = ticks, line["t"]
    goals.beyond_data = round(max(0.0, float(goals.beyond_data)), 2)
    goals.step = round(goals.step, 3)
    return goals


def last_words(log: str) -> str:
    """The reason that a process gave for its end, with the error that it names as the cause; empty where it gave none."""
    reason = cause = ""
    lines = log.splitlines()
    for at, line in enumerate(lines):
        found = RAISED.match(line)
        if line.startswith("The above exception was the direct cause"):
            cause = f" (because of {reason})"
        elif line.startswith("Traceback"):
            cause = cause if cause and not lines[at - 1].strip() and "direct cause" in lines[at - 2] else ""
        elif found:
            # Some messages begin on the next line.
            text = found.group(2) or next((rest for rest in lines[at + 1 :] if rest.strip()), "")
            reason = f"{found.group(1)}: {text}".strip()
        elif reason == "" or reason.startswith("said"):
            reason = next((f"said: {said}" for said in SAID if said in line), reason)
    return f"{reason[:400]}{cause[:200]}"


@dataclass
class End:
    """How a process ended."""

    code: int | None = None  # negative: the signal; None: it still runs
    hung: bool = False  # it had to be killed
    reason: str = ""  # see `last_words`
    torque: int = 0  # servos that are powered
    servos: int = 6  # how many there are
    data: str | None = None  # None: nothing was recorded; `loads`, `empty` (no episode) or what went wrong
    expect_data: bool = False  # frames were recorded, so that an empty dataset is a loss


@dataclass
class Verdict:
    """The outcome of one fault."""

    outcome: str
    what: list[str] = field(default_factory=list)
    reason: str = ""
    goals: dict[str, Any] = field(default_factory=dict)
    end: dict[str, Any] | None = None


def judge(
    kind_reason: tuple[str, ...],  # one of them must be in the reason of an end; empty: any reason
    during: Goals,  # from the fault on until it was over, or the process ended
    after: Goals | None,  # None if the process ended before
    end: End | None,
    relax: bool,  # the arm was to be relaxed at the end (`disable_torque_on_disconnect`); else held
    goal_was_written: bool,  # it had begun to move the arm, so that its end must leave the arm as configured
    own_end: bool = False,  # the campaign itself ended the rollout (a signal, its duration)
    rate_free: bool = False,  # LeRobot paused the loop; the guards may set the goal anew within the data's lead
    bus_fault: bool = False,  # which may have kept LeRobot from switching servos off
) -> Verdict:
    """Judges one fault."""
    what = []
    powered = False
    for name, goals in (("during", during), ("after", after)):
        if goals is None:
            continue
        if goals.outside:
            what.append(f"{goals.outside} goals outside the calibrated limits ({name})")
        if goals.beyond_data > 0:
            what.append(f"a goal {goals.beyond_data:g} ticks beyond the data's range ({name})")
        if goals.step > 1.02 and not rate_free:
            what.append(f"a step of {goals.step:g} times the limit ({name})")
    reason = end.reason if end else ""
    if end is not None:
        if end.hung:
            what.append("the process hung and was killed")
        elif not reason and not (own_end and not goal_was_written):
            what.append(f"the process ended with code {end.code} and no reason")
        elif kind_reason and not own_end and not any(word in reason for word in kind_reason):
            what.append(f"the reason does not name the fault: {reason[:120]}")
        if goal_was_written:
            expected = 0 if relax else end.servos
            powered = relax and end.torque > 0 and bus_fault and UNTOLD in reason
            if end.torque != expected and not powered:
                wanted = "relaxed" if relax else "held"
                what.append(f"the arm was not {wanted}: {end.torque} of {end.servos} servos are powered")
        if end.data not in (None, "loads", "empty"):
            what.append(f"recorded data: {end.data}")
        elif end.data == "empty" and end.expect_data:
            what.append("recorded data: no episode was saved")
    elif after is None or after.count == 0:
        what.append("the process runs but writes no goals")
    if what:
        outcome = "FAILED"
    elif end is not None:
        outcome = "powered" if powered else "ended"
    elif during.moved:
        outcome = "recovered"
    else:
        outcome = "held"
    goals = {"during": asdict(during), "after": None if after is None else asdict(after)}
    return Verdict(outcome, what, reason, goals, None if end is None else asdict(end))


def summary(results: Iterable[dict]) -> Iterator[dict[str, Any]]:
    """Cells of a row for each kind of fault and servo bus, and of one for all, from the results' file."""
    groups: dict[tuple[str, str], list[dict]] = {}
    everything = list(results)
    for result in everything:
        kind = result["fault"]["kind"]
        if result["verdict"]["outcome"] == "powered":
            kind += ", bus still down at the end"
        groups.setdefault((kind, result["protocol"]), []).append(result)
    for (kind, protocol), group in [*groups.items(), (("all", ""), everything)]:
        outcomes = Counter(r["verdict"]["outcome"] for r in group)
        parts = [g for r in group for g in r["verdict"]["goals"].values() if g]
        margins = [g["margin"] for g in parts if g["margin"] is not None]
        yield {
            "fault": kind,
            "bus": protocol,
            "count": len(group),
            **{name: outcomes[name] for name in ("recovered", "held", "ended", "powered", "FAILED")},
            "goals outside limits": sum(g["outside"] for g in parts),
            "nearest goal to a limit, ticks": min(margins, default=None),
            "largest step / limit": max((g["step"] for g in parts), default=0.0),
            "notes": _notes(group) if kind != "all" else "",
        }


def _notes(group: list[dict]) -> str:
    failures = Counter(re.sub(r"\d+(\.\d+)?", "N", w) for r in group for w in r["verdict"]["what"])
    notes = [f"FAILED {n}x: {text}" for text, n in failures.most_common(3)]
    ended = [r["verdict"]["reason"] for r in group if r["verdict"]["outcome"] in ("ended", "powered")]
    reasons = Counter(re.sub(r"\d+(\.\d+)?", "N", reason)[:90] for reason in ended if reason)
    notes += [f"{n}x {text}" for text, n in reasons.most_common(2)]
    return "; ".join(notes)
