# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""From measurements to the verdict: named rules, each of which says yes, care or no, and why.

A rule returns its level and a sentence for a person, a sentence alone for care, or None where nothing was measured that
it could judge. The thresholds are in `thresholds`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite, isnan

from lerobot_wallwm.check import thresholds as t
from lerobot_wallwm.check.measure.errors import HOLD, MEAN, NEAR, REACHES
from lerobot_wallwm.check.measure.latency import WITHOUT_LOOK, control_rate
from lerobot_wallwm.check.measure.measure import Measured
from lerobot_wallwm.check.measure.sight import CAPTION, IMAGES, NOISE, OTHER_SCENE, OWN

LEVELS = ("yes", "care", "no")
Answer = tuple[str, str] | str | None  # level and sentence; a sentence alone asks for care


@dataclass(frozen=True)
class RuleFinding:
    """What one rule says: its name, one of `LEVELS`, and a sentence for a person."""

    rule: str
    level: str
    text: str


@dataclass(frozen=True)
class Judgement:
    """The worst level, its reasons, and everything that the rules said."""

    level: str
    reasons: list[str]
    findings: list[RuleFinding]

    @property
    def switch_on(self) -> bool:
        """Whether the arm may be switched on at all."""
        return self.level != "no"

    @property
    def answer(self) -> str:
        """In words."""
        return {"yes": "yes", "care": "yes, with care", "no": "no"}[self.level]


def finite(m: Measured) -> Answer:
    """Weights and outputs are numbers."""
    if m.bad_weights:
        some = ", ".join(m.bad_weights[:3]) + (" ..." if len(m.bad_weights) > 3 else "")
        count = len(m.bad_weights)
        return "no", f"{count} of its weights are not finite numbers ({some}): the checkpoint is broken"
    if m.bad_outputs:
        return "no", f"{_percent(m.bad_outputs)} of the predicted actions are not finite numbers"
    return "yes", "all weights and predicted actions are finite numbers"


def trained_to_act(m: Measured) -> Answer:
    """Its stage trains actions, and the policy itself would act."""
    if m.refuses:
        return "no", m.refuses
    if m.acts:
        return None
    return "no", f"it was trained with --policy.stage={m.stage}, which learns video but no actions"


def beats_holding(m: Measured) -> Answer:
    """Its errors are below those of an arm that stays where it is."""
    if m.open_loop is None:
        return None
    found = []
    for reach in REACHES:
        ratio, interval = m.open_loop.against_hold[reach]
        level = "yes"
        if not isfinite(ratio) or ratio > t.NO_BETTER_THAN_HOLDING or (interval and interval[1] >= 1):
            level = "no"
        elif ratio > t.HARDLY_BETTER_THAN_HOLDING:
            level = "care"
        error, still = m.open_loop.error[reach], m.open_loop.baselines[HOLD][reach]
        where = f"in the next {NEAR} steps" if reach == "near" else f"to the {m.end}"
        high = (
            f", which with more episodes may be {interval[1]:.2f} times"
            if level == "no" and ratio < 1 and interval
            else ""
        )
        found.append((level, f"{error:.1f} against {still:.1f} {where}{high}"))
    return _against_holding("its actions are", found, m)


def _against_holding(what: str, found: list[tuple[str, str]], m: Measured) -> tuple[str, str]:
    """The worst of several levels, with what is at fault and nothing else."""
    level = max((level for level, _ in found), key=LEVELS.index)
    than = {
        "no": "no better than holding the pose",
        "care": "only a little better than holding the pose",
        "yes": "well below the error of holding the pose",
    }[level]
    return level, f"{what} {than}: {' and '.join(text for own, text in found if own == level)} ({m.of_range})"


def grasps_and_releases(m: Measured) -> Answer:
    """Close to grasps and releases, where a task succeeds or fails, it is better than holding."""
    if m.open_loop is None or not m.open_loop.critical:
        return None
    found = []
    for name, near in m.open_loop.critical.items():
        ratio = near["error"] / near["hold"] if near["hold"] > 0 else float("inf")
        level = "no" if not ratio <= t.NO_BETTER_THAN_HOLDING else "yes"
        level = "care" if level == "yes" and ratio > t.HARDLY_BETTER_THAN_HOLDING else level
        found.append((level, f"{near['error']:.1f} against {near['hold']:.1f} around a {name}"))
    return _against_holding("where tasks are decided it is", found, m)


def beats_the_mean(m: Measured) -> Answer:
    """Looking is worth more than the caption alone."""
    if m.open_loop is None or not m.carved:
        return None
    error, mean = m.open_loop.error["event"], m.open_loop.baselines[MEAN]["event"]
    if not error > t.NO_BETTER_THAN_MEAN * mean:
        return None
    lead = "the captions' mean motions, made without looking, come as near"
    return f"{lead}: {error:.1f} against {mean:.1f} to the event's end ({m.of_range})"


def every_joint(m: Measured) -> Answer:
    """No joint that matters would better be held."""
    if m.open_loop is None:
        return None
    hold, error, moving = m.open_loop.hold_by_joint, m.open_loop.by_joint, m.open_loop.moving()
    least = t.JOINT_MATTERS * max(moving.values(), default=0.0)
    worse = [n for n, moved in moving.items() if moved > least and error[n] > t.JOINT_WORSE * hold[n]]
    if not worse:
        return None
    shown = ", ".join(f"{name} {error[name]:.3g} against {hold[name]:.3g}" for name in worse)
    return f"these joints would be nearer if they were held: {shown}"


def sees(m: Measured) -> Answer:
    """Where an event ends, which only pictures tell, follows from them; without such events, what it does follows them."""
    if m.sight is None:
        return _follows(m, IMAGES, "images", t.IGNORES_IMAGES, t.HARDLY_SEES)
    own, other, times = m.sight.mean(OWN), m.sight.mean(OTHER_SCENE), m.sight.times(OTHER_SCENE)
    numbers = f"ended, with another scene's pictures {other:.1f} ({m.of_range})"
    text = f"it ends {own:.1f} from where a recorded {' or '.join(m.sight.counts())} {numbers}"
    if not times >= t.BLIND:
        return "no", f"{text}: it does not look"
    if times < t.HARDLY_LOOKS:
        return "care", f"{text}: it hardly looks"
    return "yes", f"{text}: it looks"


def reads(m: Measured) -> Answer:
    """Other captions change what it does; a policy without language has to tell tasks apart by its pictures."""
    if m.policy != "wallwm" and m.sensitivity is not None and m.sensitivity.change[CAPTION] == 0:
        return f"{m.policy} does not read its task, and these data have {m.tasks}: pictures alone must tell which"
    answer = _follows(m, CAPTION, "captions", t.IGNORES_CAPTION, t.HARDLY_READS)
    if answer is not None and answer[0] == "no" and not m.carved:
        return answer[1]  # whole tasks: the images may tell them apart
    return answer


def _follows(m: Measured, name: str, what: str, ignored: float, hardly: float) -> tuple[str, str] | None:
    if m.sensitivity is None or isnan(share := m.sensitivity.share(name)):
        return None
    text = f"exchanging its {what} moves the actions by {_percent(share)} of what the recordings differ by"
    if share < ignored:
        return "no", f"it ignores its {what}: {text}"
    if share < hardly:
        return "care", f"it hardly follows its {what}: {text}"
    return "yes", f"it follows its {what}: {text}"


def steady(m: Measured) -> Answer:
    """Chance does not steer."""
    if m.sensitivity is None:
        return None
    noise, images = m.sensitivity.change[NOISE], m.sensitivity.change[IMAGES]
    if not noise > t.NOISE_AGAINST_IMAGES * images:
        return None
    return f"fresh noise moves the actions more than other images do: {noise:.2f}, {images:.2f}"


def inside_range(m: Measured) -> Answer:
    """What it predicts lies in the range that the data have seen."""
    if m.clamped is None or m.clamped <= t.CLAMPED:
        return None
    then = "are clamped" if m.policy == "wallwm" else "nothing clamps them"
    return f"{_percent(m.clamped)} of its actions lie beyond what the training data have seen, and {then}"


def begins_softly(m: Measured) -> Answer:
    """A plan begins near the pose that it starts from."""
    if m.first_step is None or not all(map(isfinite, m.first_step)):
        return None
    predicted, recorded = m.first_step
    if predicted <= t.FIRST_STEP * recorded:
        return None
    return (
        f"a plan's first action lies up to {predicted:.0f} % of a joint's range from the arm's pose, in recordings "
        f"{recorded:.0f} %: expect jerks, and set --robot.max_relative_target"
    )


def quick_enough(m: Measured) -> Answer:
    """The control rate can be held on this machine.

    A yes wants the 99th percentile, a no the median: a machine that is busy with other things is slow now and then.
    """
    if m.latency is None or m.match is None:
        return None
    fps, latency = m.match.control_fps, m.latency
    look, period = latency.looks[latency.imagination], 1000 / fps
    span = max(latency.steps_between_looks, 1) * period
    between = latency.ticks.get(WITHOUT_LOOK)
    holds = control_rate(latency, fps, t.ROOM)
    text = (
        f"a look (pictures in, a plan of actions out) takes {look.median:.0f} ms on this machine (99 of 100 below "
        f"{look.p99:.0f} ms), and {fps:g} Hz leave {period:.0f} ms a tick"
    )
    ours = m.policy == "wallwm"
    quicker = (
        "--policy.imagination=none or fewer --policy.num_inference_steps" if ours else "a smaller policy"
    )
    aside = "--policy.background_inference=true" if ours else "--inference.type=rtc, where the policy can"
    seldom = "--policy.replan_steps" if ours else "--policy.n_action_steps"
    busy = ""
    if m.load is not None and m.load[0] > m.load[1]:
        busy = f". Its load was {m.load[0]:.0f} on {m.load[1]} cores: measure again when it is quiet"
    if holds["sync"]:
        return "yes", f"{text}: it keeps up"
    if look.median > t.LOOK_TOO_LONG * span or (between is not None and between.median > period):
        return (
            "no",
            f"{text}: too slow even in the background, with {span:.0f} ms between looks. Use a faster machine or "
            f"{quicker}{busy}",
        )
    if holds["background"]:
        some = "some" if look.median <= t.ROOM * period else "its"
        return (
            f"{text}: the arm would halt at {some} looks. Let it look in the background "
            f"({aside}), or use a faster machine{busy}"
        )
    return (
        f"{text}: the arm will stop and go, even with looks in the background, {span:.0f} ms apart. Use a faster "
        f"machine, or raise {seldom}{busy}"
    )


def knows_the_end(m: Measured) -> Answer:
    """The end of an event is predicted better than by a guess."""
    if m.remaining is None or not isfinite(m.remaining[0]):
        return None
    error, guess = m.remaining
    if error > t.END_UNKNOWN * guess:
        return (
            f"it does not know when an event ends: off by {error:.1f} frames, a constant guess by {guess:.1f}"
        )
    return "yes", f"it predicts an event's end to {error:.1f} frames"


def same_joints(m: Measured) -> Answer:
    """Joints have the names and the order of training."""
    return None if m.match is None or m.match.names is None else ("no", m.match.names)


def same_units(m: Measured) -> Answer:
    """States and actions lie in the range of training."""
    if m.match is None:
        return None
    both = {"states": m.match.states, "actions": m.match.actions}
    joints = [(what, joint) for what, of in both.items() for joint in of]
    if not any(joint.trained for _, joint in joints):
        return None
    what, worst = max(joints, key=lambda pair: pair[1].outside)
    text = f"{_percent(worst.outside)} of the {what} of {worst.name} lie outside of the training data's range"
    if worst.outside > t.OTHER_UNITS:
        return "no", f"{text}: other units, another calibration or another arm"
    if worst.outside > t.OUTSIDE:
        return f"{text}: it has not been where this arm goes"
    return "yes", "states and actions lie in the range of the training data"


def same_clock(m: Measured) -> Answer:
    """The arm, the data and the training run at one rate."""
    if m.match is None or not m.match.trained_fps:
        return None
    trained = m.match.trained_fps
    for where, rate in (("the data", m.match.data_fps), ("the arm (--fps)", m.match.control_fps)):
        off = abs(rate / trained - 1)
        if off > t.RATE_DIFFERS:
            fast = f"motions come out {rate / trained:.2f} times as fast"
            text = f"it was trained at {trained:g} frames a second, and {where} runs at {rate:g}: {fast}"
            return ("no", text) if off > t.RATE_WRONG else text
    return None


def known_captions(m: Measured) -> Answer:
    """The captions are of kinds that training had."""
    if m.match is None or len(m.match.unknown_captions) <= t.UNKNOWN_CAPTIONS * m.match.captions:
        return None
    unknown, all_of_them = m.match.unknown_captions, m.match.captions
    return f"{len(unknown)} of {all_of_them} captions are of no kind that it was trained on, such as {unknown[0]!r}"


def all_cameras(m: Measured) -> Answer:
    """No camera of training is missing."""
    missing = [c.name for c in m.match.cameras if c.trained and not c.here] if m.match else []
    return f"without the camera {', '.join(missing)}, which it was trained with" if missing else None


def moving_joints(m: Measured) -> Answer:
    """Every joint moved in training."""
    if m.match is None or not m.match.still:
        return None
    return f"in its training data these never moved: {', '.join(m.match.still)}"


def imagines(m: Measured) -> Answer:
    """Video that its actions depend on is better than none."""
    if m.psnr is None or m.imagination == "none" or m.psnr[0] >= m.psnr[1]:
        return None
    return (
        f"it acts on imagined video (--policy.imagination={m.imagination}) that is worse than a still picture: "
        f"{m.psnr[0]:.1f} dB, {m.psnr[1]:.1f} dB"
    )


def held_out(m: Measured) -> Answer:
    """The data are not what it was trained on."""
    fix = (
        "Pass heldout"
        if m.carved
        else "Keep some episodes out of training, and pass --dataset.episodes=[...]"
    )
    return (
        f"these data look like what it was trained on: errors flatter it. {fix}" if m.from_training else None
    )


def events_known(m: Measured) -> Answer:
    """The data are cut at their events, unless it was trained on chunks."""
    if m.policy != "wallwm" or m.from_training or m.carved or m.stage == "next_chunk":
        return None
    return (
        "these are whole episodes, whose events are unknown, so that it was told the whole task at once. Cut them with "
        "`wallwm prepare` and check on its heldout view"
    )


def enough_data(m: Measured) -> Answer:
    """The data say something about the next episode; asked only where nothing worse is wrong with them."""
    if m.episodes >= t.FEW_EPISODES or held_out(m) or events_known(m):
        return None
    return f"{m.episodes} held-out episode{'s' * (m.episodes != 1)} say little about the next one"


RULES: dict[str, Callable[[Measured], Answer]] = {
    "numbers": finite,
    "stage": trained_to_act,
    "same joints": same_joints,
    "same units": same_units,
    "same clock": same_clock,
    "better than holding": beats_holding,
    "better than the caption's mean": beats_the_mean,
    "grasps and releases": grasps_and_releases,
    "every joint": every_joint,
    "follows images": sees,
    "follows captions": reads,
    "steady": steady,
    "inside the range": inside_range,
    "begins softly": begins_softly,
    "quick enough": quick_enough,
    "knows the end": knows_the_end,
    "known captions": known_captions,
    "all cameras": all_cameras,
    "moving joints": moving_joints,
    "imagines": imagines,
    "held out": held_out,
    "events known": events_known,
    "enough data": enough_data,
}


def judge(measured: Measured) -> Judgement:
    """Asks every rule; the worst answer is the verdict."""
    answers = {name: rule(measured) for name, rule in RULES.items()}
    findings = [
        RuleFinding(name, *(("care", answer) if isinstance(answer, str) else answer))
        for name, answer in answers.items()
        if answer is not None
    ]
    findings.sort(key=lambda finding: -LEVELS.index(finding.level))
    reasons = [f.text for f in findings if f.level != "yes"] or [f.text for f in findings]
    return Judgement(findings[0].level, reasons, findings)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.095 else f"{100 * share:.1f} %"
