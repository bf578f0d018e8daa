# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The recipes' text, and the program that follows it."""

import json
import os
import re
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
RECIPE_FOLDER = REPO / "examples" / "recipes"
sys.path.insert(0, str(REPO / "scripts" / "recipes"))

from follow import RECIPES, follow_recipe, table  # noqa: E402
from recipe_text import as_pattern, read_recipe  # noqa: E402
from terminal import CAP_SYS_NICE, Terminal  # noqa: E402

VARIABLE = re.compile(r"^([A-Z_]+)=", re.MULTILINE)
ANY_ARM = {"arm": "so101", "cameras": "2"}


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.md"
    path.write_text(text, encoding="utf-8")
    return path


def follow(folder: Path, text: str, **options):
    return follow_recipe(write(folder, text), folder / "out", ANY_ARM, **options)


def test_output_patterns_take_any_text_and_named_words():
    found = as_pattern("Move ... '<joint>' and press ENTER (<joint>)").search(
        "x Move it to 'wrist_roll' and press ENTER (wrist_roll)"
    )
    assert found and found["joint"] == "wrist_roll"
    assert not as_pattern("[a] <n>").search("a 1")


def test_prompts_are_answered_with_hands_first_and_then_keys(tmp_path):
    outcomes = follow(
        tmp_path,
        """
<!-- run: ask -->
```bash
read -p "which one, part 7? " answer; echo "got $answer after $(cat hands)"
```

| it says | you | no arm |
|---|---|---|
| `which one, part <n>?` | type it, <kbd>y</kbd> <kbd>Enter</kbd> | `echo moved <n> > hands` |

You see `got y after moved 7`. It writes `hands`.
""",
    )
    assert [(o.step, o.exit, o.trouble, o.keys) for o in outcomes] == [("ask", 0, None, 2)]
    assert outcomes[0].wrote == ["hands (8 bytes)"]


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("<!-- run: a -->\n```bash\nfalse\n```\n", "exit code 1"),
        ("<!-- run: a -->\n```bash\necho no\n```\nYou see `yes`.\n", "one sees"),
        ("<!-- run: a -->\n```bash\necho no\n```\nIt writes `here`.\n", "writes here"),
        ("<!-- run: a -->\n```bash\necho b; echo a\n```\nYou see `a` and `b`.\n", "one sees"),
        ("<!-- run: a -->\n```bash\nsleep 60\n```\n", "not done"),
        ("<!-- run: a; background -->\n```bash\necho started\n```\n", "never printed"),
    ],
)
def test_what_does_not_happen_is_trouble_and_ends_the_run(tmp_path, text, trouble):
    outcomes = follow(tmp_path, text + "<!-- run: later -->\n```bash\ntrue\n```\n", limit=3.0)
    assert [o.step for o in outcomes] == ["a"]
    assert trouble in str(outcomes[0].trouble)
    told = json.loads((tmp_path / "out/outcomes.json").read_text())
    assert told["steps"][0]["trouble"] == outcomes[0].trouble
    assert trouble in table(outcomes)


def test_allowed_exit_codes_and_second_tries(tmp_path):
    outcomes = follow(
        tmp_path,
        """
<!-- run: no; exit=0,1 -->
```bash
false
```
<!-- run: second; again=2 -->
```bash
[ -e tried ] || { touch tried; echo 'There is no status packet!'; exit 3; }
```
<!-- run: other; again=2 -->
```bash
echo 'frozen camera'; exit 3
```
""",
    )
    assert [(o.step, o.exit, o.tries) for o in outcomes] == [("no", 1, 1), ("second", 0, 2), ("other", 3, 1)]
    assert [o.trouble is None for o in outcomes] == [True, True, False]


def test_what_has_to_be_done_before_a_second_try(tmp_path):
    outcomes = follow(
        tmp_path,
        """
<!-- run: place -->
```bash
echo placed >> hands
```
<!-- run: drive; again=1; clears=data; first=place -->
```bash
mkdir data && [ $(wc -l < hands) = 2 ] || { echo 'There is no status packet!'; exit 1; }
```
It writes `data` and `hands`.
""",
    )
    assert [(o.step, o.tries, o.trouble) for o in outcomes] == [("place", 1, None), ("drive", 2, None)]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux")
def test_what_drives_an_arm_cannot_become_a_real_time_process(tmp_path):
    """The AV1 encoder would make it one as root, and a driver that polls there is never answered."""
    terminal = Terminal(
        "grep CapEff /proc/self/status", tmp_path, {**os.environ}, tmp_path / "log", ahead=True
    )
    assert terminal.watch(lambda text: None, 30.0) == 0
    terminal.close()
    assert not int(terminal.text.split()[1], 16) >> CAP_SYS_NICE & 1


def test_settings_are_read_before_each_command_and_can_be_added_to(tmp_path):
    text = """
<!-- run: settings -->
```bash
echo STEPS=5 > my_arm.sh
```
<!-- run: two; cameras=1 -->
```bash
echo not for two cameras
```
<!-- run: use -->
```bash
echo "$STEPS steps"
```
You see `7 steps`.
"""
    outcomes = follow(tmp_path, text, extra=["STEPS=7"])
    assert [(o.step, o.trouble) for o in outcomes] == [("settings", None), ("use", None)]


@pytest.mark.parametrize(
    "text",
    [
        "```bash\nls\n```\n",
        "<!-- run: a; often -->\n```bash\nls\n```\n",
        "<!-- run: a -->\n```bash\nls\n```\n<!-- run: a -->\n```bash\nls\n```\n",
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused(tmp_path, text):
    with pytest.raises(ValueError, match=r"recipe\.md.*Fix"):
        read_recipe(write(tmp_path, text))


@pytest.mark.parametrize("name", sorted(set(RECIPES.values())))
def test_settings_for_an_arm_and_for_the_emulator_have_the_same_names(name):
    blocks = [s for s in read_recipe(RECIPE_FOLDER / name) if s.command.startswith("cat > my_arm.sh")]
    real, emulated = (set(VARIABLE.findall(block.command)) for block in blocks)
    assert real <= emulated
    used = set(re.findall(r"\$\{?([A-Z_]+)", "".join(s.command for s in read_recipe(RECIPE_FOLDER / name))))
    assert used - emulated <= {"HF_USER", "PWD"}


@pytest.mark.parametrize("name", sorted(set(RECIPES.values())))
def test_every_command_with_a_policy_limits_its_targets(name):
    steps = [s for s in read_recipe(RECIPE_FOLDER / name) if "lerobot-rollout" in s.command]
    assert len(steps) >= 2
    assert all("--robot.max_relative_target=" in s.command for s in steps)


def test_both_recipes_have_the_same_steps():
    so, koch = (
        [s.name for s in read_recipe(RECIPE_FOLDER / name) if "arm" not in s.options]
        for name in ("so100.md", "koch.md")
    )
    assert so == koch


@pytest.mark.slow
@pytest.mark.parametrize("cameras", ["2", "1"])
@pytest.mark.parametrize("arm", ["so101", "so100", "koch"])
def test_the_recipe_works_to_the_letter(tmp_path, arm, cameras):
    """Few episodes and steps; otherwise as printed."""
    few = ["EPISODES=3", "STEPS=10", "MORE_STEPS=5", "CORRECTIONS=2", "ROLLOUT_SECONDS=4"]
    outcomes = follow_recipe(RECIPE_FOLDER / RECIPES[arm], tmp_path, {"arm": arm, "cameras": cameras}, few)
    assert not [o.trouble for o in outcomes if o.trouble], table(outcomes)
    assert outcomes[-1].step == "publish_dry"
