# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Each cleaning rule: what it must find, where, and what it must let pass."""

import json
from dataclasses import asdict, replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, strategies as st
from synthetic import pick_and_place
from tables import read_cleaning

from lerobot_wallwm.processors.clean.cleaner import RULES, EpisodeCleaner, Verdict, write_cleaning
from lerobot_wallwm.processors.clean.norms import Digest
from lerobot_wallwm.processors.clean.rules import CleanConfig, Finding, Recording

COLUMN = {"state": "observation.state", "action": "action"}
keys = st.sampled_from(sorted(COLUMN))


@lru_cache
def recording(seed: int = 0, **options) -> Recording:
    """A sound episode with a clock. The first frame is the same in all: the arm is reset between episodes."""
    episode, _ = pick_and_place(seed, index=seed, **options)
    shift = episode.state[0] - pick_and_place(0, **options)[0].state[0]
    clock = np.arange(len(episode)) / episode.fps
    fields = {k: getattr(episode, k) for k in ("index", "task", "fps", "state_names", "action_names")}
    return Recording(
        **fields,
        state=episode.state - shift,
        action=episode.action - shift if len(shift) == episode.action.shape[1] else episode.action,
        timestamp=clock.astype(np.float32).astype(np.float64),
        frame_index=np.arange(len(episode)),
    )


def changed(episode: Recording, key: str, change) -> Recording:
    values = getattr(episode, key).copy()
    result = change(values)
    return replace(episode, **{key: values if result is None else result})


def found(verdict: Verdict) -> dict[str, Finding]:
    return {finding.rule: finding for finding in verdict.findings if finding.verdict != "ok"}


def poke(frame, dim, value):
    def change(values):
        values[frame, dim] = value

    return change


@pytest.mark.parametrize("style", ["smooth", "linear"])
@pytest.mark.parametrize("space", ["joint", "delta"])
@pytest.mark.parametrize("fps", [10, 20, 50])
def test_sound_episodes_pass_all_rules(style, space, fps):
    noise = 0.3 if space == "joint" else 0.02
    episodes = [recording(seed, fps=fps, style=style, space=space, noise=noise) for seed in range(10)]
    cleaner = EpisodeCleaner().fit(episodes)
    for episode in episodes:
        verdict = cleaner(episode)
        assert found(verdict) == {}
        # Nothing passes for want of being asked.
        assert {f.rule for f in verdict.findings} == set(RULES[5:]) - {"robot_limits"}


@given(st.integers(0, 40), st.integers(0, 5), st.sampled_from([np.nan, np.inf, -np.inf]), keys)
def test_not_a_number_is_found_where_it_is(frame, dim, value, key):
    bad = changed(recording(), key, poke(frame, dim, value))
    finding = found(EpisodeCleaner()(bad))["finite"]
    assert finding.verdict == "exclude" and finding.value == 1
    assert f"{COLUMN[key]}[{dim}] is {value}" in finding.evidence
    assert f"frame {frame} " in finding.evidence


@given(st.integers(5, 60), st.integers(1, 4))
def test_a_clock_that_stands_or_runs_back_is_found(frame, back):
    clock = changed(recording(), "timestamp", lambda t: np.insert(t, frame, t[frame - back])[: len(t)])
    finding = found(EpisodeCleaner()(clock))["timestamps"]
    assert finding.verdict == "exclude" and f"at frame {frame} " in finding.evidence
    assert ("repeated" if back == 1 else "follows") in finding.evidence


def test_other_faults_of_the_clock():
    episode = recording()
    double = changed(episode, "timestamp", lambda t: t * 2)
    assert found(EpisodeCleaner()(double))["frame_rate"].evidence.startswith("records come at 10.00 Hz")
    late = changed(episode, "timestamp", lambda t: t + 0.2 * (np.arange(len(t)) > 30))
    assert set(found(EpisodeCleaner()(late))) == {"gaps"}
    assert "0.250 s without a record after frame 30" in found(EpisodeCleaner()(late))["gaps"].evidence
    twice = changed(episode, "frame_index", lambda f: np.insert(f, 9, 8)[: len(f)])
    assert "frame_index 8 is repeated at frame 9" in found(EpisodeCleaner()(twice))["timestamps"].evidence


def test_lengths_that_differ_and_episodes_of_one_frame():
    episode = recording()
    unlike = replace(episode, action=np.zeros((99, 6)))
    assert "action 99" in found(EpisodeCleaner()(unlike))["lengths"].evidence
    one = Recording(0, "task", 20.0, episode.state[:1], episode.action[:1])
    assert set(found(EpisodeCleaner()(one))) == {"too_short"}
    eight = replace(one, state=episode.state[:8], action=episode.action[:8])
    assert found(EpisodeCleaner(min_frames=9)(eight))
    none = Recording(0, "task", 20.0, np.zeros((0, 6)), np.zeros((0, 6)))
    assert set(found(EpisodeCleaner()(none))) == {"too_short"}


def test_constant_state_and_frozen_gripper():
    episode = recording()
    still = changed(episode, "state", lambda s: np.full_like(s, 3.0))
    assert "constant" in found(EpisodeCleaner()(still))["constant_state"].evidence
    stuck = changed(episode, "state", lambda s: np.column_stack([s[:, :5], np.full(len(s), 41.0)]))
    assert set(found(EpisodeCleaner()(stuck))) == {"gripper_frozen"}
    # A task without a gripper does not command one.
    unused = changed(stuck, "action", lambda a: np.column_stack([a[:, :5], np.full(len(a), 41.0)]))
    assert found(EpisodeCleaner()(unused)) == {}


def test_a_gripper_that_leaps_to_and_fro():
    def noisy(values):
        values[20:60:2, 5] = 60.0
        values[21:60:2, 5] = 5.0

    assert "gripper_chatter" in found(EpisodeCleaner()(changed(recording(), "state", noisy)))

    def binary(values):
        values[:, 5] = 60.0 * (values[:, 5] > 30)

    assert found(EpisodeCleaner()(changed(recording(), "state", binary))) == {}

    def still(values):
        values[:, 5] = 2.0 + 0.1 * (np.arange(len(values)) % 2)  # an encoder's last bit

    assert found(EpisodeCleaner()(changed(recording(), "state", still))) == {}


@given(st.integers(0, 9), st.integers(10, 60), st.integers(0, 4), st.booleans(), keys)
def test_a_leap_of_a_joint_is_found_and_only_there(which, frame, dim, stays, key):
    episodes = [recording(seed) for seed in range(10)]
    size = np.ptp([e.state[:, dim] for e in episodes][which])
    size = max(size, *(np.ptp(e.state[:, dim]) for e in episodes))

    def leap(values):
        values[frame : None if stays else frame + 1, dim] += 0.8 * size

    episodes[which] = changed(episodes[which], key, leap)
    cleaner = EpisodeCleaner(CleanConfig(skip=["quasi_static"])).fit(episodes)
    for k, episode in enumerate(episodes):
        leaps = found(cleaner(episode)).get("discontinuity")
        assert (leaps is not None) == (k == which)
        if leaps is not None:
            assert leaps.verdict == "exclude" and f"{COLUMN[key]}[{dim}] leaps" in leaps.evidence
            assert any(f"at frame {f}," in leaps.evidence for f in (frame, frame + 1))


def test_a_start_elsewhere_is_a_failed_reset_and_only_where_starts_agree():
    episodes = [recording(seed) for seed in range(12)]
    away = np.array([60.0, 0, 0, 0, 0, 0])
    odd = replace(episodes[3], state=episodes[3].state + away, action=episodes[3].action + away)
    cleaner = EpisodeCleaner().fit([*episodes[:3], odd, *episodes[4:]])
    flag = found(cleaner(odd))["failed_reset"]
    assert flag.verdict == "flag" and "observation.state[0] starts" in flag.evidence
    assert "failed_reset" not in found(cleaner(episodes[0]))
    # Starts spread out on purpose have no odd one.
    spread = [pick_and_place(seed, index=seed)[0] for seed in range(12)]
    spread = [Recording(**{k: getattr(e, k) for k in vars(e)}) for e in spread]
    cleaner = EpisodeCleaner().fit(spread)
    assert not any("failed_reset" in found(cleaner(e)) for e in spread)
    # Too few to tell.
    few = EpisodeCleaner().fit([*episodes[:3], odd])
    assert "failed_reset" not in {f.rule for f in few(odd).findings}


def test_an_episode_cut_off_in_motion():
    episodes = [recording(seed, pause_s=0.4) for seed in range(10)]
    whole = episodes[4]

    def part(start, end, episode=whole):
        names = ("state", "action", "timestamp", "frame_index")
        return replace(episode, **{k: getattr(episode, k)[start:end] for k in names})

    speed = np.linalg.norm(np.diff(whole.state[:, :5], axis=0), axis=1)
    fast = int(speed[:40].argmax())
    cleaner = EpisodeCleaner().fit(episodes)
    assert "truncated_start" in found(cleaner(part(fast, None)))
    assert "truncated_goal" in found(cleaner(part(0, fast + 2)))
    assert not {"truncated_start", "truncated_goal"} & set(found(cleaner(whole)))
    # Where every episode is cut in motion, that is how they are meant.
    cut = [part(0, fast, episode) for episode in episodes if len(episode) >= fast]
    assert not any("truncated_goal" in found(EpisodeCleaner().fit([whole] * 9 + [e])(whole)) for e in cut)


def test_workspace_of_the_others_and_of_the_robot():
    episodes = [recording(seed) for seed in range(10)]
    far = changed(episodes[2], "state", lambda s: s + np.linspace(0, 900, len(s))[:, None] * np.eye(6)[1])
    flags = found(EpisodeCleaner().fit(episodes)(far))
    assert flags["workspace"].verdict == "flag" and "observation.state[1]" in flags["workspace"].evidence
    low, high = [-500.0] * 6, [500.0] * 6
    cleaner = EpisodeCleaner(CleanConfig(workspace_low=low, workspace_high=high)).fit(episodes)
    assert found(cleaner(far))["robot_limits"].verdict == "exclude"
    assert found(cleaner(episodes[2])) == {}
    with pytest.raises(ValueError, match="workspace_low has 2 numbers, but the state has 6"):
        EpisodeCleaner(CleanConfig(workspace_low=[0.0, 0.0])).fit(episodes)(far)


def test_a_recording_that_rests_is_flagged():
    episode = recording()
    state, action = (
        np.vstack([values, np.repeat(values[-1:], 20 * len(values), axis=0)])
        for values in (episode.state, episode.action)
    )
    resting = replace(episode, state=state, action=action, timestamp=None, frame_index=None)
    assert "quasi_static" in found(EpisodeCleaner()(resting))


def test_skip_and_exclude():
    bad = changed(recording(), "timestamp", lambda t: t + 0.2 * (np.arange(len(t)) > 30))
    assert EpisodeCleaner()(bad).verdict == "flag"
    assert EpisodeCleaner(CleanConfig(exclude=["gaps"]))(bad).verdict == "exclude"
    assert EpisodeCleaner(CleanConfig(skip=["gaps"]))(bad).verdict == "ok"
    with pytest.raises(ValueError, match=r"--clean.skip: there is no rule 'gap'"):
        EpisodeCleaner(CleanConfig(skip=["gap"]))


def test_rules_that_compare_leave_out_who_stands_out():
    episodes = [recording(seed) for seed in range(9)]
    episodes[4] = changed(episodes[4], "state", poke(7, 2, np.nan))
    episodes[5] = changed(episodes[5], "state", poke(30, 1, 500.0))
    cleaner = EpisodeCleaner().fit(episodes)
    assert [e.index for e in episodes if cleaner(e).verdict != "exclude"] == [0, 1, 2, 3, 6, 7, 8]


def test_the_report_file_gives_back_what_was_written(tmp_path):
    cleaner = EpisodeCleaner().fit([recording(seed) for seed in range(8)])
    verdicts = [cleaner(recording(seed)) for seed in range(3)]
    verdicts.append(cleaner(changed(recording(3), "state", poke(1, 1, np.nan))))
    write_cleaning(verdicts, tmp_path / "cleaning.parquet")
    assert read_cleaning(tmp_path / "cleaning.parquet") == verdicts


@given(st.integers(0, 20), st.sampled_from([10, 20, 50]))
def test_a_digest_survives_json(seed, fps):
    digest = Digest.of(recording(seed, fps=fps, space="delta"))
    again = Digest(**json.loads(json.dumps(asdict(digest))))
    np.testing.assert_equal(asdict(again), asdict(digest))
