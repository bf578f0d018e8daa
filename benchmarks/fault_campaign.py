# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Injects faults into arms that LeRobot's own drivers and `lerobot-rollout` run, and writes down what came of each.

    python benchmarks/fault_campaign.py --count=2000 --out=outputs/faults

Arms are emulated (examples/arms/emulator); goals are judged by what the servos received. An interrupted campaign goes on
where it was. Results: OUT/results.jsonl (a line a fault), OUT/table.md; logs of the rollouts lie in OUT/lanes/ARM/logs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from fault_judge import End, Verdict, judge, table
from fault_lane import FILE_BYTES, START_S, Lane, Rollout
from fault_plan import KINDS, Fault, plan
from hung_server import HungServer
from swinging_checkpoint import break_checkpoint
from tqdm import tqdm

# Seconds: how long a fault of replies is watched; what comes after it; how long a rollout of its own runs with its fault.
REPLIES_S, AFTER_S, OWN_S = 0.5, 0.7, 3.0
# A gap between commands after which the guards may set the goal anew (`watchdog_s` is 1 s).
GAP_S = 0.9
GROUP = 24


class NeverMovedError(RuntimeError):
    """A rollout without any fault did not come to move the arm."""


class Campaign:
    """Runs the faults of one arm.

    Args:
        lane: The arm.
        fresh_every: Every so many rollouts, a new interpreter instead of a fork; 0: never.
    """

    def __init__(self, lane: Lane, fresh_every: int) -> None:
        self.lane, self.fresh_every = lane, fresh_every
        self.rollouts = self.fresh = 0

    def run(self, fault: Fault) -> Verdict:
        """Injects one fault.

        Raises:
            NeverMovedError: The machine, or a fault of the campaign itself.
        """
        where = KINDS[fault.kind].where
        if fault.phase == "connect" or where not in ("bus", "camera"):
            self.stop()
        if fault.phase == "connect":
            return self._while_connecting(fault)
        if where in ("bus", "camera"):
            return self._into_a_run(fault)
        return {"nan_weights": self._broken, "planner_hung": self._unplanned, "disk_full": self._full}.get(
            fault.kind, self._signalled
        )(fault)

    def stop(self) -> None:
        """Ends the rollout that runs, for no fault's sake."""
        rollout = self.lane.rollout
        if rollout is not None:
            rollout.send(signal.SIGINT)
            rollout.end()

    def _start(self, fault: Fault, **options) -> Rollout:
        self.rollouts += 1
        fresh = (
            bool(self.fresh_every)
            and self.rollouts % self.fresh_every == 0
            and "limit_file_bytes" not in options
        )
        self.fresh += fresh
        return self.lane.start(fault.session, f"{fault.number:05d}_{fault.kind}", fresh=fresh, **options)

    def _judge(
        self, fault: Fault, rollout: Rollout, since: float, over: float | None, end: End | None, **facts
    ) -> Verdict:
        lane, stop = self.lane, rollout.ended_at
        lines = lane.goals(rollout.began)
        times = [g["t"] for g in lines if g["id"] == 1]
        gap = max((b - a for a, b in zip(times, times[1:], strict=False) if b >= since), default=0.0)
        during = lane.weigh(since, over if over is not None else stop, rollout.free_from)
        after = lane.weigh(over, None, rollout.free_from) if over is not None and end is None else None
        if (
            over is not None and over > since
        ):  # to hold is to hold in the end: seeing that a picture is old takes time
            during.moved = lane.weigh(since + (over - since) / 2, over).moved
        return judge(
            KINDS[fault.kind].reason,
            during,
            after,
            end,
            relax=fault.session["relax"],
            goal_was_written=facts.pop("goal_was_written", bool(lines)),
            rate_free=gap > GAP_S or fault.session["record"] == "episodic",
            **facts,
        )

    def _into_a_run(self, fault: Fault) -> Verdict:
        rollout = self.lane.rollout
        if rollout is None or not rollout.alive or fault.session["record"]:
            self.stop()
            rollout = self._start(fault)
        self._await_motion(rollout)
        rollout.wait(fault.numbers["wait"])
        self._await_motion(rollout)
        since = time.time()
        self.lane.emulator.remote.ask(f"fault {fault.kind} {words(fault.numbers)}")
        rollout.wait(fault.numbers.get("seconds", REPLIES_S + fault.numbers.get("ms", 0.0) / 1000))
        over = time.time()
        rollout.wait(AFTER_S)
        settings = dataclasses.replace(fault, session=fault.session | {"relax": rollout.session["relax"]})
        if rollout.alive and rollout.wait(0.3) is False and self._goes_on(rollout, over):
            return self._judge(settings, rollout, since, over, None)
        # It has ended, or is about to: a driver that repeats its question takes a while.
        rollout.wait(20.0, lambda: self._goes_on(rollout, over))
        if rollout.alive and not rollout.ending:
            return self._judge(settings, rollout, since, over, None)
        end = rollout.end()
        end.expect_data = False
        return self._judge(settings, rollout, since, None, end)

    def _goes_on(self, rollout: Rollout, since: float) -> bool:
        # A rollout that goes home to end sends goals too.
        return rollout.free_from is None and len(self.lane.goals(max(since, time.time() - 0.5))) >= 12

    def _await_motion(self, rollout: Rollout) -> None:
        if not rollout.wait(START_S, lambda: rollout.moves()) or not rollout.alive:
            end = rollout.end(1.0)
            raise NeverMovedError(
                f"without a fault: {end.reason or 'no motion in time'} ({rollout.log.name})"
            )

    def _while_connecting(self, fault: Fault) -> Verdict:
        order = f"fault {fault.kind} {words(fault.numbers)}"
        rollout = self._start(fault, prepare=lambda: self.lane.emulator.remote.ask(order))
        rollout.wait(START_S, lambda: rollout.moves())
        if rollout.alive and rollout.moves():
            over = time.time()
            rollout.wait(AFTER_S)
            rollout.wait(20.0, lambda: self._goes_on(rollout, over))
        if rollout.alive and not rollout.ending and rollout.moves():
            return self._judge(fault, rollout, rollout.began, over, None)
        # Nothing was configured yet that the end must keep to.
        return self._judge(
            fault, rollout, rollout.began, None, rollout.end(), goal_was_written=rollout.moves(1)
        )

    def _broken(self, fault: Fault) -> Verdict:
        folder = self.lane.folder / "broken"
        broken = break_checkpoint(self.lane.checkpoint, folder, fault.numbers["how"], fault.numbers["seed"])
        rollout = self._start(fault, checkpoint=broken)
        rollout.wait(START_S, lambda: rollout.moves())
        rollout.wait(OWN_S)
        if rollout.alive:
            verdict = self._judge(fault, rollout, rollout.began, time.time() - AFTER_S, None)
            self.stop()
            return verdict
        return self._judge(fault, rollout, rollout.began, None, rollout.end())

    def _unplanned(self, fault: Fault) -> Verdict:
        server = HungServer(fault.numbers["how"])
        flags = ("planner=vlm", f"planner_url={server.url}", "planner_model=none", "planner_timeout_s=0.5")
        try:
            rollout = self._start(fault, extra=tuple(f"--policy.{flag}" for flag in flags))
            self._await_motion(rollout)
            since = time.time()
            rollout.wait(OWN_S)
            if rollout.alive:
                verdict = self._judge(fault, rollout, since, time.time() - AFTER_S, None)
                self.stop()
                return verdict
            return self._judge(fault, rollout, since, None, rollout.end())
        finally:
            server.close()

    def _full(self, fault: Fault) -> Verdict:
        lane = self.lane
        mounted = lane.mount_disk()
        fault = dataclasses.replace(fault, session=fault.session | {"on_disk": True})
        logs = (
            f"--policy.event_log={lane.disk / 'events.jsonl'}",
            f"--policy.safety_log={lane.disk / 'safety.jsonl'}",
        )
        rollout = self._start(fault, extra=logs, **({} if mounted else {"limit_file_bytes": FILE_BYTES}))
        self._await_motion(rollout)
        rollout.wait(fault.numbers["at"])
        since = time.time()
        if mounted:
            lane.fill_disk(fault.numbers["left_kb"] * 1024)
        rollout.wait(OWN_S)
        asked = rollout.alive
        rollout.send(signal.SIGINT)
        end = rollout.end()
        end.expect_data = True
        return self._judge(fault, rollout, since, None, end, own_end=asked)

    def _signalled(self, fault: Fault) -> Verdict:
        numbers = fault.numbers
        rollout = self._start(fault)
        if numbers["from"] == "goal":
            self._await_motion(rollout)
        rollout.wait(numbers["at"])
        number = signal.Signals[
            numbers.get("signal", fault.kind.upper() if fault.kind != "second_signal" else "SIGINT")
        ]
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


class Book:
    """The results' file, which several lanes write.

    Raises:
        ValueError: It belongs to another campaign.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.table = folder / "results.jsonl", folder / "table.md"
        settings = folder / "campaign.json"
        if settings.exists() and json.loads(settings.read_text())["seed"] != seed:
            raise ValueError(
                f"{folder} holds a campaign of another seed. Fix: another --out, or --seed as in {settings}"
            )
        settings.write_text(json.dumps({"seed": seed}) + "\n")
        self._lock = threading.Lock()
        self.results: list[dict] = []
        if self.path.exists():
            self.results = [json.loads(line) for line in self.path.read_text().splitlines()]

    def done(self, fault: Fault) -> bool:
        """Whether this very fault has a result."""
        described = json.loads(json.dumps(fault.describe()))
        return any(r["fault"] == described for r in self.results)

    def add(self, fault: Fault, verdict: Verdict, seconds: float) -> None:
        """Writes a result down."""
        result = {
            "fault": fault.describe(),
            "protocol": fault.protocol,
            "verdict": dataclasses.asdict(verdict),
            "seconds": round(seconds, 2),
        }
        with self._lock:
            self.results.append(json.loads(json.dumps(result)))
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(result) + "\n")
            unfinished = self.table.with_suffix(".partial")
            ordered = sorted(
                self.results, key=lambda r: (list(KINDS).index(r["fault"]["kind"]), r["protocol"])
            )
            unfinished.write_text(table(ordered), encoding="utf-8")
            os.replace(unfinished, self.table)


def run_lane(
    arm: str,
    faults: list[Fault],
    options: argparse.Namespace,
    book: Book,
    bar: tqdm,
    stop: Callable[[], bool],
) -> None:
    """All faults of one arm; groups of neighbours are sorted so that those into a running rollout follow each other."""
    lane = Lane(arm, options.out / "lanes" / arm, options.seed, options.niceness)
    campaign = Campaign(lane, options.fresh_every)
    try:
        for first in range(0, len(faults), GROUP):
            group = faults[first : first + GROUP]
            for fault in sorted(group, key=lambda f: (KINDS[f.kind].where == "start", f.phase, f.kind)):
                if stop():
                    return
                began = time.monotonic()
                try:
                    verdict = campaign.run(fault)
                except NeverMovedError as error:
                    tqdm.write(f"{arm} {fault.number} {fault.kind}: not counted, {error}")
                    continue
                book.add(fault, verdict, time.monotonic() - began)
                bar.update()
                if verdict.outcome == "FAILED":
                    tqdm.write(f"{arm} {fault.number} {fault.kind}: {'; '.join(verdict.what)}")
        campaign.stop()
    finally:
        lane.close()
        tqdm.write(f"{arm}: {campaign.rollouts} rollouts, {campaign.fresh} of them in a new interpreter")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--kinds", help=f"separated by commas (default: all of {', '.join(KINDS)})")
    parser.add_argument("--arms", default="so101_follower,koch_follower,so100_follower")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("outputs/faults"))
    parser.add_argument("--lanes", type=int, default=2, help="arms at a time")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="stop then; the same command goes on"
    )
    parser.add_argument(
        "--fresh_every", type=int, default=25, help="rollouts between two in a new interpreter; 0: none"
    )
    parser.add_argument("--niceness", type=int, default=-10, help="of the emulators, where that is allowed")
    options = parser.parse_args()
    options.out = options.out.resolve()
    arms = options.arms.split(",")
    faults = plan(options.count, options.seed, tuple(options.kinds.split(",")) if options.kinds else None)
    faults = [fault for fault in faults if fault.arm in arms]
    book = Book(options.out, options.seed)
    rest = [fault for fault in faults if not book.done(fault)]
    until = time.monotonic() + options.minutes * 60
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    arms = [arm for arm in arms if any(f.arm == arm for f in rest)]
    gate = threading.Semaphore(options.lanes)
    failed: list[str] = []
    with tqdm(total=len(faults), initial=len(faults) - len(rest), unit="fault") as bar:

        def stop() -> bool:
            return asked.is_set() or time.monotonic() > until

        def work(arm: str) -> None:
            with gate:
                try:
                    run_lane(arm, [f for f in rest if f.arm == arm], options, book, bar, stop)
                except Exception as error:  # the other arms go on
                    failed.append(f"{arm}: {type(error).__name__}: {error}")

        threads = [threading.Thread(target=work, args=(arm,)) for arm in arms]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if book.table.exists():
        print(book.table.read_text())
    if failed:
        raise SystemExit("\n".join(failed))


if __name__ == "__main__":
    main()
