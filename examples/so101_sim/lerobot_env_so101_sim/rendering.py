# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Fast headless rendering of the SO-101 scene: backend choice, four cheap model settings, lighter visual meshes."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys

BACKENDS = ("egl", "osmesa")
APT_HINT = (
    "so101_sim cannot render: none of the OpenGL backends egl, osmesa works here. "
    "Install one of them with `sudo apt-get install -y libegl1 libgl1-mesa-dri` (egl) or "
    "`sudo apt-get install -y libosmesa6` (osmesa), or set MUJOCO_GL to a backend that works."
)
_PROBE = "import mujoco; c = mujoco.GLContext(16, 16); c.make_current(); c.free()"

# Our choice: at 96 x 96 a pixel of the overhead view is about 5 mm wide, so details below 3 mm are never seen.
GRID_METRES = 0.003
# Our choice: every pixel averages 2 x 2 samples, as a lens does. It costs little, and smooth edges compress better.
SUPERSAMPLING = 2
# The overhead camera in MuJoCo's terms for free cameras. Our choice: straight from above the arm hides the cube half of
# the time, so look from the front.
OVERHEAD = {"lookat": (0.185, 0.0, 0.0), "distance": 0.53, "elevation": -60.0, "azimuth": 180.0}


def backend_works(backend: str) -> bool:
    """Tells whether MuJoCo can open an off-screen context with ``backend``, tried in a fresh process."""
    # A fresh process, because PyOpenGL and MuJoCo both bind one backend for good when first imported.
    environment = {**os.environ, "MUJOCO_GL": backend}
    environment.pop("PYOPENGL_PLATFORM", None)
    probe = subprocess.run([sys.executable, "-c", _PROBE], env=environment, capture_output=True, check=False)
    return probe.returncode == 0


def choose_backend() -> str:
    """Returns the rendering backend and stores it in the ``MUJOCO_GL`` environment variable.

    ``MUJOCO_GL`` wins if set. It must run before MuJoCo is first imported in this process.

    Raises:
        RuntimeError: No backend works, or MuJoCo was imported before without one.
    """
    chosen = os.environ.get("MUJOCO_GL", "").strip().lower()
    if chosen:
        return chosen
    if "mujoco" in sys.modules:
        raise RuntimeError(
            "mujoco was imported before so101_sim could choose a rendering backend. "
            "Set MUJOCO_GL=egl (or osmesa) in the environment of the command."
        )
    for backend in BACKENDS:
        if backend_works(backend):
            os.environ["MUJOCO_GL"] = backend
            return backend
    raise RuntimeError(APT_HINT)


def speed_up_rendering(model) -> None:
    """Makes a compiled ``mujoco.MjModel`` cheap to render, in place, before any renderer is made.

    Multi-sampling, shadow maps and reflections go, and the meshes that take part in no contact are decimated.
    Physics cannot change: everything the solver reads (bodies, inertias, contact geoms) was compiled before
    and stays untouched.

    Args:
        model: The compiled model. Its visual meshes must be used by no geom that collides.
    """
    model.light_castshadow[:] = 0
    model.mat_reflectance[:] = 0
    for mesh in visual_meshes(model):
        _decimate(model, mesh)


def visual_meshes(model) -> list[int]:
    """Returns the ids of the meshes of ``model`` that no colliding geom uses."""
    import mujoco

    is_mesh = model.geom_type == mujoco.mjtGeom.mjGEOM_MESH
    collides = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
    contact = set(model.geom_dataid[is_mesh & collides].tolist())
    return [mesh for mesh in range(model.nmesh) if mesh not in contact]


def _decimate(model, mesh: int) -> None:
    """Merges the vertices of one mesh on a grid, inside the arrays that the compiled model already owns."""
    import numpy as np

    face_at, n_faces = int(model.mesh_faceadr[mesh]), int(model.mesh_facenum[mesh])
    vert_at, n_verts = int(model.mesh_vertadr[mesh]), int(model.mesh_vertnum[mesh])
    normal_at, n_normals = int(model.mesh_normaladr[mesh]), int(model.mesh_normalnum[mesh])
    points = np.array(model.mesh_vert[vert_at : vert_at + n_verts], dtype=np.float64)
    faces = np.array(model.mesh_face[face_at : face_at + n_faces])

    cells = np.round(points / GRID_METRES).astype(np.int64)
    _, cluster = np.unique(cells, axis=0, return_inverse=True)
    cluster = cluster.reshape(-1)
    members = np.bincount(cluster)
    centres = np.stack([np.bincount(cluster, weights=points[:, axis]) / members for axis in range(3)], axis=1)

    faces = cluster[faces]
    # A face whose corners fell into one or two cells has no area left; of coinciding faces one is enough.
    whole = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    faces = faces[whole]
    _, first = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)
    faces = faces[np.sort(first)]
    corners = centres[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    faces, normals = faces[lengths > 0], normals[lengths > 0] / lengths[lengths > 0, None]
    # Flat shading needs one normal per face; a mesh too coarse to gain from this keeps its own.
    if not 0 < len(faces) <= min(n_faces, n_normals):
        return
    model.mesh_vert[vert_at : vert_at + len(centres)] = centres
    model.mesh_face[face_at : face_at + len(faces)] = faces
    model.mesh_normal[normal_at : normal_at + len(faces)] = normals
    model.mesh_facenormal[face_at : face_at + len(faces)] = np.arange(len(faces), dtype=np.int32)[:, None]
    model.mesh_facenum[mesh] = len(faces)


def place_wrist_camera(model) -> int:
    """Turns the model's wrist camera to our view; returns its number.

    Our choice within the package's own randomisation range: both finger tips and the table ahead are in view.
    """
    import mujoco
    import numpy as np

    wrist = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, "wrist_cam")
    model.cam_pos[wrist] = (0.0, 0.055, -0.045)
    model.cam_fovy[wrist] = 75.0
    quaternion = np.zeros(4)
    mujoco.mju_euler2Quat(quaternion, np.array([-0.5, 0.0, 0.0]), "XYZ")
    model.cam_quat[wrist] = quaternion
    return wrist


class SceneCameras:
    """One small off-screen renderer that draws the wrist and the overhead view.

    Args:
        model: The compiled model, after ``speed_up_rendering``.
        size: Edge of the square images, pixels.
    """

    def __init__(self, model, size: int) -> None:
        import mujoco

        self.wrist = place_wrist_camera(model)
        self.overhead = mujoco.MjvCamera()
        self.overhead.type = mujoco.mjtCamera.mjCAMERA_FREE
        self.overhead.lookat[:] = OVERHEAD["lookat"]
        self.overhead.distance = OVERHEAD["distance"]
        self.overhead.elevation = OVERHEAD["elevation"]
        self.overhead.azimuth = OVERHEAD["azimuth"]
        self._renderer = mujoco.Renderer(model, size * SUPERSAMPLING, size * SUPERSAMPLING)
        # Left to the garbage collector at exit, it would outlive the OpenGL library and print tracebacks.
        atexit.register(self.close)

    def render(self, data) -> dict:
        """Draws the present state.

        Args:
            data: The simulator's ``mujoco.MjData``, with kinematics up to date.

        Returns:
            ``{"wrist", "overhead"}``, each (size, size, 3) uint8.
        """
        pictures = {}
        for name, camera in self._cameras():
            self._renderer.update_scene(data, camera=camera)
            pictures[name] = _averaged(self._renderer.render(), SUPERSAMPLING)
        return pictures

    def project(self, data, name: str, point):
        """Where a camera sees a point of the world, (3,): x and y, (2,), from -1 to 1 between its picture's edges.

        Infinite for a point behind the camera.
        """
        import numpy as np

        self._renderer.update_scene(data, camera=dict(self._cameras())[name])
        eyes = self._renderer.scene.camera  # a stereo pair
        ahead, up = np.array(eyes[0].forward), np.array(eyes[0].up)
        way = point - (np.array(eyes[0].pos) + np.array(eyes[1].pos)) / 2
        depth = way @ ahead * eyes[0].frustum_top / eyes[0].frustum_near
        if depth <= 0:
            return np.full(2, np.inf)
        return np.array([way @ np.cross(ahead, up), -way @ up]) / depth

    def _cameras(self):
        return ("wrist", self.wrist), ("overhead", self.overhead)

    def close(self) -> None:
        """Frees the OpenGL context."""
        atexit.unregister(self.close)
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


def _averaged(picture, factor: int):
    """Shrinks a picture, (factor H, factor W, 3) uint8, to (H, W, 3) uint8 by averaging blocks, rounded."""
    import cv2

    height, width, _ = picture.shape
    return cv2.resize(picture, (width // factor, height // factor), interpolation=cv2.INTER_AREA)
