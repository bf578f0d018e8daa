# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What a dimension is, read off names and off data whose meaning is known."""

import numpy as np
import pytest
from demonstrations import metadata

from lerobot_wallwm.embodiment.dataset import changed, describe
from lerobot_wallwm.embodiment.description import Embodiment, constant, widest_alike
from lerobot_wallwm.embodiment.recognise import Rows, recognise
from lerobot_wallwm.storage.errors import DataError

ALOHA = [
    f"{side}_{joint}"
    for side in ("left", "right")
    for joint in ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
]
LEKIWI = [f"arm_{j}.pos" for j in ("shoulder_pan", "elbow_flex", "gripper")] + ["x.vel", "y.vel", "theta.vel"]


def smooth(seed: int, frames: int, width: int, size: float = 1.0) -> np.ndarray:
    """Way points joined smoothly, ``(frames, width)``: at rest at both ends."""
    rng = np.random.default_rng(seed)
    at = np.linspace(0, 5, frames)
    points = rng.uniform(-size, size, (7, width))
    k, t = np.minimum(at.astype(int), 4), at - np.minimum(at.astype(int), 4)
    blend = (t**3 * (10 - 15 * t + 6 * t * t))[:, None]
    return points[k] + blend * (points[k + 1] - points[k])


def grip(frames: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Open, closed for a while, open again."""
    unit = np.clip(np.interp(np.arange(frames), [0, 20, 25, 50, 55], [1, 1, 0, 0, 1]), 0, 1)
    return (low + unit * (high - low))[:, None]


def episodes(make, count: int = 4, fps: float = 20.0) -> Rows:
    """Rows of several episodes; ``make(seed)`` gives an episode's ``(action, state)``."""
    pairs = [make(seed) for seed in range(count)]
    number = np.concatenate([np.full(len(a), i) for i, (a, _) in enumerate(pairs)])
    return Rows(np.concatenate([a for a, _ in pairs]), np.concatenate([s for _, s in pairs]), number, fps)


def poses(seed: int, width: int, size: float = 1.0, top: float = 1.0):
    """Commands that are positions, which the state reaches two frames later, and a gripper."""
    path = np.hstack([smooth(seed, 82, width, size), grip(82, high=top)])
    return path[2:], path[:-2]


def steps(seed: int, size: float = 1.0, gain: float = 1.0):
    """Steps of the hand and a gripper to close (-1) or open (1); the state has pose and both fingers."""
    pose = smooth(seed, 81, 6, size)
    action = np.hstack([np.diff(pose, axis=0) * gain, grip(81, -1, 1)[:-1]])
    fingers = grip(81, 0.0, 0.04)[:-1]
    return action, np.hstack([pose[:-1], fingers, -fingers])


def kinds(found: Embodiment) -> list[str]:
    return [dim.kind for dim in found.action]


def test_an_so101_is_read_off_its_names():
    names = ["shoulder_pan.pos", "elbow_flex.pos", "gripper.pos"]
    found = recognise(names, names, (3, 3), None)
    assert kinds(found) == ["position"] * 3 and found.follows.tolist() == [0, 1, 2]
    assert found.grippers == [2] and [dim.unit for dim in found.action] == ["degrees", "degrees", ""]


def test_lekiwi_has_an_arm_and_a_base_that_rests_at_zero():
    rows = episodes(lambda seed: (np.tile(poses(seed, 5, 40.0)[0], 1), poses(seed, 5, 40.0)[1]))
    found = recognise(LEKIWI, LEKIWI, (6, 6), rows)
    assert found.rates.tolist() == [False] * 3 + [True] * 3
    assert [dim.part for dim in found.action] == ["arm"] * 3 + ["base"] * 3
    state = np.arange(6.0)[None]
    assert found.rest(state)[0].tolist() == [0.0, 1.0, 2.0, 0.0, 0.0, 0.0]
    assert "base: angle, degrees, velocity: theta.vel" in found.lines() or any(
        line.startswith("base: angle") for line in found.lines()
    )


@pytest.mark.parametrize("names", [None, ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]])
@pytest.mark.parametrize("gain", [1.0, 12.0])
def test_steps_of_the_hand_are_steps_whatever_their_unit_and_name(names, gain):
    """As LIBERO writes them: the state's x has the action's name and is a position."""
    state_names = None if names is None else [*names[:6], "left_finger", "right_finger"]
    found = recognise(names, state_names, (7, 8), episodes(lambda seed: steps(seed, gain=gain)))
    assert kinds(found) == ["step"] * 6 + ["position"]
    assert found.grippers == [6] and (found.follows[:6] == -1).all() and not found.action_rotations
    if names is None:
        assert found.guessed == tuple("0123456")


def test_names_that_say_step_win_where_nothing_moved():
    names = ["dx", "dy", "dz", "droll", "dpitch", "dyaw", "gripper"]
    still = Rows(np.zeros((10, 7)), np.ones((10, 7)), np.zeros(10), 10.0)
    assert kinds(recognise(names, None, (7, 7), still))[:6] == ["step"] * 6


def test_velocities_are_told_from_steps_by_how_far_the_state_goes():
    def driven(seed):
        pose = smooth(seed, 81, 3)
        return np.diff(pose, axis=0) * 20.0, pose[:-1]

    assert kinds(recognise(None, None, (3, 3), episodes(driven))) == ["velocity"] * 3


@pytest.mark.parametrize("named", [True, False])
def test_two_arms_have_two_grippers_and_say_which_arm(named):
    def two(seed):
        left, right = poses(seed, 6), poses(seed + 100, 6)
        return tuple(np.hstack(pair) for pair in zip(left, right, strict=True))

    names = ALOHA if named else None
    found = recognise(names, names, (14, 14), episodes(two))
    assert found.grippers == [6, 13] == found.state_grippers
    assert [dim.part for dim in found.action] == ["left arm"] * 7 + ["right arm"] * 7
    assert found.follows.tolist() == list(range(14))


@pytest.mark.parametrize("last", ["grasp", "a[3]"])
def test_a_gripper_is_found_behind_steps_that_have_names(last):
    rows = episodes(lambda seed: tuple(values[:, [0, 1, 2, 6]] for values in steps(seed)))
    found = recognise(["dx", "dy", "dz", last], None, (4, 4), rows)
    assert found.grippers == [3] and kinds(found) == ["step"] * 3 + ["position"]


def test_no_gripper_is_invented_where_a_point_is_pushed_about():
    """PushT: x and y in pixels."""

    def push(seed):
        path = 256 + smooth(seed, 81, 2, 200.0)
        return path[1:], path[:-1]

    found = recognise(["motor_0", "motor_1"], ["motor_0", "motor_1"], (2, 2), episodes(push))
    assert found.grippers == [] and kinds(found) == ["position"] * 2 and found.follows.tolist() == [0, 1]


@pytest.mark.parametrize("scale", [1.0, 1000.0])
@pytest.mark.parametrize("top", [1.0, 100.0, 850.0])
def test_units_change_the_units_and_nothing_else(scale, top):
    names = ["tcp_x", "tcp_y", "tcp_z", "gripper"]
    rows = episodes(lambda seed: poses(seed, 3, 0.3, top))
    factor = np.array([scale] * 3 + [1.0])
    found = recognise(
        names, names, (4, 4), Rows(rows.action * factor, rows.state * factor, rows.episode, 20.0)
    )
    assert [dim.unit for dim in found.action][:1] == ["metres" if scale == 1 else "millimetres"]
    assert found.follows.tolist() == [0, 1, 2, 3] and kinds(found) == ["position"] * 4


def test_an_angle_that_jumps_by_a_turn_wraps():
    def turning(seed):
        path = np.hstack([smooth(seed, 81, 1, 400.0), smooth(seed + 9, 81, 1, 50.0)])
        path[:, 0] = (path[:, 0] + 180) % 360 - 180
        return path[1:], path[:-1]

    found = recognise(["theta.pos", "lift.pos"], ["theta.pos", "lift.pos"], (2, 2), episodes(turning))
    assert found.action[0].wraps == (-180.0, 180.0) and found.action[1].wraps is None
    assert found.difference(np.array([[-179.0, 1.0]]), np.array([[179.0, 3.0]])).tolist() == [[2.0, -2.0]]
    assert found.within_turn(np.array([[181.0, 500.0]])).tolist() == [[-179.0, 500.0]]


@pytest.mark.parametrize(
    ("numbers", "form"),
    [
        (["roll", "pitch", "yaw"], "euler_xyz"),
        (["rx", "ry", "rz"], "axis_angle"),
        (["wx", "wy", "wz"], "axis_angle"),
        (["qw", "qx", "qy", "qz"], "quaternion"),
        ([f"rot6d_{i}" for i in range(6)], "6d"),
    ],
)
def test_rotations_are_found_by_their_names_beside_a_position(numbers, form):
    names = [f"ee.{name}" for name in ["x", "y", "z", *numbers]]
    found = recognise(names, names, (len(names), len(names)), None)
    (turn,) = found.action_rotations
    assert turn.form == form and turn.position == (0, 1, 2) and turn.follows == 0
    assert sorted(turn.dims) == list(range(3, len(names)))
    if form == "quaternion":
        assert turn.dims == (4, 5, 6, 3)  # x, y, z, w
    joints = [f"wrist_{name}.pos" for name in numbers]
    if form == "euler_xyz":  # joints have such names, too
        assert not recognise(joints, joints, (3, 3), None).action_rotations


def test_a_description_is_json_and_back_and_refuses_what_no_dataset_is():
    found = recognise(LEKIWI, LEKIWI, (6, 6), None)
    content = found.to_json()
    assert Embodiment.from_json(content) == found
    content["action"][0]["kind"] = "wish"
    with pytest.raises(ValueError, match="wish"):
        Embodiment.from_json(content)


def test_a_flag_corrects_it_and_wrong_words_are_refused():
    names = ["a", "b", "c", "d"]
    found = changed(
        recognise(names, names, (4, 4), None),
        {"a": "step metres", "3": "gripper ticks follows:none", "b c": "left", "state:d": "gripper"},
    )
    assert kinds(found) == ["step", "position", "position", "position"] and found.grippers == [3]
    assert found.follows.tolist() == [-1, 1, 2, -1] and found.state_grippers == [3]
    assert [dim.part for dim in found.action] == ["arm", "left arm", "left arm", "arm"]
    turned = changed(found, {"a b c": "euler_xyz degrees position"})
    assert turned.action_rotations[0].dims == (0, 1, 2)
    for wrong, message in (
        ({"z": "step"}, "no dimension of the action.*choose of a, b, c, d"),
        ({"a": "leap"}, "'leap' is no word"),
        ({"a b": "6d"}, "6d takes 6 numbers"),
    ):
        with pytest.raises(DataError, match=message):
            changed(found, wrong)


def test_an_action_of_two_axes_is_refused_by_name(tmp_path):
    features = {"action": {"shape": [4, 7]}, "observation.state": {"shape": [7]}}
    with pytest.raises(DataError, match=r"features.action.shape: is \[4, 7\]"):
        describe(tmp_path, features, 20.0)


def test_a_quaternion_that_is_none_is_refused_with_the_flag_that_says_so(tmp_path):
    names = ["x", "y", "z", "qx", "qy", "qz", "qw"]
    values = np.tile([0.1, 0.2, 0.3, 3.0, 0.0, 0.0, 4.0], (20, 1)) + smooth(0, 20, 7, 0.1)
    meta = metadata(tmp_path, names, names, [(values, values)])
    with pytest.raises(
        DataError, match=r"qx qy qz qw have the names of a rotation.*\"qx qy qz qw\": \"numbers\""
    ):
        describe(tmp_path, meta.features, 20.0)
    none = {"qx qy qz qw": "numbers", "state:qx qy qz qw": "numbers"}
    assert not describe(tmp_path, meta.features, 20.0, none).action_rotations


def test_sizes_are_compared_within_a_unit_only():
    found = recognise(["x", "pan.pos", "lift.pos", "gripper"], None, (4, 1), None)
    span, size = np.array([0.001, 90.0, 0.0, 0.0]), np.array([1.0, 50.0, 7.0, 40.0])
    assert widest_alike(span, found.action, size).tolist() == [0.001, 90.0, 90.0, 40.0]
    assert constant(np.array([0.0, 5.0, 0.0]), np.array([1e-6, 5.0, 0.0])).tolist() == [False, True, True]


JOINTS = [
    "shoulder_pan.pos",
    "shoulder_lift.pos",
    "elbow_flex.pos",
    "wrist_flex.pos",
    "wrist_roll.pos",
    "gripper.pos",
]


def held(seed: int, gap: float = 15.0):
    """Joints in degrees and a gripper in percent whose finger stops where it meets something; ``(action, state)``."""
    action, state = (values.copy() for values in poses(seed, 5, 60.0, 100.0))
    state[:, 5] = np.maximum(state[:, 5], gap)
    return action, state


@pytest.mark.parametrize("names", [JOINTS, None, [*(f"joint{i}" for i in range(5)), "gripper"]])
@pytest.mark.parametrize("inverted", [False, True])
def test_the_closed_end_is_where_fingers_stay_short_of_their_goal(names, inverted):
    def arm(seed):
        pair = held(seed)
        for values in pair if inverted else ():
            values[:, 5] = 100 - values[:, 5]
        return pair

    found = recognise(names, names, (6, 6), episodes(arm))
    assert found.action[5].opens == ("low" if inverted else "high") and found.fingers(5) == [5]


def test_a_command_that_closes_with_its_greater_number_is_told_by_the_fingers():
    def libero(seed):
        action, state = steps(seed)
        action[:, 6] *= -1
        return action, state

    found = recognise(None, None, (7, 8), episodes(libero))
    assert found.action[6].opens == "low"
    assert recognise(["a", "b", "c", "gripper_closed"], None, (4, 1), None).action[3].opens == ""


def test_a_state_in_another_unit_is_not_followed():
    """Or an arm would be sent its radians as degrees."""
    rows = episodes(lambda seed: (held(seed)[0], held(seed)[1] * ([np.pi / 180] * 5 + [0.01])))
    found = recognise(JOINTS, JOINTS, (6, 6), rows)
    assert found.follows.tolist() == [-1] * 6
    assert [dim.unit for dim in found.state] == ["radians"] * 5 + ["unit"]


def rates(seed: int):
    """Every joint by how much it is to move, the gripper, too."""
    action, state = held(seed)
    return np.diff(action, axis=0, prepend=action[:1]), state


@pytest.mark.parametrize(
    ("names", "gain", "kind"),
    [
        (None, 1.0, "step"),
        ([n.replace(".pos", ".vel") for n in JOINTS], 20.0, "velocity"),
        (JOINTS, 20.0, "velocity"),
    ],
)
def test_a_gripper_may_be_told_by_how_much_it_is_to_move(names, gain, kind):
    rows = episodes(lambda seed: (rates(seed)[0] * gain, rates(seed)[1]))
    found = recognise(names, names and JOINTS, (6, 6), rows)
    assert found.grippers == [5] and kinds(found) == [kind] * 6 and found.action[5].opens == "high"


BASES = [["base_x", "base_y", "base_theta"], ["linear_x", "linear_y", "angular_z"], ["vx", "vy", "omega"]]


@pytest.mark.parametrize("base", BASES)
def test_a_base_by_any_name_rests_at_zero(base):
    def driving(seed):
        action, state = held(seed)
        twist = np.zeros((80, 3))
        twist[10:40, 0], twist[50:70, 2] = 0.2, 30.0
        return np.hstack([action, twist]), np.hstack([state, twist])

    names = [*JOINTS, *base]
    found = recognise(names, names, (9, 9), episodes(driving))
    assert kinds(found) == ["position"] * 6 + ["velocity"] * 3
    assert [dim.part for dim in found.action[6:]] == ["base"] * 3
    assert found.rest(np.ones((1, 9)))[0, 6:].tolist() == [0.0] * 3
    assert [dim.quantity for dim in found.action[6:]] == ["length", "length", "angle"]


def test_a_place_to_drive_to_is_a_position_and_an_arm_may_stand_on_a_joint_called_base():
    def driven(seed):
        path = np.hstack([smooth(seed, 82, 2, 3.0) + 5.0, poses(seed, 1, 40.0)[0][[0, 0, *range(80)], :1]])
        return path[2:], path[:-2]

    names = ["base_x", "base_y", "base.pos"]
    found = recognise(names, names, (3, 3), episodes(driven))
    assert kinds(found) == ["position"] * 3
    assert [dim.part for dim in found.action] == ["base", "base", "arm"]


def test_a_joint_that_hardly_moves_has_its_arms_unit():
    still = np.array([1, 1, 1, np.pi / 180, 0.002, 1])
    rows = episodes(lambda seed: tuple(values * still for values in held(seed)))
    found = recognise(JOINTS, JOINTS, (6, 6), rows)
    assert [dim.unit for dim in found.action[:5]] == ["degrees"] * 3 + ["radians", "degrees"]


def test_steps_have_the_unit_of_what_they_move():
    rows = episodes(
        lambda seed: tuple(
            v * ([1000.0] * 3 + [57.3] * 3 + [1.0]) for v in (steps(seed)[0], steps(seed)[1][:, :7])
        )
    )
    names = ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]
    found = recognise([f"delta_{n}" for n in names[:6]] + ["gripper"], names, (7, 7), rows)
    assert [dim.unit for dim in found.action[:6]] == ["millimetres"] * 3 + ["degrees"] * 3


def quaternion_steps(seed: int):
    turn = np.hstack([smooth(seed, 81, 3, 0.01), np.zeros((81, 1))])
    turn[:, 3] = np.sqrt(1 - (turn**2).sum(1))
    pose = smooth(seed, 82, 3, 0.2)
    state = np.hstack([pose[:-1], np.cumsum(turn, 0)])
    return np.hstack([np.diff(pose, axis=0), turn]), state


def test_steps_written_as_a_quaternion_are_refused_and_a_nameless_w_never_rests_at_zero(tmp_path):
    names = ["x", "y", "z", "qx", "qy", "qz", "qw"]
    delta = [f"delta_{name}" for name in names]
    meta = metadata(tmp_path, delta, None, [quaternion_steps(0), quaternion_steps(1)])
    with pytest.raises(
        DataError, match=r"delta_qw are steps written as a rotation \(quaternion\).*three numbers"
    ):
        describe(tmp_path, meta.features, 20.0)
    found = recognise(None, None, (7, 7), episodes(quaternion_steps))
    assert kinds(found)[:3] == ["step"] * 3 and kinds(found)[6] == "position"
