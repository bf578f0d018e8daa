# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Which faults a campaign injects, and with what numbers: all from a seed, so that fault 17 is the same on every machine."""

import random
from dataclasses import asdict, dataclass, field
from typing import Any

ARMS = ("so101_follower", "koch_follower", "so100_follower", "koch_follower")
PROTOCOLS = {"so100_follower": "feetech", "so101_follower": "feetech", "koch_follower": "dynamixel"}


@dataclass(frozen=True)
class Kind:
    """A kind of fault."""

    share: int  # weight in the campaign; our choice
    # `bus` and `camera` faults are injected by the emulator into a running rollout, several into one if it survives;
    # `start` faults shape a rollout of their own; `signal` faults end one of their own.
    where: str
    reason: tuple[str, ...] = ()  # one of them must be in the message of a process that this fault ended


_BUS: tuple[str, ...] = ("sync read", "sync_read", "status packet", "motor check", "Missing motor")
_BUS += ("write '", "read '", "TxRxResult")
_CAMERA = ("camera", "Camera", "frame")
KINDS = {
    "corrupt": Kind(16, "bus", _BUS),
    "truncate": Kind(6, "bus", _BUS),
    "drop": Kind(6, "bus", _BUS),
    "noise": Kind(5, "bus", _BUS),
    "wrong_id": Kind(5, "bus", _BUS),
    "late": Kind(14, "bus", _BUS),
    "lost_request": Kind(6, "bus", _BUS),
    "silent": Kind(9, "bus", _BUS),
    "stall": Kind(8, "bus", _BUS),
    "camera_frozen": Kind(5, "camera", _CAMERA),
    "camera_gone": Kind(3, "camera", _CAMERA),
    "camera_stalled": Kind(3, "camera", _CAMERA),
    "camera_black": Kind(2, "camera", _CAMERA),
    "nan_weights": Kind(3, "start", ("NaN", "not finite", "infinity")),
    "planner_hung": Kind(2, "start", ("planner",)),
    "sigint": Kind(3, "signal"),
    "sigterm": Kind(3, "signal"),
    "second_signal": Kind(1, "signal"),
    # A stop is asked for while the bus is stalled, and may still be when LeRobot wants to switch the servos off.
    "bus_down_at_end": Kind(1, "signal", _BUS),
}


@dataclass(frozen=True)
class Fault:
    """One fault of a campaign."""

    number: int  # its place; the key under which it is resumed
    kind: str
    arm: str
    phase: str  # `run`, or `connect`: while LeRobot looks for the motors and sets them up
    numbers: dict[str, Any] = field(default_factory=dict)  # what the kind needs, see `_numbers`
    session: dict[str, Any] = field(default_factory=dict)  # settings of the rollout that it needs

    @property
    def protocol(self) -> str:
        return PROTOCOLS[self.arm]

    def describe(self) -> dict[str, Any]:
        return asdict(self)


def plan(count: int, seed: int, kinds: tuple[str, ...] | None = None) -> list[Fault]:
    """The campaign's faults, all of them or some kinds: kinds by their shares, arms in turn within each kind.

    Raises:
        ValueError: A kind is unknown.
    """
    unknown = set(kinds or ()) - set(KINDS)
    if unknown:
        raise ValueError(f"--kinds: unknown {', '.join(sorted(unknown))}. Fix: use {', '.join(KINDS)}.")
    names = list(kinds or KINDS)
    total = sum(KINDS[name].share for name in names)
    # Every kind as often as its share says, and each at least once per arm while there is room.
    exact = {name: count * KINDS[name].share / total for name in names}
    counts = {name: int(share) for name, share in exact.items()}
    for name in sorted(names, key=lambda n: counts[n] - exact[n])[: count - sum(counts.values())]:
        counts[name] += 1
    drawn = [(name, ARMS[i % len(ARMS)]) for name in names for i in range(counts[name])]
    random.Random(seed).shuffle(drawn)
    return [_fault(number, kind, arm, seed) for number, (kind, arm) in enumerate(drawn)]


def _fault(number: int, kind: str, arm: str, seed: int) -> Fault:
    rng = random.Random(f"{seed}/{number}/{kind}/{arm}")
    phase = "connect" if KINDS[kind].where == "bus" and rng.random() < 0.1 else "run"
    return Fault(number, kind, arm, phase, _numbers(kind, phase, rng), _session(kind, rng))


def _numbers(kind: str, phase: str, rng: random.Random) -> dict[str, Any]:
    wait = round(rng.uniform(0.0, 0.2), 3)  # a loop takes 0.033 s, the time between two looks 0.17 s
    if kind in ("silent", "stall"):
        # A second, and shorter and longer ones.
        seconds = 1.0 if kind == "silent" or rng.random() < 0.5 else round(rng.uniform(0.02, 2.0), 3)
        numbers: dict[str, Any] = {"seconds": seconds}
        if kind == "silent":
            numbers["ids"] = rng.randint(1, 6)
    elif kind.startswith("camera"):
        numbers = {"seconds": round(rng.choice((rng.uniform(0.2, 1.5), rng.uniform(2.5, 4.0))), 3)}
        if rng.random() < 0.7:
            numbers["camera"] = rng.choice(("wrist", "overhead"))
    elif kind == "nan_weights":
        how = rng.choice(("nan_weight", "inf_weight", "overflow", "nan_statistics", "nan_range"))
        return {"how": how, "seed": rng.randrange(10**6)}
    elif kind == "planner_hung":
        # From the start or after some answers, and with or without a grammar to go on with.
        how, answers = rng.choice(("silent", "dribble", "close", "refuse")), rng.choice((0, 1, 2, 4))
        return {"how": how, "answers": answers, "grammar": rng.random() < 0.5}
    elif kind == "bus_down_at_end":
        return {"at": round(rng.uniform(0.0, 0.5), 3), "seconds": round(rng.uniform(0.2, 4.0), 3)}
    elif KINDS[kind].where == "signal":
        # From the start of the process on, through loading and connecting, into the run.
        numbers = {"from": rng.choice(("start", "goal")), "at": round(rng.uniform(0.0, 1.5), 3)}
        if kind == "second_signal":
            numbers |= {"from": "goal", "again": round(rng.uniform(0.0, 1.5), 3)}
            numbers["signal"] = rng.choice(("SIGINT", "SIGTERM"))
        return numbers
    else:
        numbers = {"count": rng.choice((1, 1, 1, 2, 3, 12))}
        if rng.random() < 0.4:
            numbers["ids"] = rng.randint(1, 6)
        if kind == "late":
            numbers["ms"] = round(rng.uniform(5, 250), 1)
    if phase == "connect":
        return numbers | {"after": rng.randint(0, 60)}
    return numbers | {"wait": wait}


def _session(kind: str, rng: random.Random) -> dict[str, Any]:
    session: dict[str, Any] = {
        "relax": rng.random() < 0.5,
        "return": rng.random() < 0.1,
        "background": rng.random() < 0.5,
        "record": None,
    }
    if kind == "bus_down_at_end":
        return session | {"return": False}
    if KINDS[kind].where == "signal" and rng.random() < 0.6:
        session["record"] = rng.choice(("sentry", "episodic"))
    elif kind in ("silent", "camera_gone", "stall") and rng.random() < 0.2:
        session["record"] = "sentry"
    return session
