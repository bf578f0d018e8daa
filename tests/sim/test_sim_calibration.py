# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The example calibration agrees with MuJoCo's own cameras and with where things appear in the pictures."""

import json

import numpy as np
import torch

from lerobot_wallwm.policies.geometry.calibration import SightConeMasks, load_calibration

WRIST, OVERHEAD = "observation.images.wrist", "observation.images.overhead"
SHAPES = {OVERHEAD: (3, 96, 96), WRIST: (3, 96, 96)}


def load(env, tmp_path):
    from lerobot_env_so101_sim.calibration import calibration
    from lerobot_env_so101_sim.env import MOTORS

    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(calibration(env)))
    names = [f"{motor}.pos" for motor in MOTORS]
    return load_calibration(path, SHAPES, names), names


def test_camera_poses_are_mujocos(blind_env, tmp_path):
    import mujoco

    calibration, names = load(blind_env, tmp_path)
    model = blind_env.simulation.model
    wrist = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, "wrist_cam")
    rng = np.random.default_rng(0)
    data = mujoco.MjData(model)
    for _ in range(10):
        state = rng.uniform(-60, 60, 6)
        data.qpos[:6] = blind_env.to_joints(state)
        mujoco.mj_kinematics(model, data)
        mujoco.mj_camlight(model, data)
        pose = calibration.camera_poses(torch.from_numpy(state), names)[WRIST].numpy()
        np.testing.assert_allclose(pose[:3, 3], data.cam_xpos[wrist], atol=1e-6)
        np.testing.assert_allclose(
            pose[:3, :3] @ np.diag([1, -1, -1]), data.cam_xmat[wrist].reshape(3, 3), atol=1e-6
        )


def test_the_cube_is_where_the_calibration_projects_it(make_env, tmp_path):
    env = make_env(split="all")
    calibration, names = load(env, tmp_path)
    seen = 0
    for seed in range(8):
        observation, _ = env.reset(seed=seed)
        if env.cube_colour != "red":
            continue
        seen += 1
        cube = np.append(env.simulation._get_object_pose()[:3], 1.0)
        pose = calibration.camera_poses(torch.from_numpy(observation["agent_pos"]), names)[OVERHEAD].numpy()
        x, y, z, _ = np.linalg.inv(pose) @ cube
        camera = calibration.cameras[OVERHEAD]
        expected = np.array([camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy])
        picture = observation["pixels"]["overhead"].astype(int)
        red = (picture[..., 0] > 120) & (picture[..., 1] < 70) & (picture[..., 2] < 70)
        rows, columns = np.nonzero(red)
        found = np.array([columns.mean(), rows.mean()])
        assert np.abs(found - expected).max() < 2.5, (seed, found, expected)
    assert seen


def test_masks_link_what_both_cameras_see(blind_env, tmp_path):
    """Two patches that show the same point of the table are linked; most others are not."""
    calibration, names = load(blind_env, tmp_path)
    masks = SightConeMasks(calibration, list(SHAPES), (6, 6), names)
    state = torch.tensor([[[0.0, -10.0, 20.0, 70.0, -90.0, 30.0]]])
    mask = masks(state)
    assert mask.shape == (1, 1, 72, 72) and torch.equal(mask, mask.transpose(-2, -1))
    across = mask[0, 0, :36, 36:]
    assert 0 < across.float().mean() < 0.6
    poses = calibration.camera_poses(state[0, 0], names)
    rng, linked = np.random.default_rng(0), 0
    for _ in range(500):
        point = np.array([rng.uniform(0.1, 0.35), rng.uniform(-0.2, 0.2), rng.uniform(0, 0.05), 1.0])
        patches = []
        for key in SHAPES:
            camera = calibration.cameras[key]
            x, y, z, _ = np.linalg.inv(poses[key].numpy()) @ point
            column, row = (
                np.array([camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy]) + 0.5
            ) // 16
            if z < calibration.near or not (0 <= row < 6 and 0 <= column < 6):
                break
            patches.append(int(row * 6 + column))
        if len(patches) == 2:
            linked += 1
            assert across[patches[0], patches[1]], (point, patches)
    assert linked > 20
