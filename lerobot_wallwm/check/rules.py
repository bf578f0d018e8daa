# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""From measurements to the verdict: named rules, each of which says yes, care or no, and why.

A rule that cannot be asked (nothing was measured) says nothing. The thresholds are in `thresholds`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite, isnan

from lerobot_wallwm.check import thresholds as t
from lerobot_wallwm.check.measure.errors import HOLD, MEAN, NEAR, REACHES
from lerobot_wallwm.check.measure.latency import WITHOUT_LOOK, control_rate
from lerobot_wallwm.check.measure.measured import Measured
from lerobot_wallwm.check.measure.sensitivity import CAPTION, IMAGES, NOISE
from lerobot_wallwm.check.verdict import LEVELS, Finding, Verdict


def finite(m: Measured) -> Finding:
    """Weights and outputs are numbers."""
    name = "numbers"
    if m.bad_weights:
        some = ", ".join(m.bad_weights[:3]) + (" ..." if len(m.bad_weights) > 3 else "")
        return Finding(
            name,
            "no",
            f"{len(m.bad_weights)} of its weights are not finite numbers ({some}): the checkpoint is broken",
        )
    if m.bad_outputs:
        return Finding(
            name, "no", f"{_percent(m.bad_outputs)} of the predicted actions are not finite numbers"
        )
    return Finding(name, "yes", "all weights and predicted actions are finite numbers")


def trained_to_act(m: Measured) -> Finding | None:
    """Its stage trains actions."""
    if m.acts:
        return None
    return Finding(
        "stage", "no", f"it was trained with --policy.stage={m.stage}, which learns video but no actions"
    )


def beats_holding(m: Measured) -> Finding | None:
    """Its errors are below those of an arm that stays where it is."""
    if m.open_loop is None:
        return None
    levels, texts = ["yes"], []
    for reach in REACHES:
        ratio, interval = m.open_loop.against_hold[reach]
        if not isfinite(ratio) or ratio > t.NO_BETTER_THAN_HOLDING or (interval and interval[1] >= 1):
            levels.append("no")
        elif ratio > t.HARDLY_BETTER_THAN_HOLDING:
            levels.append("care")
        error, still = m.open_loop.error[reach], m.open_loop.baselines[HOLD][reach]
        where = f"in the next {NEAR} steps" if reach == "near" else "to the event's end"
        texts.append(f"{error:.2f} against {still:.2f} {where}")
    level = max(levels, key=LEVELS.index)
    lead = {
        "no": "its actions are no better than holding the pose",
        "care": "its actions are only a little better than holding the pose",
        "yes": "its actions are well below the error of holding the pose",
    }[level]
    return Finding("better than holding", level, f"{lead}: {' and '.join(texts)} ({m.unit})")


def beats_the_mean(m: Measured) -> Finding | None:
    """Looking is worth more than the caption alone."""
    if m.open_loop is None or not m.carved:
        return None
    error, mean = m.open_loop.error["event"], m.open_loop.baselines[MEAN]["event"]
    if not error > t.NO_BETTER_THAN_MEAN * mean:
        return None
    return Finding(
        "better than the caption's mean",
        "care",
        f"the captions' mean motions, made without looking, come as near: {error:.2f} against {mean:.2f} to the event's end",
    )


def every_joint(m: Measured) -> Finding | None:
    """No joint that matters would better be held."""
    if m.open_loop is None:
        return None
    hold, error = m.open_loop.hold_by_joint, m.open_loop.by_joint
    least = t.JOINT_MATTERS * max(hold.values(), default=0.0)
    worse = [name for name, still in hold.items() if still > least and error[name] > t.JOINT_WORSE * still]
    if not worse:
        return None
    shown = ", ".join(f"{name} {error[name]:.2f} against {hold[name]:.2f}" for name in worse)
    return Finding("every joint", "care", f"these joints would be nearer if they were held: {shown}")


def sees(m: Measured) -> Finding | None:
    """Other images change what it does."""
    return _follows(m, IMAGES, "images", t.IGNORES_IMAGES, t.HARDLY_SEES)


def reads(m: Measured) -> Finding | None:
    """Other captions change what it does."""
    finding = _follows(m, CAPTION, "captions", t.IGNORES_CAPTION, t.HARDLY_READS)
    if finding is not None and finding.level == "no" and not m.carved:
        return Finding(finding.rule, "care", finding.text)  # whole tasks: the images may tell them apart
    return finding


def _follows(m: Measured, name: str, what: str, ignored: float, hardly: float) -> Finding | None:
    if m.sensitivity is None or isnan(share := m.sensitivity.share(name)):
        return None
    text = f"exchanging its {what} moves the actions by {_percent(share)} of what the recordings differ by"
    if share < ignored:
        return Finding(f"follows {what}", "no", f"it ignores its {what}: {text}")
    if share < hardly:
        return Finding(f"follows {what}", "care", f"it hardly follows its {what}: {text}")
    return Finding(f"follows {what}", "yes", f"it follows its {what}: {text}")


def steady(m: Measured) -> Finding | None:
    """Chance does not steer."""
    if m.sensitivity is None:
        return None
    noise, images = m.sensitivity.change[NOISE], m.sensitivity.change[IMAGES]
    if not noise > t.NOISE_AGAINST_IMAGES * images:
        return None
    return Finding(
        "steady",
        "care",
        f"fresh noise moves the actions more than other images do: {noise:.2f}, {images:.2f}",
    )


def inside_range(m: Measured) -> Finding | None:
    """What it predicts lies in the range that the data have seen."""
    if m.clamped is None or m.clamped <= t.CLAMPED:
        return None
    return Finding(
        "inside the range",
        "care",
        f"{_percent(m.clamped)} of its actions lie beyond what the data have seen and are clamped",
    )


def begins_softly(m: Measured) -> Finding | None:
    """A plan begins near the pose that it starts from."""
    if m.first_step is None or not all(map(isfinite, m.first_step)):
        return None
    predicted, recorded = m.first_step
    if predicted <= t.FIRST_STEP * recorded:
        return None
    return Finding(
        "begins softly",
        "care",
        f"a plan's first action lies up to {predicted:.1f} from the arm's pose, in recordings {recorded:.1f}: expect jerks, "
        "and set --robot.max_relative_target",
    )


def quick_enough(m: Measured) -> Finding | None:
    """The control rate can be held on this machine.

    A yes wants the 99th percentile, a no the median: a machine that is busy with other things is slow now and then.
    """
    if m.latency is None or m.match is None:
        return None
    name, fps, latency = "quick enough", m.match.control_fps, m.latency
    look, period = latency.looks[latency.imagination], 1000 / fps
    span = max(latency.steps_between_looks, 1) * period
    between = latency.ticks.get(WITHOUT_LOOK)
    holds = control_rate(latency, fps, t.ROOM)
    text = (
        f"a look (pictures in, a plan of actions out) takes {look.median:.0f} ms on this machine (99 of 100 below "
        f"{look.p99:.0f} ms), and {fps:g} Hz leave {period:.0f} ms a tick"
    )
    busy = ""
    if m.load is not None and m.load[0] > m.load[1]:
        busy = f". Its load was {m.load[0]:.0f} on {m.load[1]} cores: measure again when it is quiet"
    if holds["sync"]:
        return Finding(name, "yes", f"{text}: it keeps up")
    if look.median > t.LOOK_TOO_LONG * span or (between is not None and between.median > period):
        return Finding(
            name,
            "no",
            f"{text}: too slow even in the background, with {span:.0f} ms between looks. Use a faster machine, "
            f"--policy.imagination=none or fewer --policy.num_inference_steps{busy}",
        )
    if holds["background"]:
        some = "some" if look.median <= t.ROOM * period else "its"
        return Finding(
            name,
            "care",
            f"{text}: the arm would halt at {some} looks. Let it look in the background (--policy.background_inference=true), or use a faster "
            f"machine{busy}",
        )
    return Finding(
        name,
        "care",
        f"{text}: the arm will stop and go, even with looks in the background, {span:.0f} ms apart. Use a faster machine, "
        f"or raise --policy.replan_steps{busy}",
    )


def knows_the_end(m: Measured) -> Finding | None:
    """The end of an event is predicted better than by a guess."""
    if m.remaining is None or not isfinite(m.remaining[0]):
        return None
    error, guess = m.remaining
    if error > t.END_UNKNOWN * guess:
        return Finding(
            "knows the end",
            "care",
            f"it does not know when an event ends: off by {error:.1f} frames, a constant guess by {guess:.1f}",
        )
    return Finding("knows the end", "yes", f"it predicts an event's end to {error:.1f} frames")


def same_joints(m: Measured) -> Finding | None:
    """Joints have the names and the order of training."""
    if m.match is None or m.match.names is None:
        return None
    return Finding("same joints", "no", m.match.names)


def same_units(m: Measured) -> Finding | None:
    """States and actions lie in the range of training."""
    if m.match is None:
        return None
    joints = [(what, j) for what in ("states", "actions") for j in getattr(m.match, what)]
    if not any(j.trained for _, j in joints):
        return None
    what, worst = max(joints, key=lambda pair: pair[1].outside)
    text = f"{_percent(worst.outside)} of the {what} of {worst.name} lie outside of the training data's range"
    if worst.outside > t.OTHER_UNITS:
        return Finding("same units", "no", f"{text}: other units, another calibration or another arm")
    if worst.outside > t.OUTSIDE:
        return Finding("same units", "care", f"{text}: it has not been where this arm goes")
    return Finding("same units", "yes", "states and actions lie in the range of the training data")


def same_clock(m: Measured) -> Finding | None:
    """The arm, the data and the training run at one rate."""
    if m.match is None:
        return None
    rates = {"the data": m.match.data_fps, "the arm (--fps)": m.match.control_fps}
    trained = m.match.trained_fps
    if not trained:
        return None
    for where, rate in rates.items():
        off = abs(rate / trained - 1)
        if off > t.RATE_DIFFERS:
            level = "no" if off > t.RATE_WRONG else "care"
            return Finding(
                "same clock",
                level,
                f"it was trained at {trained:g} frames a second, and {where} runs at {rate:g}: motions come out "
                f"{rate / trained:.2f} times as fast",
            )
    return None


def known_captions(m: Measured) -> Finding | None:
    """The captions are of kinds that training had."""
    if m.match is None or len(m.match.unknown_captions) <= t.UNKNOWN_CAPTIONS * m.match.captions:
        return None
    unknown = m.match.unknown_captions
    return Finding(
        "known captions",
        "care",
        f"{len(unknown)} of {m.match.captions} captions are of no kind that it was trained on, such as {unknown[0]!r}",
    )


def all_cameras(m: Measured) -> Finding | None:
    """No camera of training is missing."""
    missing = [c.name for c in m.match.cameras if c.trained and not c.here] if m.match else []
    if not missing:
        return None
    return Finding(
        "all cameras", "care", f"without the camera {', '.join(missing)}, which it was trained with"
    )


def moving_joints(m: Measured) -> Finding | None:
    """Every joint moved in training."""
    if m.match is None or not m.match.still:
        return None
    return Finding(
        "moving joints", "care", f"in its training data these never moved: {', '.join(m.match.still)}"
    )


def imagines(m: Measured) -> Finding | None:
    """Video that its actions depend on is better than none."""
    if m.psnr is None or m.imagination == "none" or m.psnr[0] >= m.psnr[1]:
        return None
    return Finding(
        "imagines",
        "care",
        f"it acts on imagined video (--policy.imagination={m.imagination}) that is worse than a still picture: "
        f"{m.psnr[0]:.1f} dB, {m.psnr[1]:.1f} dB",
    )


def enough_data(m: Measured) -> Finding | None:
    """The data say something about the next episode."""
    if m.from_training:
        return Finding(
            "held out", "care", "these data look like its own training view: errors flatter it. Pass heldout"
        )
    if not m.carved and m.stage != "next_chunk":
        return Finding(
            "events known",
            "care",
            "these are whole episodes, whose events are unknown, so that it was told the whole task at once. Cut them with "
            "`wallwm prepare` and check on its heldout view",
        )
    if m.episodes < t.FEW_EPISODES:
        return Finding(
            "enough data",
            "care",
            f"{m.episodes} held-out episode{'s' * (m.episodes != 1)} say little about the next one",
        )
    return None


RULES: tuple[Callable[[Measured], Finding | None], ...] = (
    finite,
    trained_to_act,
    same_joints,
    same_units,
    same_clock,
    beats_holding,
    beats_the_mean,
    every_joint,
    sees,
    reads,
    steady,
    inside_range,
    begins_softly,
    quick_enough,
    knows_the_end,
    known_captions,
    all_cameras,
    moving_joints,
    imagines,
    enough_data,
)


def judge(measured: Measured) -> Verdict:
    """Asks every rule; the worst answer is the verdict."""
    findings = [finding for rule in RULES if (finding := rule(measured)) is not None]
    worst = max((finding.level for finding in findings), key=LEVELS.index)
    findings.sort(key=lambda finding: -LEVELS.index(finding.level))
    reasons = [f.text for f in findings if f.level != "yes"] or [f.text for f in findings]
    return Verdict(worst, reasons, findings)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.095 else f"{100 * share:.1f} %"
