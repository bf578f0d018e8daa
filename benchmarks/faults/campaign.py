# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Injects faults into arms that LeRobot's own drivers and `lerobot-rollout` run, and writes down what came of each.

Arms are emulated (examples/emulator); goals are judged by what the servos received. An interrupted campaign goes on
where it was. Results: OUT/results.jsonl (a line a fault); OUT/not_counted.jsonl (what hit nothing, or was tried again
because the machine stood still); logs of the rollouts lie in OUT/lanes/ARM/logs. 2,000 faults take 40 minutes on two
cores. Fails if any fault failed or any goal lay outside the servos' limits.
"""

import dataclasses
import json
import signal
import threading
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

from tqdm import tqdm

from benchmarks.faults.judge import Verdict, summary
from benchmarks.faults.lane import Lane
from benchmarks.faults.plan import KINDS, Fault, plan
from benchmarks.faults.runs import NotCountedError, Runs
from benchmarks.harness.rows import CannotRunError, Row, Share, bar

GROUP = 24
# Lanes into which the faults of an arm are dealt, so that all lanes have about as many.
PARTS = {"koch_follower": 2}
# Seconds by which the machine may be late before a doubtful verdict is not held against the rollout (LeRobot waits some
# 0.05 s for a servo), and how often a fault is tried.
LATE_S, TRIES = 0.05, 3
# What a machine that stood still makes a rollout say, and what kinds of fault make it say so in earnest.
STARVED = {"frame is too old": ("camera",), "no status packet": ("bus",)}


class Pulse:
    """Notices when the machine stands still, by how late a thread wakes up."""

    def __init__(self) -> None:
        self._late: list[tuple[float, float]] = []
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        while True:
            began = time.monotonic()
            time.sleep(0.02)
            now = time.monotonic()
            if now - began > 0.05:
                self._late.append((now, now - began - 0.02))

    def worst(self, since: float) -> float:
        """Seconds by which it was late at most since a monotonic time."""
        return max((late for when, late in reversed(self._late) if when >= since), default=0.0)


class Book:
    """The results' file, which several lanes write.

    Raises:
        ValueError: It belongs to another campaign.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "results.jsonl"
        settings = folder / "campaign.json"
        if settings.exists() and json.loads(settings.read_text())["seed"] != seed:
            raise ValueError(
                f"{folder} holds another seed's campaign. Fix: another --out, or --seed as in {settings}"
            )
        settings.write_text(json.dumps({"seed": seed}) + "\n")
        self._lock = threading.Lock()
        self.results: list[dict] = []
        if self.path.exists():
            self.results = [json.loads(line) for line in self.path.read_text().splitlines()]
        self._known = {r["fault"]["number"]: r["fault"] for r in self.results}

    def done(self, fault: Fault) -> bool:
        """Whether this very fault has a result."""
        return self._known.get(fault.number) == json.loads(json.dumps(fault.describe()))

    def set_aside(self, fault: Fault, why: str, verdict: Verdict | None = None) -> None:
        """Writes down a fault that does not count, and is tried again."""
        line = {"fault": fault.describe(), "why": why, "verdict": verdict and dataclasses.asdict(verdict)}
        with self._lock, self.path.with_name("not_counted.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def add(self, fault: Fault, verdict: Verdict, seconds: float, late_s: float) -> None:
        """Writes a result down: what it took, and for how long the machine let it wait, both in seconds."""
        result = {"fault": fault.describe(), "protocol": fault.protocol}
        result |= {"verdict": dataclasses.asdict(verdict)}
        result |= {"seconds": round(seconds, 2), "late_s": round(late_s, 3)}
        with self._lock:
            self.results.append(json.loads(json.dumps(result)))
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(result) + "\n")

    def rows(self) -> Iterator[Row]:
        """A row for each kind of fault and servo bus; how many tries did not count; what the campaign demands."""
        order = list(KINDS)
        ordered = sorted(self.results, key=lambda r: (order.index(r["fault"]["kind"]), r["protocol"]))
        cells: dict = {}
        for cells in summary(ordered):
            yield Row("faults", cells)
        for arm in sorted({r["fault"]["arm"] for r in ordered}):
            own = [r["verdict"]["outcome"] != "FAILED" for r in ordered if r["fault"]["arm"] == arm]
            yield Row("arms", {"arm": arm, "not failed": Share(sum(own), len(own))})
        aside = self.path.with_name("not_counted.jsonl")
        count = len(aside.read_text(encoding="utf-8").splitlines()) if aside.exists() else 0
        yield Row("tries that do not count (nothing was hit, or the machine stood still)", {"count": count})
        for name in ("FAILED", "goals outside limits"):
            yield bar(name, cells.get(name, 0), most=0)


def in_order(group: list[Fault]) -> list[Fault]:
    """Sorted so that those into a running rollout follow each other, and those that end one come last."""
    own = ("start", "signal")
    return sorted(group, key=lambda f: (KINDS[f.kind].where in own, f.phase, f.kind, f.number))


def run_lane(
    name: str,
    faults: list[Fault],
    options: Namespace,
    book: Book,
    bar: tqdm,
    stop: Callable[[], bool],
    pulse: Pulse,
) -> None:
    """All faults of one lane; those of one arm."""
    lane = Lane(faults[0].arm, options.out / "lanes" / name, options.seed, options.niceness)
    runs = Runs(lane, options.fresh_every)
    try:
        for first in range(0, len(faults), GROUP):
            for fault in in_order(faults[first : first + GROUP]):
                for attempt in range(TRIES):
                    if stop():
                        return
                    if run_one(fault, runs, book, pulse, last=attempt == TRIES - 1):
                        bar.update()
                        break
        runs.stop()
    finally:
        lane.close()
        tqdm.write(f"{name}: {runs.rollouts} rollouts, {runs.fresh} of them in a new interpreter")


def run_one(fault: Fault, runs: Runs, book: Book, pulse: Pulse, last: bool) -> bool:
    """Injects a fault; False if it does not count: nothing was hit, or the machine stood still and that explains it."""
    began = time.monotonic()
    try:
        verdict = runs.run(fault)
    except NotCountedError as error:
        book.set_aside(fault, str(error))
        tqdm.write(f"{fault.arm} {fault.number} {fault.kind}: not counted, {error}")
        return False
    late = max(pulse.worst(began), runs.waited_s)
    if verdict.outcome == "FAILED":
        tqdm.write(f"{fault.arm} {fault.number} {fault.kind}: {'; '.join(verdict.what)}")
        where = KINDS[fault.kind].where
        starved = any(said in verdict.reason and where not in of for said, of in STARVED.items())
        if starved and late > LATE_S and not last:
            book.set_aside(fault, f"the machine stood still for {late:.2f} s", verdict)
            return False
    book.add(fault, verdict, time.monotonic() - began, late)
    return True


def deal(faults: list[Fault]) -> dict[str, list[Fault]]:
    """Faults by lane, the fullest lanes first."""
    lanes: dict[str, list[Fault]] = {}
    for fault in faults:
        part = fault.number % PARTS.get(fault.arm, 1)
        lanes.setdefault(f"{fault.arm}_{part + 1}" if fault.arm in PARTS else fault.arm, []).append(fault)
    return dict(sorted(lanes.items(), key=lambda item: -len(item[1])))


QUICK = {"count": 6, "arms": "so101_follower", "fresh_every": 0}
QUICK["kinds"] = "corrupt,camera_gone,nan_weights,sigterm"


def flags(parser: ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--kinds", help=f"separated by commas (default: all of {', '.join(KINDS)})")
    parser.add_argument("--arms", default="so101_follower,koch_follower,so100_follower")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lanes", type=int, default=4, help="arms at a time, of 4; two for each core")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="then stop; a second call goes on"
    )
    fresh = "rollouts between two in a new interpreter; 0: none"
    parser.add_argument("--fresh_every", type=int, default=60, help=fresh)
    parser.add_argument("--niceness", type=int, default=-10, help="of the emulators, where that is allowed")


def rows(args: Namespace) -> Iterator[Row]:
    faults = plan(args.count, args.seed, tuple(args.kinds.split(",")) if args.kinds else None)
    faults = [fault for fault in faults if fault.arm in args.arms.split(",")]
    book = Book(args.out, args.seed)
    rest = [fault for fault in faults if not book.done(fault)]
    until = time.monotonic() + args.minutes * 60
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    gate = threading.Semaphore(args.lanes)
    failed: list[str] = []
    pulse = Pulse()
    with tqdm(total=len(faults), initial=len(faults) - len(rest), unit="fault") as progress:

        def stop() -> bool:
            return asked.is_set() or time.monotonic() > until

        def work(name: str, mine: list[Fault]) -> None:
            with gate:
                if stop():
                    return
                try:
                    run_lane(name, mine, args, book, progress, stop, pulse)
                except Exception as error:  # the other lanes go on
                    failed.append(f"{name}: {type(error).__name__}: {error}")

        threads = [threading.Thread(target=work, args=item) for item in deal(rest).items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    yield from book.rows()
    if failed:
        raise CannotRunError("; ".join(failed))
