# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""One emulated arm: servos, what moves them, the person's hand, the faults, the journal. No input or output of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace

from emulated_arm.arms import Arm, Travel
from emulated_arm.faults import CAMERA_KINDS, Faults
from emulated_arm.hand import Motion
from emulated_arm.journal import Journal
from emulated_arm.mechanics import Mechanics
from emulated_arm.protocol import Packet, Request
from emulated_arm.servo import Servo
from emulated_arm.shared import SharedState
from emulated_arm.xseries import XSeries


class EmulatedArm:
    """Answers packets as an arm does.

    With the simulated clock, time stands still between steps of ``period`` seconds. A follower steps each time a sync
    write sets its goals; a leader each time a sync read asks for its positions.

    Args:
        kind: The kind of arm.
        servos, travels: Its servos and joints' travel, in order.
        mechanics: What moves the shafts.
        state: Memory shared with world and cameras.
        faults: Faults to inject.
        journal: Record of goals and faults.
        views: The cameras' names.
        simulated_clock: See above.
        period: Seconds a step.
        on_step: Called after each step of the simulated clock.
    """

    def __init__(
        self,
        kind: Arm,
        servos: list[Servo],
        travels: list[Travel],
        mechanics: Mechanics,
        state: SharedState,
        faults: Faults,
        journal: Journal,
        views: tuple[str, ...],
        simulated_clock: bool = False,
        period: float = 1 / 30,
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        self.kind, self.servos, self.travels = kind, servos, travels
        self.mechanics, self.state, self.faults, self.journal = mechanics, state, faults, journal
        self.views, self.period = views, period
        self.simulated_clock = simulated_clock
        self.on_step = on_step
        self.lock = threading.RLock()
        self.requests = 0
        self.goals_outside = 0
        self._began = time.monotonic()
        self._steps = 0
        self._last = 0.0
        self._motion: Motion | None = None
        self._motion_began: float | None = None
        self._looked_at = False
        state.set("simulated_clock", int(simulated_clock))

    @property
    def seconds(self) -> float:
        """Seconds since switching on, on the wall."""
        return time.monotonic() - self._began

    @property
    def clock(self) -> float:
        """The arm's time: the wall's, or the simulated clock's."""
        return self._steps * self.period if self.simulated_clock else self.seconds

    def receive(self, packet: Packet, protocol, baudrate: int = 0) -> list[tuple[float, bytes]]:
        """Carries out an instruction.

        Args:
            packet: The instruction.
            protocol: The arm's protocol.
            baudrate: Bits per second it came at; 0 is understood by all.

        Returns:
            What goes back, in order: (seconds to wait before it, bytes).
        """
        with self.lock:
            self.requests += 1
            self._update_faults()
            if self.faults.request_lost():
                return []
            request = protocol.describe(packet)
            reads_positions = request is not None and self._touches(request, "Present_Position")
            if request and request.kind == "sync_read" and reads_positions:
                self._looked_at = True
                if self.kind.leader:
                    self._step()
            if reads_positions:
                self.mechanics.settle()
            self.advance()
            heard = [
                servo
                for servo in self.servos
                if servo.connected
                and (baudrate == 0 or servo.baudrate == baudrate)
                and not self.faults.silent(servo.ident)
            ]
            replies = protocol.answer(packet, heard)
            self._record_goals()
            if request and request.kind == "sync_write" and self._touches(request, "Goal_Position"):
                self.advance()
                if not self.kind.leader:
                    self._step()
            out: list[tuple[float, bytes]] = []
            for reply in replies:
                data = protocol.encode_reply(reply)
                delay, sent = self.faults.reply(
                    reply.ident, data, lambda ident, r=reply: protocol.encode_reply(replace(r, ident=ident))
                )
                if sent is not None:
                    out.append((delay, sent))
                elif reply.chained:
                    # Each servo of a sync read waits for the one before it.
                    break
            return out

    def _touches(self, request: Request, name: str) -> bool:
        return request.address is not None and self.servos[0].overlaps(name, request.address, request.length)

    def _step(self) -> None:
        if not self.simulated_clock:
            return
        self._steps += 1
        # The cameras are to show the step's end.
        self.advance()
        self.state.set("goal_step", self._steps)
        self.on_step()

    def skip_step(self) -> None:
        """Moves the simulated clock on without motion, for a world that is set up anew."""
        with self.lock:
            if self.simulated_clock:
                self._steps += 1
                self._last = self.clock
                self.state.set("goal_step", self._steps)

    def _record_goals(self) -> None:
        for servo in self.servos:
            for goal in servo.goals:
                self.goals_outside += goal.outside
                entry = asdict(goal)
                self.journal.write("goal", {"step": self._steps, "id": entry.pop("ident"), **entry})
            servo.goals.clear()

    def _update_faults(self) -> None:
        if self.faults.busy:
            self.faults.update(self.seconds)
            self.mark_faults()

    def mark_faults(self) -> None:
        """Shows the present faults in the servos' status and to the cameras."""
        for servo in self.servos:
            servo.hardware_error = self.faults.error_bits(servo.ident)
            shuts_down = isinstance(servo, XSeries) and servo.hardware_error & servo.get("Shutdown")
            if shuts_down and servo.torque:
                servo.put("Torque_Enable", 0)
                servo.target = None
        for index, view in enumerate(self.views):
            kind = self.faults.camera(view)
            self.state.camera_fault[index] = CAMERA_KINDS.index(kind) + 1 if kind else 0

    def advance(self) -> None:
        """Lets the joints move up to now."""
        now = self.clock
        self.mechanics.advance(max(0.0, now - self._last), self._held())
        self._last = now

    def _held(self) -> dict[int, float]:
        if self._motion is None:
            return {}
        now = self._hand_clock
        if self._motion_began is None:
            # It waits for the first look at the joints, with the hand at its start.
            if not self._looked_at:
                return self._motion.at(0.0)
            self._motion_began = now
        passed = now - self._motion_began
        held = self._motion.at(min(passed, self._motion.duration) if not self._motion.loops else passed)
        if self._motion.over(passed):
            self._motion = None
        return held

    @property
    def _hand_clock(self) -> float:
        # A follower's simulated clock stands still while a person calibrates it.
        return self.clock if self.kind.leader else self.seconds

    def tick(self) -> None:
        """To be called now and then: motion and faults go on while the bus is quiet."""
        with self.lock:
            self._update_faults()
            self.advance()

    def play(self, motion: Motion, at_first_read: bool = False) -> None:
        """Lets the hand move the joints.

        Args:
            motion: The way.
            at_first_read: Wait at the start until somebody asks for the positions.
        """
        with self.lock:
            self._motion = motion
            self._motion_began = None if at_first_read else self._hand_clock
            if at_first_read:
                self._looked_at = False
                for index, shaft in motion.at(0.0).items():
                    self.servos[index].shaft = shaft

    @property
    def hand_busy(self) -> bool:
        """Whether the hand still moves."""
        return self._motion is not None

    def release(self) -> None:
        """Takes the hand away."""
        with self.lock:
            self._motion = None

    def hold(self) -> None:
        """Makes every servo's present position its goal, as after the world has been set up anew."""
        with self.lock:
            self.advance()
            for servo in self.servos:
                servo.hold()
            self.advance()

    def status(self) -> dict:
        """What there is to know, ready for JSON."""
        with self.lock:
            self.mechanics.settle()
            self.advance()
            joints = {
                joint.name: {
                    "id": servo.ident,
                    "position": round(travel.to_units(servo.shaft), 3),
                    "ticks": servo.present,
                    "goal": None if servo.target is None else round(travel.to_units(servo.target), 3),
                    "torque": servo.torque,
                    "limits": list(servo.limits),
                    "connected": servo.connected,
                }
                for joint, servo, travel in zip(self.kind.joints, self.servos, self.travels, strict=True)
            }
            return {
                "arm": self.kind.name,
                "seconds": round(self.seconds, 3),
                "step": self._steps,
                "requests": self.requests,
                "replies": self.faults.replies,
                "goals_outside": self.goals_outside,
                "hand_busy": self.hand_busy,
                "injected": dict(self.faults.injected),
                "joints": joints,
            }
