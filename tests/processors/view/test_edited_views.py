# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A view is a whole LeRobot dataset: what every operation of LeRobot's dataset tools leaves of its events and statistics."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from lerobot.configs.video import RGBEncoderConfig
from lerobot.datasets import dataset_tools as tools
from lerobot.datasets.aggregate import aggregate_datasets
from lerobot.datasets.compute_stats import aggregate_stats, compute_episode_stats
from lerobot.datasets.io_utils import cast_stats_to_numpy, load_stats
from tables import change_episodes, episodes_file, load, rows_file

from lerobot_wallwm.cli import main
from lerobot_wallwm.language.event_grammar import END, START, learn_transitions
from lerobot_wallwm.language.view_events import has_events, recordings, view_rows
from lerobot_wallwm.language.view_facts import read_view
from lerobot_wallwm.policies.assembly.learned import learn
from lerobot_wallwm.policies.batches.dataset_facts import event_grammar
from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.view.carver import EventCarver
from lerobot_wallwm.processors.view.statistics import QUANTILES
from lerobot_wallwm.processors.view.verify import verify_view


@pytest.fixture(scope="module")
def view(source, events, tmp_path_factory):
    root = tmp_path_factory.mktemp("whole") / "view"
    EventCarver()(source, events, root, sidecar={"split": "train"})
    return root


def templates(events, episodes=None):
    """Of each recording, in order."""
    own = [e for e in events if e.level == "action" and (episodes is None or e.episode_index in episodes)]
    return [[e.template for e in own if e.episode_index == i] for i in sorted({e.episode_index for e in own})]


def learned_from(root, make_config):
    """What a policy learns of a dataset before its first batch."""
    config, meta = make_config(planner="grammar"), load(root).meta
    learn(config, meta.stats, meta)
    return config.learned


def whole(root, source, frames=True):
    """Whether the edited view is whole: statistics of every episode and of all, rows and pads of the source."""
    report = verify_view(source.root, root, frames=False)
    assert report.ok, report
    dataset = load(root)
    assert dataset[0]["task"] == dataset.meta.episodes[0]["tasks"][0]
    return dataset


def test_statistics_of_each_episode_are_those_of_lerobots_writer(view):
    dataset, file = load(view), episodes_file(view)
    numeric = {k: f for k, f in dataset.meta.features.items() if f["dtype"] not in ("video", "string")}
    rows = dataset.hf_dataset.with_format("numpy")
    for row in pq.read_table(file).to_pylist()[:7]:
        part = rows[row["dataset_from_index"] : row["dataset_to_index"]]
        theirs = compute_episode_stats({key: np.asarray(part[key]) for key in numeric}, numeric)
        for key, own in theirs.items():
            width = np.asarray(own["max"]) - own["min"]
            for name, value in own.items():
                mine = np.array(row[f"stats/{key}/{name}"])
                # LeRobot's quantiles lie somewhere in the bin of the value; its std loses digits in float32.
                room = width / 4990 + 1e-9 if name.startswith("q") else 0.02 if name == "std" else 1e-5
                assert mine.shape == value.shape and np.all(np.abs(mine - value) <= room), (key, name)
    images = [key for key in dataset.meta.camera_keys for _ in QUANTILES]
    assert images and all(np.array(row[f"stats/{key}/mean"]).shape == (3, 1, 1) for key in images)
    # And LeRobot reads them back: all together they are the statistics of the view.
    found = [cast_stats_to_numpy(_nested(row)) for row in pq.read_table(file).to_pylist()]
    every = aggregate_stats(found)
    del every["wallwm"]  # which carries the event
    for key, value in every.items():
        for name in ("min", "max", "mean", "std"):
            np.testing.assert_allclose(value[name], load_stats(view)[key][name], rtol=1e-4, atol=1e-2)


def _nested(row):
    found: dict = {}
    for name, value in row.items():
        if name.startswith("stats/"):
            _, key, part = name.split("/")
            found.setdefault(key, {})[part] = value
    return found


def test_deleting_events_keeps_statistics_events_plan_and_limits(view, source, events, tmp_path, make_config):
    gone = [1, 2, 9]
    tools.delete_episodes(load(view), gone, output_dir=tmp_path / "view", repo_id="test/view")
    whole(tmp_path / "view", source)
    before, after = view_rows(view), view_rows(tmp_path / "view")
    kept = [row for row in before if row["episode_index"] not in gone]
    assert [row["wallwm/event_id"] for row in after] == [row["wallwm/event_id"] for row in kept]
    of_events = [key for key in kept[0] if key.startswith("wallwm/")]
    assert len(of_events) >= 17 and all(
        [a[k] for k in of_events] == [b[k] for k in of_events] for a, b in zip(after, kept, strict=True)
    )
    assert json.loads((tmp_path / "view" / "meta" / "stats.json").read_text())["action"]["count"] == [
        sum(row["length"] for row in after)
    ]
    learned, was = learned_from(tmp_path / "view", make_config), learned_from(view, make_config)
    # No transition is new, and none across what was deleted: event 1 of a recording does not follow event 0 of another.
    for context, nexts in learned.event_transitions.items():
        assert set(nexts) <= set(was.event_transitions[context]), context
    assert set(learned.event_max_frames) == set(was.event_max_frames)
    for limit in learned.motion_limits.values():
        assert np.shape(limit) == (6,) and np.isfinite(limit).all()
    facts = read_view(tmp_path / "view")
    assert (facts.source, facts.split, facts.events) == (source.root.name, "train", len(kept))


def test_a_kind_of_event_that_is_deleted_everywhere_leaves_the_plan(view, source, events, tmp_path):
    rows = view_rows(view)
    kind = rows[2]["wallwm/template"]
    gone = [row["episode_index"] for row in rows if row["wallwm/template"] == kind]
    tools.delete_episodes(load(view), gone, output_dir=tmp_path / "view", repo_id="test/view")
    transitions, longest = event_grammar(view_rows(tmp_path / "view"))
    left = [[t for t in sequence if t != kind] for sequence in templates(events)]
    expected = learn_transitions(left)
    assert transitions == expected and kind not in longest


def test_splitting_keeps_each_side_whole(view, source, tmp_path, make_config):
    half = view_rows(view)[-1]["episode_index"] // 2
    splits = {"a": list(range(half)), "b": list(range(half, len(view_rows(view))))}
    tools.split_dataset(load(view), splits, output_dir=tmp_path / "out")
    for name, episodes in splits.items():
        whole(tmp_path / "out" / name, source)
        rows = view_rows(tmp_path / "out" / name)
        assert len(rows) == len(episodes) and has_events(rows)
        assert learned_from(tmp_path / "out" / name, make_config).event_transitions


def test_views_of_two_sources_merge_without_mixing_their_recordings(
    view, source, events, damaged, tmp_path, make_config
):
    """Both have an episode 0, and even the same lengths and tasks: their events do not mix."""
    change_episodes(damaged, "action", lambda values, _: values + 1)
    other = SourceDataset.open(damaged)
    assert other.identity != source.identity and other.identity[:16] == source.identity[:16]
    chosen = [e for e in events if e.episode_index in (0, 1)]
    EventCarver()(other, chosen, tmp_path / "other")
    roots = [view, tmp_path / "other"]
    aggregate_datasets(["a/a", "b/b"], "c/c", roots=roots, aggr_root=tmp_path / "both")
    rows = view_rows(tmp_path / "both")
    assert len(recordings(rows)) == len(source) + 2
    learned = learned_from(tmp_path / "both", make_config)
    assert learned.event_transitions == learn_transitions(templates(events) + templates(chosen))
    assert {row["wallwm/source"] for row in rows} == {source.identity, other.identity}
    assert read_view(tmp_path / "both").events == len(rows)
    dataset = load(tmp_path / "both")
    first = len(view_rows(view))  # the first event of the other: its own pictures, rows and caption
    at = dataset.meta.episodes[first]["dataset_from_index"]
    np.testing.assert_array_equal(dataset[at]["action"], load(tmp_path / "other")[0]["action"])
    assert dataset[at]["task"] == rows[first]["wallwm/caption"]


def test_the_train_and_heldout_views_of_one_source_merge_to_whole_recordings(source, events, tmp_path):
    sides = {
        "train": [e for e in events if e.episode_index < 4],
        "heldout": [e for e in events if e.episode_index >= 4],
    }
    for name, own in sides.items():
        EventCarver()(source, own, tmp_path / name, sidecar={"split": name})
    roots = [tmp_path / name for name in sides]
    aggregate_datasets(["a/a", "b/b"], "c/c", roots=roots, aggr_root=tmp_path / "both")
    assert event_grammar(view_rows(tmp_path / "both"))[0] == learn_transitions(templates(events))
    assert verify_view(source.root, tmp_path / "both", quiet=True).ok
    # The same view twice counts once.
    aggregate_datasets(["a/a", "b/b"], "c/c", roots=[roots[0]] * 2, aggr_root=tmp_path / "twice")
    assert event_grammar(view_rows(tmp_path / "twice")) == event_grammar(view_rows(roots[0]))


def test_other_captions_change_the_templates(view, source, tmp_path, make_config):
    root = shutil.copytree(view, tmp_path / "view")
    rows = view_rows(root)
    old = next(row for row in rows if "{object}" in row["wallwm/template"])
    name = old["wallwm/caption"]
    new = {name: f"{name} with care"}
    tools.modify_tasks(load(root), task_replacements=new)
    whole(root, source)
    after = view_rows(root)
    changed = [b for a, b in zip(rows, after, strict=True) if a["tasks"] != b["tasks"]]
    assert changed and {row["wallwm/template"] for row in changed} == {f"{old['wallwm/template']} with care"}
    plan = learned_from(root, make_config).event_transitions
    assert all(old["wallwm/template"] not in nexts for nexts in plan.values())
    assert f"{old['wallwm/template']} with care" in learned_from(root, make_config).event_max_frames
    # Another name for the object is still the object.
    tools.modify_tasks(load(root), task_replacements={f"{name} with care": "reach for the crimson brick"})
    assert view_rows(root)[old["episode_index"]]["wallwm/template"] == old["wallwm/template"]
    # One task for all: every event is of that kind.
    tools.modify_tasks(load(root), new_task="tidy up")
    assert set(learned_from(root, make_config).event_transitions[START]) == {"tidy up"}


def test_statistics_recomputed_by_lerobot_agree_with_ours(view, source, tmp_path):
    root = shutil.copytree(view, tmp_path / "view")
    before = load_stats(root)
    tools.recompute_stats(load(root))
    after = load_stats(root)
    assert set(after) == set(before)
    for key in ("action", "observation.state"):
        for name in ("min", "max", "mean"):
            np.testing.assert_allclose(after[key][name], before[key][name], rtol=1e-4, atol=1e-4)
    whole(root, source)


def test_encoding_anew_in_place_leaves_the_source_and_the_events(damaged, events, tmp_path, make_config):
    """The view's videos are links to the source's: LeRobot replaces them, and the source keeps its bytes."""
    source = SourceDataset.open(damaged)
    EventCarver()(source, events, tmp_path / "view")
    before = {path: path.read_bytes() for path in damaged.rglob("*.mp4")}
    tools.reencode_dataset(load(tmp_path / "view"), rgb_encoder=RGBEncoderConfig(vcodec="h264", crf=18, g=2))
    assert before and all(path.read_bytes() == content for path, content in before.items())
    assert not any(
        p.samefile(damaged / p.relative_to(tmp_path / "view")) for p in (tmp_path / "view").rglob("*.mp4")
    )
    whole(tmp_path / "view", source)
    assert learned_from(tmp_path / "view", make_config).event_transitions == learn_transitions(
        templates(events)
    )


def test_events_that_are_written_several_times_can_be_deleted_one_by_one(source, events, tmp_path):
    """LeRobot cuts an episode's stretch out of a file; each copy has its stretch in a file of its own."""
    own = [e for e in events if e.level == "action"]
    copies = {own[1].event_id: 3, own[4].event_id: 2, own[0].event_id: 0}
    EventCarver()(source, events, tmp_path / "view", copies=copies)
    assert verify_view(source.root, tmp_path / "view", quiet=True).ok
    view = load(tmp_path / "view")
    first = [e["wallwm/event_id"] for e in view.meta.episodes].index(own[4].event_id)
    tools.delete_episodes(view, [2, first], output_dir=tmp_path / "less", repo_id="test/less")
    whole(tmp_path / "less", source)
    kept = [e for e in range(view.num_episodes) if e not in (2, first)]
    less = load(tmp_path / "less")
    for new, old in enumerate(kept):
        mine, theirs = (d.meta.episodes[e]["dataset_from_index"] for d, e in ((less, new), (view, old)))
        for key in view.meta.camera_keys:  # the right picture, though encoded again
            assert abs(less[mine][key] - view[theirs][key]).mean() < 0.05, (new, key)


def test_verify_says_which_dataset_a_view_was_cut_from(view, events, damaged, tmp_path, capsys):
    shorter = tmp_path / "shorter"
    tools.delete_episodes(load(damaged), [0], output_dir=shorter, repo_id="test/shorter")
    assert main(["verify", f"--source.root={shorter}", f"--view.root={view}"]) == 2
    err = capsys.readouterr().err
    assert "cut from dataset" in err and "Fix: " in err
    assert main(["verify", f"--source.root={damaged}", f"--view.root={view}", "--frames=false"]) == 0
    out = capsys.readouterr().out
    assert "not compared (--frames=false)" in out and "pad flags " not in out.replace("and pad flags", "")


def test_verify_compares_statistics(view, source, tmp_path):
    root = shutil.copytree(view, tmp_path / "view")
    file = root / "meta" / "stats.json"
    stats = json.loads(file.read_text())
    for change in (lambda s: s["action"]["max"].__setitem__(2, 1e3), lambda s: s["action"].update(min=[0.0])):
        wrong = json.loads(json.dumps(stats))
        change(wrong)
        file.write_text(json.dumps(wrong))
        assert verify_view(source.root, root, frames=False).statistic_mismatches == 1
    file.write_text(json.dumps(stats))
    table = pq.read_table(episodes_file(root))
    pq.write_table(table.drop_columns(["stats/action/mean"]), episodes_file(root))
    assert verify_view(source.root, root, frames=False).statistic_mismatches == len(table)


def test_rows_and_features_are_those_of_the_source(view, source):
    """Another dataset of the same arm merges with a view, and linters find nothing to wonder at."""
    carved = SourceDataset.open(view)
    assert carved.info["features"] == source.info["features"]
    assert pq.read_schema(rows_file(view)).equals(pq.read_schema(rows_file(source.root)), check_metadata=True)
    assert END in event_grammar(view_rows(view))[0][view_rows(view)[-1]["wallwm/template"]]
