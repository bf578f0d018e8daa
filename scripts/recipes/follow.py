# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Follows a recipe to the letter with an emulated arm: types its commands, does what it says at the prompts, and looks for
what it says one will see.

    python examples/arms/follow.py --arm=so101 --cameras=2

Nothing is replaced in the commands. The recipe's own block of settings for "no arm" is used instead of the one for an arm,
and ``--set NAME=VALUE`` adds lines to that file, as a person would who wants fewer episodes or steps.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RECIPE_FOLDER = ROOT / "examples" / "recipes"
sys.path.insert(0, str(HERE))

from recipe_text import NAME, Prompt, Step, read_recipe  # noqa: E402
from terminal import Terminal  # noqa: E402

RECIPES = {"so100": "so100.md", "so101": "so100.md", "koch": "koch.md"}
# The recipe's settings, read before each command as in a new terminal.
SETTINGS = "my_arm.sh"
READY = re.compile(r"^ready: ", re.MULTILINE)
# What talks to an arm goes ahead of other work, see `terminal.go_ahead`.
TOUCHES_ARM = re.compile(r"--(robot|teleop)\.type|emulated-arm --arm")
# What LeRobot says when a reply was lost; nothing else is worth a second try.
NOT_HEARD = re.compile(r"status packet!|Could not connect on port|motor check failed", re.IGNORECASE)
# Our choice: a person presses no key faster.
REACTION = 0.3
LIMIT = 1800.0


class RecipeError(Exception):
    """The recipe says something that does not happen."""


@dataclass
class Outcome:
    """What a step came to."""

    step: str
    line: int
    command: str
    exit: int | None = None
    seconds: float = 0.0
    keys: int = 0
    tries: int = 1
    wrote: list[str] = field(default_factory=list)
    trouble: str | None = None
    not_heard: bool = False


def describe(path: Path) -> str:
    """A file's or folder's size; of a dataset, its episodes and frames."""
    info = path / "meta" / "info.json"
    if info.is_file():
        told = json.loads(info.read_text(encoding="utf-8"))
        return f"{told['total_episodes']} episodes, {told['total_frames']} frames"
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    size = sum(p.stat().st_size for p in files)
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size} bytes"


class Follower:
    """Somebody who follows a recipe.

    Args:
        folder: Where they work; made if absent.
        logs: Folder for what each command prints.
        limit: Seconds for one command.
        extra: Lines for the end of the settings.
    """

    def __init__(
        self, folder: Path, logs: Path, limit: float = LIMIT, extra: list[str] | None = None
    ) -> None:
        self.folder, self.logs, self.limit, self.extra = folder, logs, limit, extra or []
        for path in (folder, logs):
            path.mkdir(parents=True, exist_ok=True)
        places = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
        self.env = {**os.environ, "PATH": os.pathsep.join(places), "TERM": "dumb", "PYTHONUNBUFFERED": "1"}
        # LeRobot would listen to the screen's keyboard instead of the terminal's.
        for name in ("DISPLAY", "WAYLAND_DISPLAY"):
            self.env.pop(name, None)
        self._running: list[Terminal] = []

    def _shell(self, command: str) -> str:
        return f"[ -e {SETTINGS} ] && . ./{SETTINGS}\n{command}"

    def follow(self, step: Step) -> Outcome:
        """Carries out a step.

        Raises:
            RecipeError: It failed, or what the recipe announced did not happen; ``args[1]`` is the outcome.
        """
        outcome = Outcome(step.name, step.line, step.command)
        began = time.monotonic()
        terminal = Terminal(
            self._shell(step.command),
            self.folder,
            self.env,
            self.logs / f"{step.line:03}_{step.name}.log",
            ahead=bool(TOUCHES_ARM.search(step.command)),
        )
        try:
            if "background" in step.options:
                terminal.wait_for(READY, 180.0)
                self._running.append(terminal)
            else:
                person = _Person(self, step, terminal, outcome)
                outcome.exit = terminal.watch(person, self.limit)
                terminal.close()
                if person.never and outcome.exit in step.exits:
                    outcome.trouble = f"it never said {person.never[0].pattern.pattern!r}"
        except (RuntimeError, TimeoutError) as error:
            outcome.trouble = str(error)
        outcome.seconds = round(time.monotonic() - began, 1)
        if outcome.trouble is None and outcome.exit is not None and outcome.exit not in step.exits:
            outcome.trouble = f"exit code {outcome.exit}; its last words: {terminal.text[-600:].strip()}"
        if outcome.trouble is None:
            outcome.trouble = self._missing(step, terminal.text, outcome)
        if outcome.trouble is not None:
            outcome.not_heard = bool(NOT_HEARD.search(terminal.text))
            raise RecipeError(f"{step.name} (line {step.line}): {outcome.trouble}", outcome)
        if (self.folder / SETTINGS).is_file() and self.extra:
            with (self.folder / SETTINGS).open("a", encoding="utf-8") as file:
                file.write("".join(f"{line}\n" for line in self.extra))
            self.extra = []
        return outcome

    def prepare_again(self, step: Step, steps: list[Step]) -> None:
        """Does what the recipe wants done before a step is tried once more."""
        if "clears" in step.options:
            shutil.rmtree(self.folder / step.options["clears"], ignore_errors=True)
        for other in steps:
            if other.name == step.options.get("first"):
                self.follow(other)

    def _missing(self, step: Step, text: str, outcome: Outcome) -> str | None:
        at = 0
        for pattern in step.sees:
            found = pattern.search(text, at)
            if found is None:
                return (
                    f"the recipe says that one sees {pattern.pattern!r}; it ended with: {text[-600:].strip()}"
                )
            at = found.end()
        for name in step.writes:
            path = self.folder / name
            if not path.exists():
                return f"the recipe says that it writes {name}, which is not there"
            outcome.wrote.append(f"{name} ({describe(path)})")
        return None

    def hands(self, command: str) -> None:
        """Does something with the emulated arm's hands.

        Raises:
            RuntimeError: The command failed.
        """
        try:
            done = subprocess.run(
                ["bash", "-c", self._shell(command)],
                cwd=self.folder,
                env=self.env,
                capture_output=True,
                text=True,
                timeout=300,
                stdin=subprocess.DEVNULL,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"`{command}` was not done after {error.timeout:g} s") from error
        if done.returncode:
            raise RuntimeError(f"`{command}` failed: {(done.stderr or done.stdout).strip()}")

    def close(self) -> None:
        """Switches the emulators off."""
        for terminal in self._running:
            terminal.stop()


class _Person:
    """Looks at a command's output and does what the recipe's table says."""

    def __init__(self, follower: Follower, step: Step, terminal: Terminal, outcome: Outcome) -> None:
        self._follower, self._step, self._terminal, self._outcome = follower, step, terminal, outcome
        self._at = 0
        self.never = list(step.prompts)

    def __call__(self, text: str) -> None:
        while True:
            hits = [(found, p) for p in self._step.prompts if (found := p.pattern.search(text, self._at))]
            if not hits:
                return
            found, prompt = min(hits, key=lambda hit: hit[0].start())
            self._at = found.end()
            self.never = [other for other in self.never if other is not prompt]
            self._act(prompt, found)
            text = self._terminal.text

    def _act(self, prompt: Prompt, found: re.Match[str]) -> None:
        for command in prompt.commands:
            self._follower.hands(NAME.sub(lambda name: found.groupdict().get(name[1], name[0]), command))
        for key in prompt.keys:
            time.sleep(REACTION)
            if self._terminal.process.poll() is None:
                self._terminal.press(key)
                self._outcome.keys += 1


def table(outcomes: list[Outcome]) -> str:
    """The outcomes as a Markdown table."""
    rows = ["| step | command | exit | seconds | tries | keys | wrote |", "|---|---|---|---|---|---|---|"]
    for o in outcomes:
        first = " ".join(o.command.split()[:3]).replace("|", "\\|")
        code = "runs on" if o.exit is None and o.trouble is None else str(o.exit)
        rows.append(
            f"| {o.step} | `{first}` | {code} | {o.seconds:.1f} | {o.tries} | {o.keys or ''} | {o.trouble or ', '.join(o.wrote)} |"
        )
    return "\n".join(rows)


def follow_recipe(
    recipe: Path,
    out: Path,
    choices: dict[str, str],
    extra: list[str] | None = None,
    until: str | None = None,
    limit: float = LIMIT,
) -> list[Outcome]:
    """Follows a recipe from its first step.

    Args:
        recipe: The Markdown file.
        out: Folder to work in; ``my_arm`` in it is the recipe's own.
        choices: ``arm`` and ``cameras``.
        extra: Lines for the end of the settings.
        until: The last step.
        limit: Seconds for one command.

    Returns:
        All outcomes; the last one has ``trouble`` if the recipe could not be followed to its end.
    """
    folder = out / "my_arm"
    if folder.exists():
        raise FileExistsError(
            f"{folder} is there already. Fix: --fresh removes it, --out=FOLDER works elsewhere"
        )
    folder.mkdir(parents=True)
    # The recipe is followed in a folder of the repository, and takes demonstrations from there.
    (out / "examples").unlink(missing_ok=True)
    (out / "examples").symlink_to(ROOT / "examples")
    follower = Follower(folder, out / "logs", limit, extra)
    outcomes: list[Outcome] = []
    steps = read_recipe(recipe)
    try:
        for step in steps:
            if not step.applies(**choices):
                continue
            print(f"{step.name}: {step.command.splitlines()[0]}", flush=True)
            for tries in range(1, int(step.options.get("again", 0)) + 2):
                try:
                    if tries > 1:
                        follower.prepare_again(step, steps)
                    done = follower.follow(step)
                except RecipeError as error:
                    done = error.args[1]
                    print(f"    {error.args[0]}", flush=True)
                done.tries = tries
                if not done.not_heard:
                    break
            outcomes.append(done)
            if done.trouble:
                break
            print(f"    exit {done.exit}, {done.seconds:.1f} s {' '.join(done.wrote)}", flush=True)
            if step.name == until:
                break
    finally:
        follower.close()
        told = {"recipe": recipe.name, **choices, "steps": [asdict(o) for o in outcomes]}
        (out / "outcomes.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        (out / "outcomes.md").write_text(table(outcomes) + "\n", encoding="utf-8")
    return outcomes


def main() -> int:
    """Returns 0 if everything happened as the recipe says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arm", default="so101", choices=sorted(RECIPES))
    parser.add_argument("--cameras", default="2", choices=("1", "2"))
    parser.add_argument("--out", type=Path, help="folder to work in (default outputs/arms/ARM_CAMERAS)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a line for my_arm.sh"
    )
    parser.add_argument("--fresh", action="store_true", help="remove what an earlier run left there")
    parser.add_argument("--until", metavar="STEP", help="the last step")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for one command")
    arguments = parser.parse_args()
    out = (arguments.out or ROOT / f"outputs/arms/{arguments.arm}_{arguments.cameras}").resolve()
    choices = {"arm": arguments.arm, "cameras": arguments.cameras}
    began = time.monotonic()
    if arguments.fresh:
        for name in ("my_arm", "logs"):
            shutil.rmtree(out / name, ignore_errors=True)
    try:
        outcomes = follow_recipe(
            RECIPE_FOLDER / RECIPES[arguments.arm],
            out,
            choices,
            arguments.set,
            arguments.until,
            arguments.limit,
        )
    except (ValueError, FileExistsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(
        f"\n{table(outcomes)}\n\n{len(outcomes)} steps in {time.monotonic() - began:.0f} s; logs in {out}/logs"
    )
    return 1 if any(o.trouble for o in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
