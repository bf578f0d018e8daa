# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""How large things are and where they may stand; apart from the simulation, which needs MuJoCo."""

# All of these are our choice, in metres. A smaller disc than in the first scene leaves room for three of them.
CUBE_HALF_EDGE = 0.015
CUBE_MASS = 0.01
CLUTTER_RADIUS = 0.012
DISC_RADIUS = 0.035
BIN_HALF_WIDTH = 0.037
WALL_HALF_THICKNESS, WALL_HEIGHT = 0.0015, 0.010
PLACE_HALF_THICKNESS = 0.001
CLUTTER_COLOUR = (0.3, 0.8, 0.8, 1.0)
# Where things stand: a ring sector in front of the arm, as far as the overhead camera sees.
CENTRE = (0.04, 0.0)
RADII = (0.16, 0.265)
HALF_ANGLE_DEG = 52.0
WIDEST_Y = 0.185
# Free space between outlines. What stands beside a cube must leave room for an open jaw.
GAP, GAP_OF_CUBES = 0.015, 0.03
# Textures that the table may have in place of its grey: kind, two colours, squares a metre.
TEXTURES = {
    "boards": ("CHECKER", (0.62, 0.46, 0.3), (0.5, 0.36, 0.22), 12),
    "cloth": ("CHECKER", (0.45, 0.5, 0.62), (0.56, 0.6, 0.68), 40),
    "stone": ("GRADIENT", (0.75, 0.72, 0.68), (0.4, 0.42, 0.45), 4),
}
