# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What `wallwm` answers to what people type."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from lerobot_wallwm import flags
from lerobot_wallwm.cli import COMMANDS, main
from lerobot_wallwm.processors.prepare.config import PrepareConfig
from lerobot_wallwm.processors.recover.command import DEGREES, RecoverConfig


def parsed(*words: str, config=PrepareConfig, command: str = "prepare"):
    return flags.parse(command, config, words)


def refused(*words: str, config=PrepareConfig) -> str:
    with pytest.raises(ValueError) as error:
        parsed(*words, config=config)
    text = str(error.value)
    assert "Fix:" in text and "\n" not in text and text.startswith(("--", "'"))
    return text


def ran(capsys, *words: str) -> tuple[int, str, str]:
    try:
        code = main(words)
    except SystemExit as end:
        code = end.code
    said = capsys.readouterr()
    return code, said.out, said.err


# -- help ----------------------------------------------------------------------------------------------------------------


def test_no_command_and_help_print_the_usage_and_are_no_error(capsys):
    for words in ([], ["--help"], ["-h"], ["help"]):
        code, out, err = ran(capsys, *words)
        assert code == 0 and out.startswith("usage: wallwm") and not err
    for word in ("--version", "-V"):
        code, out, err = ran(capsys, word)
        assert code == 0 and out.startswith("wallwm ") and "lerobot 0.6" in out and "torch" in out
    assert ran(capsys, "help", "pull") == ran(capsys, "pull", "--help")


def test_an_unknown_command_is_answered_with_the_one_that_was_meant(capsys):
    code, _, err = ran(capsys, "prepair")
    assert code == 2 and "Did you mean `wallwm prepare`?" in err and "Fix:" in err
    assert "Did you mean `wallwm --version`?" in ran(capsys, "--verison")[2]
    code, _, err = ran(capsys, "zzz")
    assert code == 2 and "Did you mean" not in err and "prepare, " in err


@pytest.mark.parametrize("name", list(COMMANDS))
def test_help_fits_a_screen_and_help_all_has_every_flag_with_its_reason(capsys, name):
    code, short, err = ran(capsys, name, "--help")
    assert code == 0 and not err
    lines = short.splitlines()
    assert len(lines) <= 45 and max(map(len, lines[1:])) <= flags.WIDTH
    code, everything, _ = ran(capsys, name, "--help-all")
    assert code == 0 and "--help-all" in short
    heads = [line.split()[0] for line in everything.splitlines() if line.startswith("  --")]
    own = [word.split("=")[0] for line in lines if line.startswith("  --") for word in line.split()[:1]]
    assert {word for word in own if not word.endswith(".*")} <= set(heads) and len(heads) >= len(own)
    texts = everything.split("\n  --")[1:]
    assert all(len(text.splitlines()) > 1 for text in texts), "a flag without a reason"


def test_help_of_recover_takes_a_moment_only():
    """Built from one read of each class' source, not one a field."""
    start = time.process_time()
    text = flags.help_text("recover", RecoverConfig, "starts", "--dataset.root=DIR", everything=True)
    assert time.process_time() - start < 1.0 and "--segmenter.min_event_s" in text


# -- flags ---------------------------------------------------------------------------------------------------------------


def test_flags_are_values_of_their_kind():
    config = parsed(
        *("--dataset.root=data/cups", "--level", "task", "--heldout=.25", "--overwrite", "--seed=7"),
        *("--human=[a.json,b.json]", "--segmenter.min_event_s=0.2", "--balance=true", "--language=null"),
    )
    assert config.dataset.root == Path("data/cups") and config.level == "task" and config.heldout == 0.25
    assert (
        config.overwrite is True and config.seed == 7 and config.balance is True and config.language is None
    )
    assert config.human == [Path("a.json"), Path("b.json")] and config.segmenter.min_event_s == 0.2
    assert parsed("--dataset.repo_id=1e5").dataset.repo_id == "1e5"  # a name stays a text
    assert parsed("--segmenter={min_event_s: 0.5}").segmenter.min_event_s == 0.5
    assert parsed("--clean.on_bad=error", "--clean.static=1").clean.static == 1.0


def test_a_switch_is_no_number_and_a_number_no_switch():
    """`--prune_quasi_static=true` was read as 1.0 and left out a quarter of the frames."""
    assert "takes a number" in refused("--prune_quasi_static=true")
    assert parsed("--prune_quasi_static=0.02").prune_quasi_static == 0.02
    assert "true or false" in refused("--balance=1")
    assert "whole number" in refused("--seed=1.5") and "takes a number" in refused("--heldout=much")
    assert "needs a value" in refused("--level")
    assert "--segmenter.min_event_s must be above 0" in refused("--segmenter.min_event_s=-1")


def test_a_group_given_as_a_flag_names_its_flags():
    assert "group of" in refused("--clean=true") and "--clean.on_bad" in refused("--clean=true")
    assert "--recovery.share=0.1" in refused("--recovery=0.1")
    assert "--out.root=events" in refused("--out=events")
    assert "no flag" in refused("data/cups")
    assert "Fix: --dataset.root=data/cups" in refused("dataset.root=data/cups")
    assert "takes a list. Fix: --clean.skip=[5]" in refused("--clean.skip=5")
    assert "Did you mean" not in refused("--split=0.2")  # nothing is like it


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--levle=task", "--level"),
        ("--dataset.rot=x", "--dataset.root"),
        ("--min_switch=3", "--kinematics.min_switch"),
        ("--segmenter.min_events=1", "--segmenter.min_event_s"),
        ("--overwrit", "--overwrite"),
    ],
)
def test_a_typo_is_answered_in_one_line_with_what_was_meant(typed, meant):
    text = refused(typed)
    assert f"Did you mean {meant}" in text and len(text) < 200


@given(st.data())
def test_whatever_is_typed_is_a_configuration_or_one_line_that_helps(data):
    names = [flag.name for flag in flags.all_flags(PrepareConfig)]
    name = data.draw(st.sampled_from(names) | st.text("abcdefgh._", max_size=12))
    value = data.draw(
        st.sampled_from(["true", "3", "-1.5", "null", "x", "[1, 2]", "{a: 1}", "", "1e400", "%", "{"])
    )
    try:
        config = parsed(f"--{name}={value}")
    except ValueError as error:
        assert "Fix:" in str(error) or str(error).startswith("--")
    else:
        assert dataclasses.is_dataclass(config)


def test_the_same_from_the_shell_without_a_traceback(tmp_path):
    words = [sys.executable, "-m", "lerobot_wallwm.cli", "prepare", "--clean=true"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("error: --clean=true")
    assert len(done.stderr.splitlines()) == 1 and not done.stdout


def test_what_is_missing_is_said_before_lerobot_is_imported(tmp_path):
    """On a busy machine the imports alone take a minute."""
    (tmp_path / "events" / "heldout" / "meta").mkdir(parents=True)
    (tmp_path / "events" / "heldout" / "meta" / "info.json").write_text("{}")
    tries = {
        "nothing to publish": ["publish"],
        "there is no such folder": ["publish", "--policy.path=nowhere", "--repo_id=me/cups"],
        "write it as user/name": ["pull", "nothing"],
        "pass events/heldout": ["check", "--policy.path=x", "--dataset.root=events", "--out=out"],
        "give events/heldout": ["verify", "--source.root=events", "--view.root=events/train"],
    }
    code = f"import sys; from lerobot_wallwm.cli import main\nfor words in {list(tries.values())}: assert main(words) == 2"
    words = [sys.executable, "-c", f"{code}\nassert 'lerobot.policies' not in sys.modules"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for said, line in zip(tries, done.stderr.splitlines(), strict=True):
        assert said in line and "Fix:" in line


# -- datasets ------------------------------------------------------------------------------------------------------------


def test_a_dataset_that_is_not_there_is_said_in_seconds(capsys, tmp_path):
    start = time.process_time()
    words = ["--dataset.repo_id=nobody/nothing", f"--out.root={tmp_path / 'out'}"]
    code, _, err = ran(capsys, "prepare", *words)
    assert code == 2 and time.process_time() - start < 10 and len(err.splitlines()) == 1
    assert "--dataset.repo_id=nobody/nothing" in err and "offline" in err and "--dataset.root=<folder>" in err


def test_a_view_is_not_cut_again_and_what_cannot_be_written_is_said(
    capsys, tiny_view, tiny_dataset, tmp_path
):
    code, _, err = ran(
        capsys, "prepare", f"--dataset.root={tiny_view / 'train'}", f"--out.root={tmp_path / 'out'}"
    )
    assert code == 2 and "it is a view" in err and not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file" / "out", Path("/proc/out")):
        code, _, err = ran(capsys, "prepare", f"--dataset.root={tiny_dataset}", f"--out.root={place}")
        assert code == 2 and "cannot be made" in err and "choose another --out.root" in err
    assert (tmp_path / "file").read_text() == "mine"


def test_a_dataset_in_the_cache_needs_no_network(capsys, tiny_dataset, tmp_path, monkeypatch):
    import lerobot.utils.constants

    from lerobot_wallwm.storage.places import DatasetConfig, source_root

    monkeypatch.setattr(lerobot.utils.constants, "HF_LEROBOT_HOME", tmp_path)
    shutil.copytree(tiny_dataset, tmp_path / "me/cups")
    assert source_root(DatasetConfig(repo_id="me/cups")) == tmp_path / "me/cups"


def test_verify_names_a_wrong_source_and_says_what_it_did_not_compare(
    capsys, tiny_dataset, tiny_view, tmp_path
):
    view = tiny_view / "train"
    roots = [f"--source.root={tiny_dataset}", f"--view.root={view}", "--quiet=true"]
    code, out, _ = ran(capsys, "verify", *roots, "--frames=false")
    assert code == 0 and "were not compared" in out and "pad flags  " not in out
    from lerobot.datasets.dataset_tools import delete_episodes
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    whole = LeRobotDataset("test/tiny", root=tiny_dataset)
    delete_episodes(whole, [1, 2, 3, 4, 5], output_dir=tmp_path / "other", repo_id="test/other")
    code, _, err = ran(capsys, "verify", f"--source.root={tmp_path / 'other'}", *roots[1:], "--frames=false")
    assert code == 2 and "--source.root" in err and "KeyError" not in err


def test_prepare_under_a_name_says_where_the_views_are(capsys, tiny_dataset, tmp_path, monkeypatch):
    """A name alone is nothing that lerobot-train can open."""
    import lerobot.utils.constants

    monkeypatch.setattr(lerobot.utils.constants, "HF_LEROBOT_HOME", tmp_path / "home")
    words = [f"--dataset.root={tiny_dataset}", "--out.repo_id=me/events", "--quiet=true"]
    code, out, _ = ran(capsys, "prepare", *words)
    assert code == 0 and f"-> {tmp_path / 'home/me/events'}" in out
    assert f"--dataset.root={tmp_path / 'home/me/events/train'}" in out
    assert (tmp_path / "home/me/events/train/meta/info.json").is_file()


def test_warnings_of_constant_dimensions_stand_apart_from_the_clusters(capsys):
    from lerobot_wallwm.processors.prepare.prepare import print_summary

    row = {"clusters": 2, "rarest_decile_gain": 1.0, "rarest_decile_even_gain": 1.0}
    row |= {f"{key}_{when}": 0.5 for key in ("gini", "entropy") for when in ("before", "after")}
    balance = {"vl": row, "action": row, "events": 1, "copies": 1, "most": 1, "events_left_out": 0}
    summary = {
        **{
            "demonstration_seconds": 1.0,
            "fps": 10,
            "episodes": 1,
            "frames": 10,
            "level": "action",
            "seconds": 1.0,
        },
        **{"cleaning": {"episodes": {}, "excluded": [], "flagged_by_rule": {}}, "events": {"action": 1}},
        **{
            "labels": {},
            "captions": {},
            "templates": {},
            "views": {},
            "real_time_factor": 1.0,
            "embodiment": [],
            "instructions": None,
        },
        **{"warnings": ["action[3] is constant"], "balance": balance},
    }
    print_summary(summary, "out")
    out = capsys.readouterr().out
    assert out.index("action[3] is constant") < out.index("clusters drawn")


def test_recover_counts_in_the_datasets_own_unit(capsys, tiny_dataset, tmp_path):
    """Radians are not called degrees, and get a ball as wide."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    moved = {}
    for unit, factor in (("degrees", 1.0), ("radians", np.pi / 180)):
        data = Path(shutil.copytree(tiny_dataset, tmp_path / unit))
        for file in data.glob("data/*/*.parquet"):
            table = pq.read_table(file)
            for name in ("observation.state", "action"):
                values = np.stack(table[name].to_numpy(zero_copy_only=False))
                values[:, :5] *= factor
                column = pa.array(list(values.astype(np.float32)), type=table.schema.field(name).type)
                table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), column)
            pq.write_table(table, file)
        code, out, _ = ran(capsys, "recover", f"--dataset.root={data}", "--json=true", "--starts=4")
        assert code == 0
        moved[unit] = max(json.loads(line)["moved_by"] for line in out.splitlines())
    assert 0.5 < moved["degrees"] <= DEGREES + 1e-6
    assert moved["radians"] < 1 and moved["radians"] <= np.radians(DEGREES) + 1e-3


def test_a_dry_run_of_a_dataset_is_written_where_it_is_told(capsys, tiny_dataset, tmp_path):
    out = tmp_path / "events"
    assert (
        main(
            [
                "prepare",
                f"--dataset.root={tiny_dataset}",
                f"--out.root={out}",
                "--quiet=true",
                "--copy_videos=true",
            ]
        )
        == 0
    )
    words = [f"--dataset.root={out / 'train'}", "--dataset.repo_id=me/events", "--dry_run=true"]
    code, said, err = ran(capsys, "publish", *words, f"--out={tmp_path / 'staged'}")
    assert code == 0, err
    assert (tmp_path / "staged/meta/info.json").is_file() and (tmp_path / "staged/README.md").is_file()
    assert str(tmp_path / "staged") in said
    code, _, err = ran(capsys, "publish")
    assert code == 2 and "nothing to publish" in err
