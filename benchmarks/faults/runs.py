# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""How each kind of fault is brought about on a lane, and how long it is watched.

Waiting goes by what happens, not by the clock: a fault is watched until it has hit and so many commands have come after it,
or the process has ended. A machine with a slow minute then takes longer and judges the same.
"""

import shutil
import signal
import time

from benchmarks.arm.toy_checkpoint import break_checkpoint
from benchmarks.faults.hung_server import CAPTIONS, HungServer
from benchmarks.faults.judge import End, Verdict, judge
from benchmarks.faults.lane import START_S, Lane, Rollout
from benchmarks.faults.plan import KINDS, Fault
from lerobot_wallwm.hub.files.learned import Learned
from lerobot_wallwm.language.event_grammar import learn_transitions

# Commands that must come after a fault of the line, which belong to it; and those after any fault, which must move on.
BELONGING, AFTER = 8, 12
# Seconds: how long a fault may take to hit, or a rollout to go on after it; how long a rollout of its own runs with its
# fault.
PATIENCE_S, OWN_S = 30.0, 2.5
# Longest swing in the data of which a planner's server knows, in frames; and seconds that the event may take, 1.5 times as
# long at 30 Hz.
SWING_FRAMES, SWING_S = 20, 1.0
# A gap between commands after which the guards may set the goal anew (`watchdog_s` is 1 s).
GAP_S = 0.9


class NotCountedError(RuntimeError):
    """A rollout did not come to move the arm without any fault, or a fault never hit anything."""


class Runs:
    """Brings faults about on one lane; every `fresh_every` rollouts in a new interpreter instead of a fork (0: never).

    `rollouts` and `fresh` count all and those; `waited_s` is how long the machine did not let the last fault's run.
    """

    def __init__(self, lane: Lane, fresh_every: int) -> None:
        self.lane, self.fresh_every = lane, fresh_every
        self.rollouts = self.fresh = 0
        self.waited_s = self._waited_before = 0.0

    def run(self, fault: Fault) -> Verdict:
        """Injects one fault.

        Raises:
            NotCountedError: The machine, or a fault of the campaign itself.
        """
        where = KINDS[fault.kind].where
        running = self.lane.rollout
        self._waited_before = running.waited_s if running is not None else 0.0
        if fault.phase == "connect" or where not in ("bus", "camera"):
            self.stop()
        if fault.phase == "connect":
            return self._while_connecting(fault)
        if where in ("bus", "camera"):
            return self._into_a_run(fault)
        own = {"nan_weights": self._broken, "planner_hung": self._unplanned}
        own["bus_down_at_end"] = self._down_at_end
        return own.get(fault.kind, self._signalled)(fault)

    def stop(self) -> None:
        """Ends the rollout that runs, for no fault's sake."""
        rollout = self.lane.rollout
        if rollout is not None:
            rollout.send(signal.SIGINT)
            rollout.end()

    # --- parts

    def _start(self, fault: Fault, **options) -> Rollout:
        self.rollouts += 1
        self._waited_before = 0.0
        fresh = bool(self.fresh_every) and self.rollouts % self.fresh_every == 0
        self.fresh += fresh
        # Where files or the very end are what is judged, nothing of the end is left out.
        hasty = not fault.session["record"] and KINDS[fault.kind].where != "signal"
        # A fault that is tried again gets another name: LeRobot's reader keeps videos open under theirs.
        label = f"{fault.number:05d}_{fault.kind}_{self.rollouts}"
        return self.lane.start(fault.session, label, fresh=fresh, hasty=hasty, **options)

    def _judge(
        self, fault: Fault, rollout: Rollout, since: float, over: float | None, end: End | None, **facts
    ) -> Verdict:
        lane = self.lane
        self.waited_s = rollout.waited_s - self._waited_before
        times = [g["t"] for g in lane.goals(since - 2 * GAP_S) if g["id"] == 1]
        gap = max((b - a for a, b in zip(times, times[1:], strict=False) if b >= since), default=0.0)
        during = lane.weigh(since, over if over is not None else rollout.ended_at, rollout.free_from)
        after = lane.weigh(over, None, rollout.free_from) if over is not None and end is None else None
        if over is not None and over > since:
            # To hold is to hold in the end: seeing that a picture is old takes time.
            during.moved = lane.weigh(since + (over - since) / 2, over).moved
        return judge(
            KINDS[fault.kind].reason,
            during,
            after,
            end,
            relax=rollout.session["relax"],
            goal_was_written=facts.pop("goal_was_written", rollout.moves(1)),
            rate_free=gap > GAP_S or rollout.session["record"] == "episodic",
            bus_fault=KINDS[fault.kind].where == "bus" or fault.kind == "bus_down_at_end",
            **facts,
        )

    def _await_motion(self, rollout: Rollout) -> None:
        if not rollout.wait(START_S, lambda: rollout.moves()) or not rollout.alive:
            end = rollout.end(1.0)
            said = end.reason or "no motion in time"
            raise NotCountedError(f"without a fault: {said} ({rollout.log.name})")

    def _goes_on(self, rollout: Rollout, since: float) -> bool:
        # A rollout that goes home to end sends goals, too.
        return not rollout.ending and rollout.free_from is None and self.lane.commands(since) >= AFTER

    def _watch(self, fault: Fault, rollout: Rollout, since: float, injected: int) -> Verdict:
        """Follows a fault of the emulator, given what it had injected before, to its end or the process's."""
        look = self.lane.look
        rollout.wait(PATIENCE_S, lambda: rollout.ending or not look()["faults_busy"])
        if rollout.alive and not rollout.ending and look()["injected"] == injected:
            raise NotCountedError("the fault hit nothing")
        if "seconds" not in fault.numbers:
            hit = time.time()
            rollout.wait(PATIENCE_S, lambda: rollout.ending or self.lane.commands(hit) >= BELONGING)
        over = time.time()
        rollout.wait(PATIENCE_S, lambda: rollout.ending or self._goes_on(rollout, over))
        if rollout.alive and not rollout.ending:
            return self._judge(fault, rollout, since, over, None)
        end = rollout.end()
        return self._judge(fault, rollout, since, None, end)

    # --- kinds

    def _into_a_run(self, fault: Fault) -> Verdict:
        rollout = self.lane.rollout
        if rollout is not None and (rollout.ending or not rollout.alive):
            raise NotCountedError(f"the rollout ended by itself after the last fault: {rollout.end().reason}")
        if rollout is None or fault.session["record"]:
            self.stop()
            rollout = self._start(fault)
        self._await_motion(rollout)
        rollout.wait(fault.numbers["wait"])
        self._await_motion(rollout)
        before, since = self.lane.look()["injected"], time.time()
        self.lane.emulator.remote.ask(f"fault {fault.kind} {words(fault.numbers)}")
        return self._watch(fault, rollout, since, before)

    def _while_connecting(self, fault: Fault) -> Verdict:
        before, order = self.lane.look()["injected"], f"fault {fault.kind} {words(fault.numbers)}"
        rollout = self._start(fault, prepare=lambda: self.lane.emulator.remote.ask(order))
        rollout.wait(START_S, lambda: rollout.moves())
        if rollout.alive and not rollout.ending:
            return self._watch(fault, rollout, rollout.began, before)
        # Nothing was configured yet that the end must keep to.
        end = rollout.end()
        return self._judge(fault, rollout, rollout.began, None, end, goal_was_written=rollout.moves(1))

    def _broken(self, fault: Fault) -> Verdict:
        folder = self.lane.folder / "broken"
        broken = break_checkpoint(self.lane.checkpoint, folder, fault.numbers["how"], fault.numbers["seed"])
        rollout = self._start(fault, checkpoint=broken)
        rollout.wait(START_S, lambda: rollout.moves())
        rollout.wait(OWN_S)
        return self._end_of_own(fault, rollout, rollout.began)

    def _unplanned(self, fault: Fault) -> Verdict:
        answers = fault.numbers["answers"]
        server = HungServer(fault.numbers["how"], answers)
        flags = ["planner=vlm", f"planner_url={server.url}", "planner_model=none", "planner_timeout_s=0.5"]
        folder = shutil.copytree(self.lane.checkpoint, self.lane.folder / "planned", dirs_exist_ok=True)
        learned = Learned.read(folder)
        # The arm's own events never end, and it would not need another answer.
        learned.event_max_frames = dict.fromkeys(CAPTIONS, SWING_FRAMES)
        if fault.numbers["grammar"]:
            learned.event_transitions = learn_transitions([CAPTIONS])
        learned.write(folder)
        try:
            rollout = self._start(fault, checkpoint=folder, extra=tuple(f"--policy.{flag}" for flag in flags))
            self._await_motion(rollout)
            rollout.wait(PATIENCE_S, lambda: rollout.ending or server.asked >= answers)
            if server.asked < answers:
                raise NotCountedError(f"the server was asked {server.asked} times, not {answers}")
            # The last answer may be that of the next event already.
            rollout.wait(2 * SWING_S if answers else 0.0)
            since = time.time()
            rollout.wait(OWN_S)
            return self._end_of_own(fault, rollout, since)
        finally:
            server.close()

    def _end_of_own(self, fault: Fault, rollout: Rollout, since: float) -> Verdict:
        if rollout.ending or not rollout.alive:  # on its way home it still lives, and sends goals
            return self._judge(fault, rollout, since, None, rollout.end())
        over = time.time()
        rollout.wait(PATIENCE_S, lambda: rollout.ending or self._goes_on(rollout, over))
        verdict = self._judge(fault, rollout, since, over, None)
        self.stop()
        return verdict

    def _down_at_end(self, fault: Fault) -> Verdict:
        rollout = self._start(fault)
        self._await_motion(rollout)
        rollout.wait(fault.numbers["at"])
        since = time.time()
        self.lane.emulator.remote.ask(f"fault stall seconds={fault.numbers['seconds']}")
        rollout.send(signal.SIGINT)
        return self._judge(fault, rollout, since, None, rollout.end(), own_end=True)

    def _signalled(self, fault: Fault) -> Verdict:
        numbers = fault.numbers
        rollout = self._start(fault)
        if numbers["from"] == "goal":
            self._await_motion(rollout)
        rollout.wait(numbers["at"])
        kind = fault.kind.upper() if fault.kind != "second_signal" else "SIGINT"
        number = signal.Signals[numbers.get("signal", kind)]
        moved, since = rollout.moves(1), time.time()
        rollout.send(number)
        if "again" in numbers:
            rollout.wait(numbers["again"])
            rollout.send(number)
        end = rollout.end()
        end.expect_data = fault.kind != "second_signal" and fault.session["record"] == "sentry" and moved
        return self._judge(fault, rollout, since, None, end, own_end=True, goal_was_written=rollout.moves(1))


def words(numbers: dict) -> str:
    """A fault's numbers as the emulator reads them."""
    keys = ("seconds", "count", "ids", "camera", "ms", "after")
    return " ".join(f"{key}={numbers[key]}" for key in keys if key in numbers)
