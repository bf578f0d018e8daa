# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Slots of a manipulation instruction: which object, which target. Plain rules, no model, never raises.

`parse_instruction("pick up the red cube and place it on the blue disc")` gives
`{"object": "red cube", "target": "blue disc"}`. Our choice: rules instead of a language model, so that the same
instruction always fills the same caption templates, on any machine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

FALLBACK_OBJECT = "object"
FALLBACK_TARGET = "target"

_ARTICLE = r"(?:the|a|an|some|this|that|its|your|my)\s+"
_VERBS = (
    r"pick(?:\s+and\s+place)?(?:\s+up)?|picking(?:\s+up)?|grab|grasp|take|get|fetch|lift(?:\s+up)?|raise|hold|"
    r"put(?:\s+down)?|place|placing|move|moving|stack|push|pull|slide|drag|pour|insert|drop|set(?:\s+down)?|bring|carry|"
    r"transfer|deliver|hand(?:\s+over)?|open|close|press|turn(?:\s+on|\s+off)?|rotate|twist|fold|unfold|wipe|sort|"
    r"hang|throw|toss|reach(?:\s+for|\s+to)?|touch|remove|pack|store|load|unload|assemble|screw|unscrew|flip|shake|stir"
)
_PLACE_PREPOSITION = (
    r"on\s+top\s+of|in\s+front\s+of|next\s+to|to\s+the\s+(?:left|right)\s+of|on\s+to|onto|into|inside|beside|near|"
    r"under|below|above|over|towards?|against|around|through|behind|between|upon|on|in|to|at"
)
_SOURCE_PREPOSITION = r"from|off|out\s+of|with|using|by"
_PRONOUN = {"it", "them", "him", "her", "this", "that", "one"}
_POLITE = re.compile(r"^(?:please|now|then|can you|could you|robot|next)\b[\s,:]*", re.I)
_VERB_AT_START = re.compile(rf"^(?P<verb>{_VERBS})\b\s*", re.I)
# A second command starts after "and", "then" or a stop, and only if a verb follows: "salt and pepper" stays whole.
_SPLIT = re.compile(
    rf"(?:\s*[,;.]\s*|\s+)(?:and\s+then|and|then)\s+(?=(?:{_VERBS})\b)|\s*[;.]\s+|\s*,\s*(?=(?:{_VERBS})\b)",
    re.I,
)
_PLACE = re.compile(rf"(?:^|\s+)(?:{_PLACE_PREPOSITION})\s+", re.I)
_SOURCE = re.compile(rf"(?:^|\s+)(?:{_SOURCE_PREPOSITION})\s+", re.I)
_LEADING_ARTICLE = re.compile(rf"^(?:{_ARTICLE})+", re.I)
_TRAILING = re.compile(
    r"(?:\s+(?:gently|carefully|slowly|quickly|again|please|away|up|down|together|upright))*[\s.!?,;:]*$",
    re.I,
)


def _noun(phrase: str) -> str:
    phrase = _TRAILING.sub("", phrase.strip())
    phrase = _LEADING_ARTICLE.sub("", phrase).strip(" \t\n\"'.,;:!?")
    return "" if phrase.lower() in _PRONOUN else phrase


def parse_instruction(text: str) -> dict[str, str]:
    """The object and target that an instruction such as "put the cup on the plate" names, without articles.

    Returns `{"object": ...}`, with `"target"` where the sentence names one. Where nothing is found, object is "object".
    """
    slots: dict[str, str] = {}
    sentence = re.sub(r"\s+", " ", str(text or "").replace("_", " ")).strip()
    for clause in _SPLIT.split(sentence):
        clause = clause.strip()
        while (polite := _POLITE.match(clause)) and polite.end():
            clause = clause[polite.end() :]
        verb = _VERB_AT_START.match(clause)
        if verb is None:
            continue
        before, *places = _PLACE.split(clause[verb.end() :], maxsplit=1)
        taken = re.match(r"(?:pick|grab|grasp|take|get|fetch|lift|remove)", verb["verb"], re.I) is not None
        and_place = re.search(r"place|put", verb["verb"], re.I) is not None
        thing = _noun(_SOURCE.split(before, maxsplit=1)[0])
        goal = _noun(_SOURCE.split("".join(places), maxsplit=1)[0])
        if thing and "object" not in slots:
            slots["object"] = thing
        # "pick up the cup on the table": the table is where the cup stands, not where it should go.
        if goal and (
            not taken
            or and_place
            or re.search(rf"\b(?:to|into|onto|towards?)\s+{_ARTICLE}?{re.escape(goal)}", clause, re.I)
        ):
            # The last command's target wins: "put the lid on the pot and move it to the shelf" ends at the shelf.
            slots["target"] = goal
    slots.setdefault("object", FALLBACK_OBJECT)
    return slots


def target_preposition(text: str) -> str:
    """How the object ends up at the target: "on", "in" or "at" ("put the cup into the box" gives "in"). Never raises."""
    target = parse_instruction(text).get("target", "")
    before = re.sub(r"[\s_]+", " ", str(text or ""))
    found = re.search(rf"(\w+)\s+(?:{_ARTICLE})*{re.escape(target)}", before, re.I) if target else None
    word = found[1].lower() if found else "on"
    if word in ("in", "into", "inside"):
        return "in"
    return "on" if word in ("on", "onto", "upon", "top", "of") else "at"


def fill(template: str, slots: Mapping[str, str]) -> str:
    """Fills `{object}` and `{target}`; a slot that is not given falls back to its plain name. Never raises."""
    filled = template.replace("{object}", slots.get("object", FALLBACK_OBJECT))
    return filled.replace("{target}", slots.get("target", FALLBACK_TARGET))


def instruction_template(text: str) -> str:
    """The instruction with its object and target replaced by `{object}` and `{target}`.

    Two instructions that ask for the same thing with other objects have the same template.
    """
    return slot_template(text, parse_instruction(text))


def slot_template(text: str, slots: Mapping[str, str]) -> str:
    """A sentence with the first mention of each slot's value replaced by `{slot}`; the inverse of `fill`. Never raises."""
    template = re.sub(r"\s+", " ", str(text or "")).strip()
    # The longer name first, so that an object "cube" does not eat a part of the target "cube tray".
    for name in sorted(slots, key=lambda slot: -len(slots[slot])):
        value = re.escape(slots[name]).replace(r"\ ", r"[ _]+")
        template = re.sub(rf"(?<![\w{{]){value}(?![\w}}])", "{" + name + "}", template, count=1, flags=re.I)
    return template
