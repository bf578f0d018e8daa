# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Open-loop evaluation of a saved checkpoint on a carved view, end to end at tiny size."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from so101_demo.collect import (
    choose_clips,
    choose_episodes,
    choose_examples,
    load_episode_views,
    load_open_loop,
    read_progress_log,
    save_open_loop,
)
from so101_demo.open_loop import action_errors, derangement, evaluate

from lerobot_wallwm import make_wallwm_pre_post_processors
from lerobot_wallwm.check.measure.baselines import CaptionMean, EventRows
from lerobot_wallwm.check.measure.observations import Observations, predict
from lerobot_wallwm.check.measure.video import imagine
from lerobot_wallwm.check.measure.views import Anchor


@pytest.fixture(scope="module")
def checkpoint(make_policy, tiny_stats, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint")
    policy = make_policy()
    policy.save_pretrained(path)
    for pipeline in make_wallwm_pre_post_processors(policy.config, tiny_stats):
        pipeline.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def evaluation(checkpoint, tiny_view):
    return evaluate(checkpoint, tiny_view / "train", tiny_view / "heldout", per_event=2)


def test_figures_are_complete_and_consistent(evaluation):
    figures, _, observations, predicted = evaluation
    actions = figures["actions"]
    assert predicted.shape == observations.true.shape
    error = np.abs(predicted - observations.true)[observations.valid].mean()
    assert actions["policy"] == pytest.approx(error)
    assert actions["below_hold"] == pytest.approx(1 - actions["policy"] / actions["hold"])
    assert actions["below_caption_mean"] == pytest.approx(1 - actions["policy"] / actions["caption_mean"])
    assert 0 < actions["at_keyframes"]["observations"] < actions["observations"]
    assert figures["latency_ms"] > 0
    assert figures["sight"] is None  # one held-out episode: no other scene


def test_observations_are_what_was_recorded(evaluation, tiny_view):
    _, _, observations, _ = evaluation
    table = pq.read_table(next((tiny_view / "heldout").glob("data/*/*.parquet")))
    recorded = np.stack(table["action"].to_numpy(zero_copy_only=False))
    for i, anchor in enumerate(observations.anchors):
        steps = int(observations.valid[i].sum())
        assert steps == min(observations.remaining[i], observations.valid.shape[1])
        assert observations.true[i, :steps] == pytest.approx(
            recorded[anchor.row : anchor.row + steps], abs=1e-4
        )


def test_same_seed_same_actions_and_inputs_matter(evaluation):
    figures, checkpoint, observations, predicted = evaluation
    again = predict(checkpoint, observations, seed=0).actions
    np.testing.assert_array_equal(again, predicted)
    count = len(observations.captions)
    order = list(np.roll(np.arange(count), 1))
    shuffled = predict(checkpoint, observations, seed=0, images_from=order).actions
    assert np.abs(shuffled - predicted).max() > 0
    unchanged = predict(checkpoint, observations, seed=0, images_from=list(range(count))).actions
    np.testing.assert_array_equal(unchanged, predicted)
    assert all(value > 0 for value in figures["sensitivity"].values())


def test_results_survive_saving(evaluation, tmp_path):
    figures, checkpoint, observations, predicted = evaluation
    keyframes = observations
    clips = choose_clips(imagine(checkpoint, keyframes, fps=10))
    assert clips.imagined.shape == clips.real.shape
    # The first frame is the keyframe itself, and the codec is lossless.
    assert np.abs(clips.imagined[:, :, 0].astype(int) - clips.real[:, :, 0]).max() <= 1
    examples = choose_examples(observations, predicted)
    save_open_loop(tmp_path / "open_loop", figures, examples, clips)
    loaded_figures, loaded_examples, loaded_clips = load_open_loop(tmp_path / "open_loop")
    assert loaded_figures["actions"]["policy"] == pytest.approx(figures["actions"]["policy"])
    np.testing.assert_array_equal(loaded_clips.imagined, clips.imagined)
    np.testing.assert_array_equal(loaded_examples[0].predicted, examples[0].predicted)
    assert loaded_clips.captions == clips.captions


def test_episode_views_show_events_and_keyframes(tiny_dataset, tiny_view):
    views = load_episode_views(tiny_dataset, tiny_view / "events.parquet")
    assert len(views) == 3
    for view in views:
        events = view.level("action")
        assert view.keyframes.shape == (len(events), 32, 64, 3)
        assert events[0]["start"] == 0
        assert events[-1]["end"] == len(view.states)
        assert view.joints[0] == "shoulder pan"


def test_episodes_with_most_actions_are_chosen():
    counts = {4: 2, 5: 1, 6: 3, 7: 2}
    events = [{"level": "action", "episode_index": e} for e, n in counts.items() for _ in range(n)]
    events += [{"level": "segment", "episode_index": 5}] * 9
    assert choose_episodes(events) == [4, 6, 7]


def test_progress_log_errors_name_file_and_line(tmp_path):
    path = tmp_path / "progress.jsonl"
    with pytest.raises(ValueError, match="progress.jsonl: file is missing"):
        read_progress_log(path)
    path.write_text('{"seed": 2, "success": false, "task_progress": 10}\n{"seed": 1, "succ\n')
    with pytest.raises(ValueError, match="line 2"):
        read_progress_log(path)
    path.write_text(
        '{"seed": 2, "success": 0, "task_progress": 10}\n{"seed": 1, "success": 1, "task_progress": 100}\n'
    )
    assert [row["seed"] for row in read_progress_log(path)] == [1, 2]


def column(*values):
    return np.array(values, dtype=float)[:, None]


def ramp(caption, start, steps, template="t"):
    """State runs from ``start`` in steps of one; the action is one ahead."""
    state = column(*(start + i for i in range(steps)))
    return EventRows(caption, template, state, state + 1)


def observations(true, valid, state, anchors):
    captions = ["lift"] * len(true)
    return Observations(anchors, [], captions, true, valid, state, np.ones(len(true)))


def test_action_errors_by_hand():
    events = [ramp("lift", 0, 3)]
    true = np.array([[[1.0], [2.0], [3.0], [99.0]]])
    valid = np.array([[True, True, True, False]])
    seen = observations(true, valid, np.array([[0.0]]), [Anchor(0, 0, 0)])
    # A training event that started at 4: as displacement it is exact.
    baseline = CaptionMean([ramp("lift", 4, 3)])
    predicted = true + np.array([0.5, -0.5, 0.5, 1000.0])[None, :, None]
    result = action_errors(predicted, seen, events, baseline)
    assert result["policy"] == pytest.approx(0.5)  # the step beyond the end does not count
    assert result["hold"] == pytest.approx(2.0)  # |1| + |2| + |3| over 3
    assert result["caption_mean"] == pytest.approx(0.0)
    assert result["below_hold"] == pytest.approx(0.75)
    assert result["below_caption_mean"] == -1  # a perfect baseline cannot be undercut
    assert result["at_keyframes"]["observations"] == 1


def test_shuffles_leave_nothing_in_place():
    rng = np.random.default_rng(0)
    for count in (2, 3, 17):
        order = derangement(count, rng)
        assert sorted(order) == list(range(count))
        assert all(i != j for i, j in enumerate(order))
