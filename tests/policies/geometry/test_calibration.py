# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
import copy
import json
import math

import numpy as np
import pytest
import torch

from lerobot_wallwm.policies.geometry.calibration import Calibration, Camera, load_calibration

WRIST, FRONT = "observation.images.wrist", "observation.images.front"
SHAPES = {WRIST: (3, 48, 64), FRONT: (3, 48, 64)}
STATE = ["pan.pos", "lift.pos", "gripper.pos"]


def shifted(x: float, y: float, z: float) -> list:
    return [[1.0, 0.0, 0.0, x], [0.0, 1.0, 0.0, y], [0.0, 0.0, 1.0, z], [0.0, 0.0, 0.0, 1.0]]


def content() -> dict:
    """A two-joint arm with a camera on its hand and one in front."""
    lens = {"width": 640, "height": 480, "fx": 600.0, "fy": 610.0, "cx": 322.0, "cy": 238.0}
    bent = {**lens, "distortion": [0.05, -0.1, 0.001, 0.0, 0.02]}
    degrees = {"radians_per_unit": math.pi / 180}
    pan = {"name": "pan.pos", "origin": shifted(0, 0, 0.2), "axis": [0, 0, 1], **degrees}
    lift = {"name": "lift.pos", "origin": shifted(0.3, 0, 0), "axis": [0, 1, 0], **degrees}
    return {
        **{"length_unit": "m", "near": 0.05, "far": 1.0},
        "cameras": {
            WRIST: {**lens, "mounted_on": "lift.pos", "pose": shifted(0, 0, 0.1)},
            FRONT: {**bent, "mounted_on": "base", "pose": shifted(0, 0, -0.5)},
        },
        "joints": [pan, {**lift, "radians_at_zero": 0.5}],
    }


@pytest.fixture
def write(tmp_path):
    def write(data) -> str:
        path = tmp_path / "calibration.json"
        path.write_text(data if isinstance(data, str) else json.dumps(data))
        return str(path)

    return write


def test_forward_kinematics_by_hand(write):
    calibration = load_calibration(write(content()), SHAPES, STATE)
    state = torch.tensor([[[90.0, -math.degrees(0.5), 7.0]], [[0.0, 90.0 - math.degrees(0.5), 7.0]]])
    poses = calibration.camera_poses(state, STATE)
    assert poses[WRIST].shape == (2, 1, 4, 4)
    # Pan a quarter turn, lift at zero: the hand lies to the left, its camera 10 cm above it.
    # Pan at zero, lift a quarter turn about y: what was above the hand lies ahead of it.
    expected = torch.tensor([[0, 0.3, 0.3], [0.4, 0, 0.2]]).double()
    torch.testing.assert_close(poses[WRIST][:, 0, :3, 3], expected, atol=1e-7, rtol=0)
    torch.testing.assert_close(poses[FRONT][1, 0], torch.tensor(shifted(0, 0, -0.5)).double())


@pytest.mark.parametrize("distortion", [(0.0,) * 5, (0.1, -0.2, 0.002, -0.001, 0.05)])
def test_patch_cones_enclose_their_patch_tightly(distortion):
    import cv2

    camera = Camera(**{**content()["cameras"][WRIST], "distortion": distortion})
    cones = camera.patch_cones((3, 4))
    assert cones.axis.shape == (12, 3) and torch.allclose(cones.axis.norm(dim=-1), torch.ones(12).double())
    # Where do points on each cone's axis and rim land in the picture?
    matrix = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])

    def pixels(rays):
        place = (np.zeros(3), np.zeros(3), matrix, np.array(distortion))
        return cv2.projectPoints(np.ascontiguousarray(rays), *place)[0][:, 0]

    g = torch.Generator().manual_seed(0)
    for index in range(12):
        row, column = divmod(index, 4)
        axis, half = cones.axis[index], float(cones.half_angle[index])
        centre = pixels(axis[None].numpy())[0]
        np.testing.assert_allclose(centre, [(column + 0.5) * 160 - 0.5, (row + 0.5) * 160 - 0.5], atol=0.2)
        side = torch.randn(400, 3, generator=g, dtype=torch.float64)
        side = torch.nn.functional.normalize(side - (side @ axis)[:, None] * axis, dim=-1)
        rim = pixels((math.cos(half) * axis + math.sin(half) * side).numpy())
        reach = np.abs(rim - centre).max(0)
        assert (reach >= 80).all() and (np.linalg.norm(rim - centre, axis=1) < 1.35 * 80 * math.sqrt(2)).all()


def broken(**changes) -> dict:
    """The content with changes, dots going into dictionaries and numbers into lists."""
    data = copy.deepcopy(content())
    for path, value in changes.items():
        at, keys = data, path.split("/")
        for key in keys[:-1]:
            at = at[int(key)] if isinstance(at, list) else at[key]
        if value is None:
            del at[keys[-1]]
        else:
            at[int(keys[-1]) if isinstance(at, list) else keys[-1]] = value
    return data


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({f"cameras/{WRIST}/fx": 0.0}, ["fx", "singular"]),
        ({f"cameras/{WRIST}/fy": -3.0}, ["fy", "singular"]),
        ({f"cameras/{WRIST}/cx": 900.0}, ["principal point", "width"]),
        ({f"cameras/{WRIST}/fx": float("nan")}, ["fx", "finite"]),
        ({f"cameras/{WRIST}/pose": shifted(0, 0, 100.0)}, ["pose", "millimetres"]),
        ({f"cameras/{WRIST}/pose": (2 * np.eye(4)).tolist()}, ["pose"]),
        ({f"cameras/{WRIST}/pose": np.diag([1.0, 1.0, -1.0, 1.0]).tolist()}, ["pose", "determinant"]),
        ({f"cameras/{WRIST}/mounted_on": "elbow.pos"}, ["mounted_on", "elbow.pos", "lift.pos"]),
        ({f"cameras/{WRIST}/focal": 3.0}, ["focal"]),
        ({f"cameras/{WRIST}/width": 480}, ["480 x 480", "64 x 48"]),
        ({f"cameras/{FRONT}/distortion": [-3.0, 0, 0, 0, 0]}, ["distortion", FRONT]),
        ({f"cameras/{FRONT}": None}, [FRONT, "no entry"]),
        ({"length_unit": "mm"}, ["length_unit", "m"]),
        ({"near": 2.0}, ["near", "far"]),
        ({"joints/0/axis": [0, 0, 2]}, ["axis", "unit"]),
        ({"joints/1/name": "pan.pos"}, ["joints"]),
        ({"joints/0/radians_per_unit": 0.0}, ["radians_per_unit"]),
        ({"cameras": None}, ["cameras"]),
    ],
)
def test_a_bad_file_says_which_key_and_why(write, changes, says):
    path = write(broken(**changes))
    with pytest.raises(ValueError) as error:
        load_calibration(path, SHAPES, STATE)
    for word in ("calibration.json", *says):
        assert word in str(error.value), str(error.value)


def test_a_file_for_another_arm_or_no_file(write, tmp_path):
    with pytest.raises(ValueError, match="lift.pos.*observation.state"):
        load_calibration(write(content()), SHAPES, ["pan.pos", "gripper.pos"])
    with pytest.raises(ValueError, match="is not JSON"):
        load_calibration(write("{"), SHAPES, STATE)
    with pytest.raises(ValueError, match="nowhere.json"):
        load_calibration(tmp_path / "nowhere.json", SHAPES, STATE)


def test_reads_what_it_documents(write):
    again = Calibration.model_validate(json.loads(json.dumps(content())))
    assert again == load_calibration(write(content()), SHAPES, STATE)
    assert again.joints[1].radians_at_zero == 0.5 and again.cameras[WRIST].distortion == (0.0,) * 5


def test_cones_of_a_padded_picture_are_those_of_its_patches():
    lens = {"width": 64, "height": 32, "fx": 60.0, "fy": 60.0, "cx": 31.5, "cy": 15.5}
    camera = Camera(**lens, mounted_on="base", pose=shifted(0, 0, 0))
    padded = camera.patch_cones((4, 4), covered=(-0.5, 1.5, 0.0, 1.0))  # a square frame, bars above and below
    plain = camera.patch_cones((2, 4))
    for name in ("apex", "axis", "half_angle"):
        torch.testing.assert_close(getattr(padded, name)[4:12], getattr(plain, name))
    assert torch.isfinite(padded.axis).all() and torch.isfinite(padded.half_angle).all()
