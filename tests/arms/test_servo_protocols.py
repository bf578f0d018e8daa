# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Packets and registers by themselves: round trips, garbage, tables against LeRobot's, firmware behaviour."""

import math

import pytest
from dynamixel_sdk.protocol2_packet_handler import Protocol2PacketHandler
from hypothesis import given, strategies as st
from lerobot.motors.dynamixel import tables as dynamixel_tables
from lerobot.motors.encoding_utils import decode_sign_magnitude, encode_sign_magnitude
from lerobot.motors.feetech import tables as feetech_tables

from emulated_arm.arms import ARMS, calibration_of, travel_as_built, travel_from_calibration, write_eeprom
from emulated_arm.dynamixel import DynamixelProtocol, crc16, stuff, unstuff
from emulated_arm.feetech import FeetechProtocol
from emulated_arm.protocol import Packet, Protocol
from emulated_arm.servo import TIME_CONSTANT, approach
from emulated_arm.sts3215 import Sts3215, from_sign_magnitude, sign_magnitude
from emulated_arm.xseries import XSeries

PROTOCOLS = (FeetechProtocol, DynamixelProtocol)
packets = st.builds(
    Packet, st.integers(0, 252) | st.just(254), st.integers(0, 255), st.binary(min_size=0, max_size=60)
)
# Bytes that look like headers come up far more often than by chance.
garbage = st.lists(st.binary(max_size=12) | st.sampled_from([b"\xff", b"\xff\xff", b"\xff\xff\xfd"])).map(
    b"".join
)


def servos_of(kind: str) -> list:
    return [ARMS[kind].servo(joint) for joint in ARMS[kind].joints]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(sent=st.lists(packets, max_size=4), cut=st.integers(1, 40))
def test_packets_come_back_however_the_line_cuts_them(protocol, sent, cut):
    parser = protocol()
    line = b"".join(parser.encode(packet) for packet in sent)
    got = []
    for at in range(0, len(line), cut):
        got += parser.feed(line[at : at + cut], now=0.0)
    assert got == sent


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(junk=garbage, packet=packets)
def test_after_garbage_and_a_pause_a_packet_is_understood(protocol, junk, packet):
    parser = protocol()
    parser.feed(junk, now=0.0)
    assert parser.feed(parser.encode(packet), now=1.0) == [packet]


@pytest.mark.parametrize("kind", ["so101_follower", "koch_follower"])
@given(
    lines=st.lists(garbage | packets.map(FeetechProtocol().encode) | packets.map(DynamixelProtocol().encode))
)
def test_nothing_on_the_line_breaks_a_servo(kind, lines):
    protocol, servos = ARMS[kind].protocol(), servos_of(kind)
    for moment, line in enumerate(lines):
        for packet in protocol.feed(line, float(moment)):
            for reply in protocol.answer(packet, servos):
                protocol.encode_reply(reply)
    low, high = servos[0].limits
    assert all(math.isfinite(servo.shaft) for servo in servos)
    assert isinstance(low, int) and isinstance(high, int)


@given(st.binary(max_size=80))
def test_stuffing_hides_every_header(body):
    assert unstuff(stuff(body)) == body
    assert b"\xff\xff\xfd\x00" not in stuff(body)


def test_checksums_are_those_of_the_makers_software():
    data = bytes(range(256)) * 2
    assert crc16(data) == Protocol2PacketHandler().updateCRC(0, data, len(data))
    # The ping example of Robotis' e-manual, and Feetech's of its communication manual.
    assert DynamixelProtocol().encode(Packet(1, 1)) == bytes.fromhex("fffffd0001030001194e")
    assert FeetechProtocol().encode(Packet(1, 1)) == bytes.fromhex("ffff010201fb")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_damaged_packet_is_not_carried_out(protocol):
    parser: Protocol = protocol()
    line = bytearray(parser.encode(Packet(1, Protocol.WRITE, bytes((40, 1, 1)))))
    for at in range(len(line)):
        damaged = bytearray(line)
        damaged[at] ^= 0x10
        assert Packet(1, Protocol.WRITE, bytes((40, 1, 1))) not in parser.feed(bytes(damaged), now=float(at))


@given(st.integers(-2047, 2047))
def test_sign_magnitude_is_lerobots(value):
    assert sign_magnitude(value, 11) == encode_sign_magnitude(value, 11)
    assert from_sign_magnitude(sign_magnitude(value, 11), 11) == decode_sign_magnitude(
        sign_magnitude(value, 11), 11
    )


def test_registers_lie_where_lerobot_looks_for_them():
    theirs = feetech_tables.MODEL_CONTROL_TABLE["sts3215"]
    assert {name: theirs[name] for name in Sts3215.table} == Sts3215.table
    for model in ("xl430-w250", "xl330-m288", "xl330-m077"):
        theirs = dynamixel_tables.MODEL_CONTROL_TABLE[model]
        assert {name: theirs[name] for name in XSeries.table} == XSeries.table
        assert XSeries(1, model).get("Model_Number") == dynamixel_tables.MODEL_NUMBER_TABLE[model]
    assert Sts3215(1).get("Model_Number") == feetech_tables.MODEL_NUMBER_TABLE["sts3215"]


@given(
    start=st.floats(-5000, 5000),
    goal=st.floats(-5000, 5000),
    speed=st.floats(10, 5000),
    seconds=st.floats(0, 5),
)
def test_motion_is_the_same_in_one_step_or_many(start, goal, speed, seconds):
    once, _ = approach(start, goal, speed, seconds)
    many = start
    for _ in range(7):
        before = many
        many, _ = approach(many, goal, speed, seconds / 7)
        assert abs(many - before) <= speed * seconds / 7 + 1e-6
        assert abs(goal - many) <= abs(goal - before) + 1e-9
    assert many == pytest.approx(once, abs=1e-6 + 1e-9 * abs(goal - start))
    late = 20 * TIME_CONSTANT + abs(goal - start) / speed
    assert approach(start, goal, speed, late)[0] == pytest.approx(goal, abs=1e-3)


def test_feetech_cuts_goals_to_its_limits_and_moves_only_with_torque():
    servo = Sts3215(1, registers={"Min_Position_Limit": 1000, "Max_Position_Limit": 3000})
    servo.write(42, (3500).to_bytes(2, "little"))
    assert servo.target is None and servo.goals[-1].outside and servo.goals[-1].applied == 3000
    servo.write(40, b"\x01")
    assert servo.target == servo.shaft, "turning the torque on must not move it"
    servo.write(42, (500).to_bytes(2, "little"))
    assert servo.target == 1000
    servo.write(40, b"\x00")
    assert servo.target is None


def test_dynamixel_refuses_what_the_firmware_refuses():
    servo = XSeries(1, "xl430-w250", {"Min_Position_Limit": 1000, "Max_Position_Limit": 3000})
    servo.write(64, b"\x01")
    goal = servo.target
    assert servo.write(116, (3500).to_bytes(4, "little")) == 6
    assert servo.target == goal and servo.goals[-1].applied is None
    assert servo.write(11, b"\x04") == 7, "EEPROM is closed while the torque is on"
    assert servo.write(132, bytes(4)) == 7, "read-only"
    servo.write(64, b"\x00")
    assert servo.write(11, b"\x05") == 4, "an XL430 has no current mode"
    assert servo.write(11, b"\x04") == 0


def test_locked_feetech_eeprom_is_forgotten_with_the_power():
    servo = Sts3215(1)
    servo.write(9, (700).to_bytes(2, "little"))
    assert servo.limits[0] == 700
    servo.power_cycle()
    assert servo.limits[0] == 0
    servo.write(55, b"\x00")
    servo.write(9, (700).to_bytes(2, "little"))
    servo.power_cycle()
    assert servo.limits[0] == 700


@pytest.mark.parametrize("kind", sorted(ARMS))
@given(seed=st.integers(0, 1000))
def test_calibration_and_travel_describe_the_same_arm(kind, seed):
    arm = ARMS[kind]
    built = travel_as_built(arm, seed)
    calibration = calibration_of(arm, built)
    read = travel_from_calibration(arm, calibration)
    assert calibration_of(arm, read) == calibration
    servos = servos_of(kind)
    write_eeprom(arm, servos, calibration)
    for servo, joint, one, other in zip(servos, arm.joints, built, read, strict=True):
        for value in (-50.0, 0.0, 37.5, 80.0):
            assert one.to_shaft(value) == pytest.approx(other.to_shaft(value), abs=1)
            assert one.to_units(one.to_shaft(value)) == pytest.approx(value, abs=1e-6)
        if not joint.full_turn:
            servo.shaft = one.low
            assert servo.present == servo.limits[0]
            servo.shaft = one.high
            assert servo.present == servo.limits[1]
