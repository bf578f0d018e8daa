# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Gives recoveries their share of training (paper 6.6): p = (1 - alpha) p_nominal + alpha uniform over recoveries.

LeRobot's sampler draws frames, so an event's nominal probability is its part of the frames, times the copies that other
steps (cluster balance) give it. The view is written with integer copies, which come as near to p as whole numbers and
the cap allow; `recovery_weights` are exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lerobot_wallwm.processors.motion.kinematics import KinematicsConfig
from lerobot_wallwm.processors.recover.recovery import KINDS, Recovery, find_recoveries
from lerobot_wallwm.processors.source.episodes import SourceDataset, schema_of, write_rows
from lerobot_wallwm.processors.source.events import LEVELS, Event
from lerobot_wallwm.storage.errors import check_fields

SCHEMA = schema_of(Recovery, {})


@dataclass
class RecoveryConfig:
    """Share of recoveries in training."""

    # alpha: this part of the draws goes evenly to events that recover from something (a retry, a re-grasp, a
    # correction), the rest as before. 0 leaves everything as it is. The paper says "small" and gives no number.
    share: float = 0.0
    # A recovery is copied at most so many times as often as without this step. Our choice: 8, so that a handful of
    # retries is not learnt by heart; the summary tells the share that this leaves.
    cap: int = 8

    def __post_init__(self) -> None:
        """Refuses values out of range, naming the flag."""
        check_fields(self, "recovery", "in [0, 1)", lambda value: 0 <= value < 1, "share")
        check_fields(self, "recovery", "at least 1", lambda value: value >= 1, "cap")


def recovery_weights(
    events: Sequence[Event],
    recovering: Collection[int],
    config: RecoveryConfig,
    copies: Mapping[int, int] | None = None,
) -> dict[int, float]:
    """Factor by which each event's draws change, by `event_id`: p / p_nominal.

    It is 1 - alpha for the others, more for a recovery, and 1 for all if nothing recovers.

    Args:
        events: The events that are drawn, all of one level.
        recovering: `event_id` of those that recover; above level action see `lift_to_level`.
        config: alpha.
        copies: How often other steps write each event (default 1), part of p_nominal; one left out (0) stays out.
    """
    mass = np.array([event.length * (copies or {}).get(event.event_id, 1) for event in events], float)
    recovers = np.array([event.event_id in recovering for event in events], bool) & (mass > 0)
    factor = np.ones(len(events))
    if recovers.any():
        factor -= config.share
        factor[recovers] += config.share / recovers.sum() * mass.sum() / mass[recovers]
    return {event.event_id: float(value) for event, value in zip(events, factor, strict=True)}


def recovery_counts(
    events: Sequence[Event],
    recovering: Collection[int],
    config: RecoveryConfig,
    copies: Mapping[int, int] | None = None,
) -> dict[int, int]:
    """Integer copies for `EventCarver.carve(copies=...)`, other steps' copies multiplied in; arguments as above.

    Others keep their copies; a recovery gets the product of its own and its factor relative to theirs, at most `cap`
    times its own. What rounding takes from one recovery the next one gets.
    """
    factor = recovery_weights(events, recovering, config, copies)
    result = {event.event_id: (copies or {}).get(event.event_id, 1) for event in events}
    owed = 0.0  # in frames, because those are drawn
    for event in sorted(events, key=lambda event: (event.length, event.event_id)):
        own = result[event.event_id]
        if event.event_id in recovering and own:
            wanted = own * min(factor[event.event_id] / (1 - config.share), config.cap)
            number = int(np.floor(wanted + owed / event.length + 0.5))
            number = min(max(number, own), own * config.cap)
            owed += (wanted - number) * event.length
            result[event.event_id] = number
    return result


def lift_to_level(table: Sequence[Event], recoveries: Iterable[Recovery], level: str) -> list[Recovery]:
    """Recoveries as events of `level`: an event recovers if it, or an event inside it in the whole `table`, does.

    Of several inside one event the first in order of `KINDS` counts.
    """
    by_id = {event.event_id: event for event in table}
    depth = LEVELS.index(level)
    first: dict[int, Recovery] = {}
    for recovery in sorted(recoveries, key=lambda r: (KINDS.index(r.kind), r.event_id)):
        event = by_id.get(recovery.event_id)
        while event is not None and LEVELS.index(event.level) > depth:
            event = by_id.get(event.parent)
        if event is not None and event.level == level:
            first.setdefault(event.event_id, replace(recovery, event_id=event.event_id))
    return [first[event_id] for event_id in sorted(first)]


def recovery_copies(
    config: RecoveryConfig,
    kinematics: KinematicsConfig,
    source: SourceDataset,
    table: Sequence[Event],
    level: str,
    episodes: Iterable[int],
    out: Path,
    copies: Mapping[int, int] | None = None,
) -> tuple[dict[int, int], dict[str, Any]]:
    """The stage of `wallwm prepare`: writes `recoveries.parquet` to `out` and returns copies by `event_id`, and figures.

    The dataset's episodes are read once more, for the corrections. Events of `level` in `episodes`, the training view's,
    are copied, and the copies of other steps are multiplied in.
    """
    having = {event.episode_index for event in table}
    wanted = (source.read(i) for i, index in enumerate(source.episode_indices) if index in having)
    found = find_recoveries(table, wanted, config=kinematics)
    write_rows(found, SCHEMA, out / "recoveries.parquet")
    train = set(episodes)
    events = [event for event in table if event.level == level and event.episode_index in train]
    kinds = {row.event_id: row.kind for row in lift_to_level(table, found, level)}
    result = recovery_counts(events, kinds, config, copies)
    recovers = [event for event in events if event.event_id in kinds]

    def part(number: Mapping[int, int] | None) -> float:
        mass = {e.event_id: e.length * (number or {}).get(e.event_id, 1) for e in events}
        own = sum(mass[e.event_id] for e in recovers)
        return round(own / sum(mass.values()), 4) if any(mass.values()) else 0.0

    before = part(copies)
    by_kind = Counter(kinds[event.event_id] for event in recovers)
    figures = {
        "share": config.share,
        "events": len(recovers),
        "kinds": {kind: by_kind[kind] for kind in KINDS if by_kind[kind]},
        "frames_before": before,
        "frames_wanted": round((1 - config.share) * before + config.share, 4) if recovers else 0.0,
        "frames_after": part(result),
        "most_copies": max((result[event.event_id] for event in recovers), default=1),
    }
    return {**(copies or {}), **result}, figures


def print_recovery(figures: Mapping[str, Any]) -> None:
    """Prints the figures of `recovery_copies` in a line; nothing if the step was off."""
    if not figures:
        return
    if not figures["events"]:
        print("recoveries none found: --recovery.share changes nothing")
        return
    kinds = ", ".join(f"{kind} {count}" for kind, count in figures["kinds"].items())
    before, wanted, after = (figures[f"frames_{name}"] for name in ("before", "wanted", "after"))
    short = " (--recovery.cap holds it back)" if after < wanted - 0.01 else ""
    print(
        f"recoveries {figures['events']} events ({kinds}): {100 * before:.1f} % of the frames before, "
        f"{100 * after:.1f} % after, {100 * wanted:.1f} % asked for{short}"
    )
