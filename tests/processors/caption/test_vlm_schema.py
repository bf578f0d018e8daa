# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Parsing answers and headers, without a server."""

import json
import time
from email.utils import formatdate

import pytest
from hypothesis import given, strategies as st

from lerobot_wallwm.language.answers import AnswerError, parse_completion
from lerobot_wallwm.language.client import Usage, VlmClient, retry_seconds
from lerobot_wallwm.language.config import VlmConfig
from lerobot_wallwm.processors.caption.prompt import Answer, parse_answer, response_schema
from lerobot_wallwm.processors.caption.vlm_captioner import KeptAnswer

GOOD = '{"captions": {"A1": "reach for the cube", "A2": "grasp the cube"}}'


@pytest.mark.parametrize(
    "text",
    [GOOD, f"```json\n{GOOD}\n```", f"```\n{GOOD}```", f"<think>[1] {{</think>\n{GOOD}", f"\n {GOOD} \n"],
)
def test_answers_that_are_taken(text):
    checked = parse_answer(text, ["A1", "A2"], 160)
    assert checked.captions == {"A1": "reach for the cube", "A2": "grasp the cube"} and not checked.refused


@given(st.text(max_size=300) | st.binary(max_size=200).map(lambda b: b.decode("latin-1")))
def test_no_text_raises_anything_else(text):
    for wrapped in (text, f'{{"captions": {text}}}', f'{{"captions": {{"A1": {json.dumps(text)}}}}}'):
        try:
            checked = parse_answer(wrapped, ["A1"], 160)
        except AnswerError as error:
            assert error.reason
        else:
            assert set(checked.captions) == {"A1"}


KEYS = ["captions", "A1", "start", "choices", "message"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_no_json_raises_anything_else(value):
    for parse in (lambda text: parse_answer(text, ["A1"], 160), lambda text: parse_completion(text.encode())):
        try:
            parse(json.dumps(value))
        except AnswerError as error:
            assert error.reason


@given(st.binary(max_size=300))
def test_no_body_raises_anything_else(body):
    with pytest.raises(AnswerError):
        parse_completion(body)


def test_fences_without_end_take_no_time():
    # 60,000 line breaks made a regular expression look 3.6e9 times.
    with pytest.raises(AnswerError, match="not_json"):
        parse_answer("```" + "\n" * 60_000, ["A1"], 160)


def test_the_schema_that_is_sent_admits_what_is_accepted():
    schema = response_schema(["A1", "A2"])
    own = Answer.model_json_schema()
    assert schema["required"] == own["required"] and schema["additionalProperties"] is False
    assert schema["properties"]["captions"]["required"] == ["A1", "A2"]
    assert set(json.loads(GOOD)["captions"]) == set(schema["properties"]["captions"]["properties"])


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7), ("0.5", 0.5), ("-3", 0), *((text, None) for text in ("nan", "inf", "soon", "", None))],
)
def test_retry_after(header, seconds):
    assert retry_seconds(header) == seconds


def test_retry_after_as_a_date():
    assert 25 < retry_seconds(formatdate(time.time() + 30, usegmt=True)) <= 30
    assert retry_seconds(formatdate(time.time() - 30, usegmt=True)) == 0
    assert retry_seconds("Mon, 99 Foo 99999 00:00:00 GMT") is None


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:1/v1", True),
        ("http://localhost/v1", True),
        ("http://[::1]:8/v1", True),
        ("https://api.example.com/v1", False),
        ("http://127.0.0.1.example.com/v1", False),
    ],
)
def test_proxies_are_for_other_machines_only(url, loopback):
    assert VlmConfig(base_url=url).is_loopback == loopback


def test_key_comes_from_the_environment_and_is_checked(monkeypatch):
    monkeypatch.setenv("SOME_KEY", " abc \n")
    assert VlmConfig(api_key_env="SOME_KEY").api_key() == "abc"
    monkeypatch.setenv("SOME_KEY", "a\nHost: evil")
    with pytest.raises(ValueError, match="SOME_KEY"):
        VlmClient(VlmConfig(api_key_env="SOME_KEY"))
    monkeypatch.delenv("SOME_KEY")
    assert VlmConfig(api_key_env="SOME_KEY").api_key() == ""
    monkeypatch.setenv("SOME_KEY", "a")  # too short to be a secret, it spoils no answer
    assert VlmClient(VlmConfig(api_key_env="SOME_KEY"))._redact("reach") == "reach"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30), st.integers(1, 9))
def test_kept_answers_come_back(text, attempts):
    answer = KeptAnswer(model="m", captions={"A1": text}, refused={}, usage=Usage(attempts, 3, 4, 0))
    assert KeptAnswer.model_validate_json(answer.model_dump_json()) == answer
