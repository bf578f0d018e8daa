# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Where `wallwm check` draws its lines. All of them are our choice; each says why it lies where it does."""

# Error as a part of that of holding the pose. A policy that is not clearly below 1 has learned nothing that would justify
# moving. nano models after a few hundred steps reach 0.5; in between lies a policy that moves, but not yet where it should.
NO_BETTER_THAN_HOLDING = 0.95
HARDLY_BETTER_THAN_HOLDING = 0.75

# Error against that of the caption's mean motion, which is the same every time: at 1, looking has brought nothing.
NO_BETTER_THAN_MEAN = 1.0

# One joint's error against holding it, for joints that move at least so much as the first number says of the most mobile.
# A gripper that would better be held never grasps.
JOINT_MATTERS, JOINT_WORSE = 0.05, 1.02

# Change of the predicted motion by exchanged images or captions, as a part of what the recorded motions of the same
# observations differ by. A weight set to zero gives exactly 0, rounding far less than 0.01; a policy that reads its
# captions comes to half and more. Images count for less, because the state tells much of what they show.
IGNORES_IMAGES, HARDLY_SEES = 0.03, 0.08
IGNORES_CAPTION, HARDLY_READS = 0.03, 0.15

# Error at the end of events with another scene's pictures, as a multiple of that with its own. A blind policy has 1.00, and
# chance moves that by a few hundredths; nano models after 300 steps have 1.5.
BLIND, HARDLY_LOOKS = 1.05, 1.3
# Events are asked about only if pose and caption, which need no pictures, leave their ends at least so uncertain, as a part
# of how far the ends of any two events lie apart. Demonstrations of an SO-101: reaching for a cube and carrying it 0.5 to
# 1.1, approaching and lowering, which mostly go down, 0.1 to 0.2, closing the gripper 0.01.
NEEDS_EYES = 0.25

# Fresh noise may not move the motion by more than exchanged images do: chance would steer more than the eyes.
NOISE_AGAINST_IMAGES = 1.0

# Share of predicted actions that the postprocessor must clamp to the data's range. Some touch it, as demonstrations do.
CLAMPED = 0.05

# The first action's distance from the observed pose, against what demonstrations do: beyond, the arm jerks at each look.
FIRST_STEP = 2.0

# Part of a control period that the policy may take; the rest is for the servo bus and the cameras.
ROOM = 0.8
# A look that takes longer than this many times the actions between two looks leaves the arm standing most of the time.
LOOK_TOO_LONG = 2.0

# Share of a joint's values outside of the training data's range. Beyond the second, units or calibration differ.
OUTSIDE, OTHER_UNITS = 0.02, 0.5

# Relative difference of two frame rates. Plans count frames: another rate makes the arm so much faster or slower.
RATE_DIFFERS, RATE_WRONG = 0.02, 0.25

# Share of captions that are of no kind that the checkpoint was trained on.
UNKNOWN_CAPTIONS = 0.0

# Error of the predicted event's end, against always guessing the data's median: above 1 the guess is better.
END_UNKNOWN = 1.0

# Source episodes below which errors say little about the next one.
FEW_EPISODES = 4
