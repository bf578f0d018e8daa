# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Faults on the line, in the servos and at the cameras: a script, a seed, or live commands.

A fault becomes active ``at`` seconds after the arm was switched on, or with the ``after``-th reply; it ends after
``seconds`` or after having hit ``count`` replies, whichever is given.
"""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass, field
from pathlib import Path

REPLY_KINDS = ("corrupt", "truncate", "drop", "late", "wrong_id", "noise")
SERVO_KINDS = ("silent", "hardware_error")
BUS_KINDS = ("lost_request", "stall")
CAMERA_KINDS = ("camera_frozen", "camera_gone", "camera_black", "camera_stalled")
KINDS = REPLY_KINDS + SERVO_KINDS + BUS_KINDS + CAMERA_KINDS
# Kinds that last; the others hit one reply unless told otherwise.
LASTING = ("silent", "stall", "hardware_error", *CAMERA_KINDS)


@dataclass
class Fault:
    """One fault.

    Attributes:
        kind: One of ``KINDS``. ``corrupt`` flips bits of a reply, ``truncate`` cuts it short, ``drop`` loses it,
            ``late`` delays it by ``ms``, ``wrong_id`` sends it under another id, ``noise`` puts random bytes before
            it, ``silent`` unplugs servos, ``hardware_error`` sets ``bits`` in their status, ``lost_request`` keeps an
            instruction from reaching the servos, ``stall`` stops the whole bus; ``camera_frozen`` repeats a picture,
            ``camera_black`` sends black ones, ``camera_stalled`` sends none, ``camera_gone`` makes reading raise.
        at: Seconds after switching on; None with ``after``. Neither means at once.
        after: Replies (requests for ``lost_request``) that pass before it becomes active.
        seconds: How long it stays active; None with ``count``.
        count: How many replies it hits.
        ids: Servos it concerns; empty means all.
        camera: View it concerns; None means all.
        ms: Delay of ``late``.
        bits: Error bits of ``hardware_error``: 32 is overload in both protocols.
    """

    kind: str
    at: float | None = None
    after: int | None = None
    seconds: float | None = None
    count: int | None = None
    ids: tuple[int, ...] = ()
    camera: str | None = None
    ms: float = 100.0
    bits: int = 32
    left: int = field(default=-1, init=False)
    began: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"fault kind {self.kind!r} is unknown. Fix: use one of {', '.join(KINDS)}.")
        if self.at is not None and self.after is not None:
            raise ValueError(f"fault {self.kind}: give at (seconds) or after (replies), not both")
        numbers = (self.at, self.after, self.seconds, self.count, self.ms)
        if any(
            n is not None and (isinstance(n, bool) or not isinstance(n, (int, float)) or n < 0)
            for n in numbers
        ):
            raise ValueError(f"fault {self.kind}: at, after, seconds, count and ms are numbers not below 0")
        self.ids = (self.ids,) if isinstance(self.ids, int) else tuple(int(i) for i in self.ids)
        if self.kind in LASTING:
            if self.count is not None:
                raise ValueError(f"fault {self.kind} lasts. Fix: give seconds instead of count.")
            self.seconds = 1.0 if self.seconds is None else self.seconds
        elif self.seconds is None and self.count is None:
            self.count = 1
        self.left = -1 if self.count is None else int(self.count)

    def describe(self) -> dict:
        """The fault's settings, without what is at its default."""
        plain = {k: v for k, v in asdict(self).items() if k not in ("left", "began")}
        return {k: v for k, v in plain.items() if v not in (None, ())}


class Faults:
    """The faults of one run.

    Args:
        faults: Faults to come.
        seed: Seed of the flipped bits and the noise.
        log: Called with (``fault`` or ``fault_over``, details) each time something is injected.
    """

    def __init__(self, faults: list[Fault], seed: int, log) -> None:
        self._waiting = list(faults)
        self._active: list[Fault] = []
        self._random = random.Random(seed)
        self._log = log
        self.replies = 0
        self.injected: dict[str, int] = {}

    def add(self, fault: Fault, now: float) -> None:
        """Adds a fault while running; its ``at`` counts from now, its ``after`` from the replies so far."""
        fault.at = None if fault.at is None else fault.at + now
        fault.after = None if fault.after is None else fault.after + self.replies
        self._waiting.append(fault)

    def clear(self) -> None:
        """Ends all faults and forgets those to come."""
        self._waiting.clear()
        for fault in self._active:
            self._over(fault)
        self._active.clear()

    @property
    def busy(self) -> bool:
        """Whether any fault is active or to come."""
        return bool(self._waiting or self._active)

    def update(self, now: float) -> None:
        """Starts and ends what is due at ``now`` seconds."""
        for fault in [f for f in self._waiting if self._due(f, now)]:
            self._waiting.remove(fault)
            self._active.append(fault)
            fault.began = now
            if fault.kind in LASTING:
                self._hit(fault, {})
        for fault in list(self._active):
            timed_out = fault.seconds is not None and now >= (fault.began or 0.0) + fault.seconds
            if timed_out or fault.left == 0:
                self._active.remove(fault)
                if fault.kind in LASTING:
                    self._over(fault)

    def _due(self, fault: Fault, now: float) -> bool:
        if fault.after is not None:
            return self.replies >= fault.after
        return fault.at is None or now >= fault.at

    def _hit(self, fault: Fault, details: dict) -> None:
        self.injected[fault.kind] = self.injected.get(fault.kind, 0) + 1
        self._log("fault", fault.describe() | details)

    def _over(self, fault: Fault) -> None:
        self._log("fault_over", fault.describe())

    def _first(self, kinds: tuple[str, ...], ident: int | None = None) -> Fault | None:
        for fault in self._active:
            concerned = ident is None or not fault.ids or ident in fault.ids
            if fault.kind in kinds and fault.left != 0 and concerned:
                return fault
        return None

    def _spend(self, fault: Fault) -> None:
        if fault.left > 0:
            fault.left -= 1

    def request_lost(self) -> bool:
        """Whether the instruction that just came in reaches no servo."""
        fault = self._first(("stall", "lost_request"))
        if fault is None:
            return False
        self._spend(fault)
        if fault.kind == "lost_request":
            self._hit(fault, {})
        return True

    def silent(self, ident: int) -> bool:
        """Whether the servo is unplugged."""
        return self._first(("silent",), ident) is not None

    def error_bits(self, ident: int) -> int:
        """Error bits the servo's status shows."""
        bits = 0
        for fault in self._active:
            if fault.kind == "hardware_error" and (not fault.ids or ident in fault.ids):
                bits |= fault.bits
        return bits

    def camera(self, view: str) -> str | None:
        """The fault a camera view has, or None."""
        for fault in self._active:
            if fault.kind in CAMERA_KINDS and fault.camera in (None, view):
                return fault.kind
        return None

    def reply(self, ident: int, data: bytes, reencode) -> tuple[float, bytes | None]:
        """What becomes of a reply.

        Args:
            ident: Its sender.
            data: Its bytes.
            reencode: Gives the bytes of the same reply under another id.

        Returns:
            (delay in seconds, the bytes or None if it is lost).
        """
        self.replies += 1
        fault = self._first(REPLY_KINDS, ident)
        if fault is None:
            return 0.0, data
        self._spend(fault)
        self._hit(fault, {"id": ident})
        if fault.kind == "drop":
            return 0.0, None
        if fault.kind == "late":
            return fault.ms / 1000, data
        if fault.kind == "truncate":
            return 0.0, data[: self._random.randrange(1, len(data))]
        if fault.kind == "wrong_id":
            return 0.0, reencode(ident % 250 + 1)
        if fault.kind == "noise":
            return 0.0, self._random.randbytes(self._random.randint(1, 12)) + data
        damaged = bytearray(data)
        # Behind the header, or the reply would count as noise.
        at = self._random.randrange(2, len(damaged))
        damaged[at] ^= 1 << self._random.randrange(8)
        return 0.0, bytes(damaged)


def random_faults(
    seed: int, per_second: float, seconds: float, kinds: tuple[str, ...] = KINDS, ids: tuple[int, ...] = ()
) -> list[Fault]:
    """Faults at random moments (a Poisson process), the same for the same seed.

    Args:
        seed: Seed.
        per_second: Mean number of faults a second.
        seconds: Length of the campaign.
        kinds: Kinds to draw from, each as likely.
        ids: Servos to draw from; empty: 1 to 6.
    """
    rng = random.Random(seed)
    faults, now = [], 0.0
    while per_second > 0:
        now += rng.expovariate(per_second)
        if now > seconds:
            break
        kind = rng.choice(kinds)
        lasts = round(rng.uniform(0.1, 1.0), 3) if kind in LASTING else None
        faults.append(
            Fault(
                kind,
                at=round(now, 4),
                seconds=lasts,
                ids=(rng.choice(ids or tuple(range(1, 7))),) if kind in SERVO_KINDS + ("wrong_id",) else (),
                ms=round(rng.uniform(5, 200), 1),
            )
        )
    return faults


def read_faults(path: Path) -> list[Fault]:
    """Reads a script of faults.

    The file holds ``{"faults": [{"kind": "silent", "at": 2, "seconds": 1, "ids": [3]}, ...], "random": {"seed": 0,
    "per_second": 2, "seconds": 60, "kinds": [...]}}``; either key may be left out.

    Raises:
        ValueError: Not JSON, or a fault with unknown settings; the message names them.
    """
    try:
        script = json.loads(path.read_text(encoding="utf-8"))
        faults = [Fault(**entry) for entry in script.get("faults", [])]
        chance = script.get("random")
        if chance:
            tuples = {key: tuple(chance[key]) for key in ("kinds", "ids") if key in chance}
            faults += random_faults(**(chance | tuples))
        unknown = set(script) - {"faults", "random"}
        if unknown:
            raise ValueError(f"unknown keys {sorted(unknown)}; known are faults and random")
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"--faults={path}: {error}") from error
    return faults
