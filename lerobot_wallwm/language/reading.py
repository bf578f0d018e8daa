# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What a manipulation instruction asks for: its steps, each with an object and a target. Plain rules, no model.

`read("open the top drawer and put the bowl inside").steps` gives a step with object "top drawer" and one with object "bowl" and
target "top drawer". A sentence that is not understood gives no step, and `problem` says why. Our choice: rules instead of a
parser with weights, so that the same instruction always fills the same caption templates, on any machine.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from lerobot_wallwm.language import lexicon as words
from lerobot_wallwm.language.lexicon import verb

_AGENT = r"(?:(?:the|a|your|its|this)\s+)?(?:robot(?:ic)?(?:\s+arm|'s)?|arm|gripper|human|person|operator)"
_HAND = r"(?:arms?|hands?|grippers?|manipulators?|end[- ]effectors?|claws?|fingers?)"
_SIDE = r"(?:(?:the|your|its|one|a|each|both)\s+)*(?:(?P<side>left|right|both|two)(?:\s+\w+)??)?(?:\s+(?:robot(?:ic)?|follower))?"
_ARM = re.compile(
    rf"(?:^|\s+)(?:with|using|by|use)\s+{_SIDE}\s*{_HAND}\b(?:\s*,)?(?:\s+(?:to|and)(?=\s))?", re.I
)
_ONE = re.compile(r"(?<=\w\s)one$", re.I)
_OWN_HAND = re.compile(
    rf"^(?:(?:left|right|robot(?:ic)?|the)\s+)*{_HAND}(?:\s+(?:slightly|a\s+little))?$", re.I
)
_ARM_ACTS = re.compile(rf"^{_SIDE}\s*{_HAND}\s*(?::|\b)\s*", re.I)
_OPENING = re.compile(
    r"""^(?:(?:(?:hi|hey|hello|ok|okay|well)\b\s*(?:,|robot\b)*\s*)+|robot\s*[,:]|(?:step|task|instruction|goal)\s*\d*\s*[:.)-]|
    \(?\d+\s*[.)](?!\d)|(?:please|kindly|now|then|next|and|also|just|first(?:ly)?|second(?:ly)?|third(?:ly)?|finally|lastly|at\s+the\s+end|in\s+the\s+end|
    afterwards?|(?:once|when)\s+(?:that|this|it)\s+is\s+(?:done|finished)|after\s+that|after\s+which|carefully|gently|slowly|quickly|simply|again|once\s+done|but|so|to|let's|
    both\s+arms|immediately|neatly)\b\s*,?|
    would\s+you\s+mind\b|(?:can|could|would|will)\s+you\b|i(?:'d|\s+would)?\s+(?:want|need|like)\s+you\s+to|(?:your|the)\s+(?:task|goal|job|objective)\s+is\s+to|
    (?:the|your|this)?\s*robot(?:ic)?(?:\s+arm)?\s+(?:should|must|will|can|has\s+to|needs\s+to|is\s+to|then)|
    you\s+(?:should|must|have\s+to|need\s+to|can|will)|(?:try|remember|go|begin|start|be\s+sure|make\s+sure|proceed|help\s+me|attempt)\s+
    (?:to(?=\s+(?!the\b|a\b))|and(?=\s)|by|ahead\s+and)|help\s+me|in\s+order\s+to|do\s+the\s+following)\s*[,:]?\s*""",
    re.I | re.X,
)
_CLOSING = re.compile(
    r"(?:[\s,]+(?:please|thanks|thank\s+you|(?:very|so)\s+much|for\s+me|if\s+(?:you|possible)\b.*|would\s+you|ok(?:ay)?|now|"
    r"as\s+\w+\s+as\s+(?:possible|you\s+can)|one\s+by\s+one|(?:one|two)\s+at\s+a\s+time|a\s+(?:little|bit)|slightly|one\s+after\s+(?:the\s+)?(?:an)?other|"
    r"in\s+(?:one|a\s+single)\s+\w+))+$",
    re.I,
)
_USE = re.compile(r"^use\s+(?P<tool>.+?)\s+(?:to|for|and)\s+(?P<deed>.+)$", re.I)
_TOKEN = re.compile(r"[^\W_]+(?:['’&/.-][^\W_]+)*|[.,;:!?&]")
_PLACES = {
    "on top of": "on", "on the top of": "on", "on to": "on", "onto": "on", "upon": "on", "on": "on", "atop": "on", "top of": "on",
    "inside of": "in", "in to": "in", "into": "in", "inside": "in", "in": "in", "within": "in",
    "towards": "at", "toward": "at", "back to": "at", "over to": "at", "to": "at", "at": "at",
    "next to": "", "beside": "", "near to": "near", "near": "", "close to": "", "adjacent to": "next to", "in front of": "", "behind": "",
    "under": "", "underneath": "under", "beneath": "under", "below": "", "above": "", "over": "", "around": "", "against": "",
    "through": "", "in between": "between", "between": "", "across": "", "along": "", "past": "", "on the opposite side of": "",
    "left of": "to the left of", "right of": "to the right of",
}  # fmt: skip
_SOURCES = frozenset({"from", "off", "out of", "off of", "out from"})
_MEANS = frozenset({"with", "using", "by", "via"})
# These stay with the noun before them, whatever the verb.
_MODIFIERS = words.word_set("of for like without nearest closest")
_MODIFIERS |= {"nearest to", "closest to", "furthest from", "farthest from"}
_SIDES = words.word_set("left right front back top far near rear very")
_LONGEST_TEXT = 2000  # our choice: what is longer is no instruction
_LONGEST = 5  # words of a preposition: "to the left side of"
_RELATIVE = words.word_set("that which who whose where")
_LYING = words.word_set(
    "located sitting lying placed standing hanging found resting positioned situated stored kept"
)
_MANNER_OF = re.compile(
    r"^(?:half|halves|thirds|two|place|order|line|pieces|sequence|shape|turn|parallel|advance|(?:the|mid)?\s*air|"
    r"(?:an?|its|their)\s+(?:row|line|circle|stack|pile|pyramid|tower|way|correct order|right order|order|time|moment|"
    r"straight line|upright position|single motion)|(?:top of )?each other|one another|all sides|its side|the go)$",
    re.I,
)
_STRONG = frozenset(
    {"into", "onto", "to", "inside", "on to", "in to", "on top of", "back to", "over to", "towards", "toward"}
)
_PLACED_BY_ACTS = words.word_set(
    "screw spread spray draw write paint hammer rub twist brush scoop sweep shovel rake fold dip tie flip mix erase trace season squeeze"
)


_KEPT = words.word_set("pick grab grasp take get lift raise fetch use")
_WITH_TOOL = (words.TOOL | words.POUR) - words.word_set("press tap fill cover season hit knock strike")
_OPENED = words.word_set("open pull unlock slide uncover unzip")
_AUXILIARIES = words.word_set("should must to needs need has have will is are")
_HOME = words.word_set("home start starting initial rest resting original")
_MEASURE = re.compile(
    r"\s+(?:by\s+)?\d+(?:\.\d+)?\s*(?:cm|mm|m|centimeters?|millimeters?|inch(?:es)?|degrees?|deg|°)(?=\s|$|,)",
    re.I,
)
_NOT = re.compile(r"\s*,?\s+(?:but\s+)?not\s+(?:the|a|an|on|in|from)\b[^,.;]*", re.I)
_JOINS = words.word_set("align connect combine swap replace match attach join exchange")


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do.

    Attributes:
        verb: Its base form.
        object: What is taken or acted on, without article; "" where the sentence does not say.
        target: Where it goes, or what a tool acts on.
        place: How the object ends up there: on, in, at, or words such as "to the left of".
        held: Whether the gripper holds the object, as it does not hold a desk that it cleans.
        arm: left, right, both, or "" where the sentence does not say.
    """

    verb: str
    object: str = ""
    target: str = ""
    place: str = "on"
    held: bool = True
    arm: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """The steps in order, those with an object; or `problem`, why there are none."""

    text: str
    steps: tuple[Step, ...] = ()
    problem: str = ""


@functools.lru_cache(maxsize=4096)
def read(text: str) -> Reading:
    """Reads an instruction. Never raises."""
    if len(str(text)) > _LONGEST_TEXT:
        return Reading(text, problem=f"is longer than {_LONGEST_TEXT} characters")
    line = _normal(text)
    tokens = _TOKEN.findall(line)
    letters = [char for char in line if char.isalpha()]
    if not letters:
        return Reading(text, problem="holds no words")
    if sum("LATIN" not in unicodedata.name(char, "") for char in letters) * 5 > len(letters):
        return Reading(text, problem="is not in Latin letters")
    if words.foreign([token.lower() for token in tokens]):
        return Reading(text, problem="is not English")
    first = tokens[0].lower()
    if not line.isascii() and not any(verb(token) for token in tokens) and not words.misspelled_verb(first):
        return Reading(text, problem="is not English")
    steps: list[Step] = []
    for clause in _clauses(line):
        for step in _commands(clause, steps):
            _join(steps, step)
    named = tuple(step for step in steps if step.object)
    if named:
        return Reading(text, named)
    known = any(verb(token) for token in tokens)
    return Reading(text, problem="names no object" if known else "holds no verb that is known")


def _normal(text: str) -> str:
    """One line of words: snake_case and CamelCase names of tasks are taken apart, robots and numbers left out of them."""
    line = unicodedata.normalize("NFKC", str(text or "")).replace("’", "'")
    line = re.sub(r"[\"“”`*]|\([^)]*\)|\[[^\]]*\]", " ", line).strip()
    if line and not re.search(r"\s", line):
        line = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", line)
        parts = [part for part in re.split(r"[\s_/.-]+", line) if part]
        kept = [p.lower() for p in parts if p.lower() not in words.ROBOTS]
        line = " ".join(p for p in kept if not re.fullmatch(r"v?\d+\w{0,4}", p))
    line = line.replace("_", " ")
    line = re.sub(
        r"\b(pick|grab)(?:\s*[-&/]\s*|-and-|\s+'?n'?\s+)(?=(?:place|up|put)\b)", r"\1 ", line, flags=re.I
    )
    line = re.sub(r"\b(pick|picking)-?up\b", r"\1 up", line, flags=re.I)
    line = re.sub(r"\b(?:teh|hte|tge|thr|th)\b(?=\s+\w)", "the", line)
    line = re.sub(r"\b(?:adn|nad|an)\b(?=\s+\w+\s+(?:it|them|the)\b)", "and", line)
    line = re.sub(r",\s*((?:which|that|who)\s[^,.;]*),", r" \1 ", line)  # "the mug, which is blue, ..."
    line = _NOT.sub("", line)  # "in the blue bin, not the red one"
    line = re.sub(r"\band (the (?:left|right) (?:arm|hand|gripper)) to\b", r"and with \1", line, flags=re.I)
    if line.isupper():
        line = line.lower()
    return re.sub(r"\s+", " ", line).strip()


def _bare(clause: str) -> str:
    """A clause without what surrounds the command: "now please ...", "can you ...", "..., thanks"."""
    while (opening := _OPENING.match(clause)) and opening.end():
        clause = clause[opening.end() :]
    clause = _MEASURE.sub("", clause)
    return _CLOSING.sub("", clause.strip(" ,.;:!?")).strip(" ,.;:!?")


def _clauses(line: str) -> Iterator[str]:
    """The commands of a line."""
    for sentence in re.split(
        r"\s*(?:^|\s)\d+\s*[.)](?=\s)|\s*[.;!?](?=\s|$)\s*|\s+-+>?\s+|\s*(?:->|→|=>)\s*|:\s+", line
    ):
        if order := _told_backwards(sentence):
            for part in order:
                yield from _clauses(part)
            continue
        found = list(_TOKEN.finditer(sentence))
        tokens = [match[0].lower() for match in found]
        start, i = 0, 0
        while i < len(tokens):
            after = tokens[i + 1] if i + 1 < len(tokens) else ""
            if (
                i > start + 1
                and tokens[i] in words.VERBS
                and after in ("it", "them")
                and tokens[i - 1] not in _LINKS
            ):
                yield sentence[
                    found[start].start() : found[i].start()
                ]  # "take the cup place it on the plate"
                start = i
            j, hard = i, False
            while j < len(tokens) and tokens[j] in _LINKS:
                hard = hard or tokens[j] in ("then", "before", "afterwards", "finally", "next")
                j += 1
            if j > i and j < len(tokens):
                # "next to" and "to the" are no links, nor is a link all alone: "to" needs a verb behind it.
                purpose = tokens[i:j] == ["to"]
                if _begins(tokens, j, hard) and not (purpose and (i == start or tokens[start] == "use")):
                    yield sentence[found[start].start() : found[i].start()] if i > start else ""
                    start = j
                i = j
            else:
                i += 1
        if start < len(tokens):
            yield sentence[found[start].start() :]


_LINKS = words.word_set(
    "and then , & next finally afterwards lastly also to before while carefully gently slowly quickly now immediately please"
)


_BEFORE = re.compile(r"^\s*before\s+(?:you\s+)?(?P<second>.+?),\s*(?P<first>.+)$", re.I)
_AFTER_FIRST = re.compile(
    r"^\s*(?:after|once|when)\s+(?:you\s+(?:have\s+)?)?(?P<first>\w+ing\s.+?|.+?),\s*(?P<second>.+)$", re.I
)
_AFTER = re.compile(r"^(?P<second>.+?),?\s+after\s+(?:you\s+(?:have\s+)?)?(?P<first>\w+\s.+)$", re.I)


def _told_backwards(sentence: str) -> list[str]:
    """The two halves of "before you A, B", "after A, B" or "B after A", in the order of doing; nothing for other sentences."""
    for pattern in (_BEFORE, _AFTER_FIRST, _AFTER):
        found = pattern.match(sentence)
        if found and all(verb(_bare(found[part]).split(" ")[0]) for part in ("first", "second")):
            return [found["first"], found["second"]]
    return []


def _begins(tokens: Sequence[str], at: int, hard: bool) -> bool:
    """Whether a command begins at a word that follows "and" or a comma; `hard`: it follows "then"."""
    word, after = tokens[at], tokens[at + 1] if at + 1 < len(tokens) else ""
    if at and tokens[at - 1] == "to" and not _purpose(tokens, at):
        return False
    if word in ("with", "using") and _ARM.match(" " + " ".join(tokens[at : at + 5])):
        return True  # "and with the left gripper open the cap"
    base = verb(word)
    marks = words.DETERMINERS | words.PRONOUNS | words.PEOPLE | words.NUMBERS
    if word in marks or word in _PLACES or word in ("of", "with", "from"):
        return False
    marked = (
        after in marks
        or after.isdigit()
        or after in words.PARTICLES
        or after in ("to", "into", "onto", "from", "and")
    )
    if base and base not in words.NOUNS:
        return word == base or hard or marked or word.endswith(("ing", "s"))
    if base:
        bare = not set(tokens) & words.DETERMINERS  # "open drawer and place cup"
        return hard or marked or (at + (1 if bare else 2) < len(tokens) and not _colour_or_noun(tokens, at))
    # A word that nobody listed is a verb where an article follows: "and yeet the can".
    return (
        after in words.DETERMINERS | words.PRONOUNS
        and word.isalpha()
        and not word.endswith("ly")
        and word != ","
    )


def _purpose(tokens: Sequence[str], at: int) -> bool:
    """Whether "to" at `at - 1` says what for: "take the sponge to wipe the table"."""
    return (
        at + 1 < len(tokens)
        and tokens[at] in words.VERBS
        and (
            tokens[at + 1] in words.DETERMINERS | {"it", "them"}
            or (tokens[at] in words.PUT and tokens[at + 1] in _PLACES)
        )
    )


def _colour_or_noun(tokens: Sequence[str], at: int) -> bool:
    """Whether the word after a possible verb is a preposition: in "the cup and brush in the box" brush is a thing."""
    return tokens[at + 1] in _PLACES or tokens[at + 1] in words.FUNCTION - words.DETERMINERS


def _commands(clause: str, before: Sequence[Step]) -> list[Step]:
    """The steps of one clause, given those so far; one without object where the clause is not understood."""
    clause = _bare(clause)
    arm, clause = _take_arm(clause)
    clause = _bare(clause)
    tool = ""
    if (used := _USE.match(clause)) and verb(_bare(used["deed"]).split(" ")[0]):
        tool, clause = _noun(_TOKEN.findall(used["tool"])), _bare(used["deed"])
    tokens = [token for token in _TOKEN.findall(clause) if token not in ".;:!?"]
    tokens = _without_agent(tokens)
    if not tokens:
        return []
    passive = None if verb(tokens[0]) in words.GO else _passive(tokens)
    if passive is not None:
        base, rest = passive
    else:
        base, rest = _verb_and_rest(tokens, bool(before))
    if not base:
        steps = [_without_verb(tokens)]
    else:
        parts = _gapped(base, rest)
        steps = []
        for part in parts:
            steps += _one_command(base, part, [*before, *steps], tool)
    return [replace(step, arm=arm or step.arm) for step in steps]


def _take_arm(clause: str) -> tuple[str, str]:
    """Which arm a clause names, and the clause without it."""
    found = _ARM.search(clause)
    if found is None:
        found = _ARM_ACTS.match(clause)
        if found is None or not verb(clause[found.end() :].split(" ")[0].strip(",")):
            return "", clause
    side = "" if "finger" in found[0].lower() else (found["side"] or "").lower()
    return {"two": "both"}.get(side, side), (clause[: found.start()] + " " + clause[found.end() :]).strip()


def _without_agent(tokens: list[str]) -> list[str]:
    """A statement as a command: "the robot picks up ..." is "picks up ..."."""
    text = " ".join(tokens)
    agent = re.match(
        rf"^(?:{_AGENT}|it|he|she|you|we|i)\s+(?:(?:is|are|was|should|must|will|then|has|to|needs|carefully)\s+)*",
        text,
        re.I,
    )
    if agent and verb(text[agent.end() :].split(" ")[0]):
        return text[agent.end() :].split(" ")
    return tokens


def _passive(tokens: list[str]) -> tuple[str, list[str]] | None:
    """Verb and the rest of "the cube is placed on the plate"; None for other sentences."""
    lower = [token.lower() for token in tokens]
    for i, word in enumerate(lower[1:-1], 1):
        if (
            word in ("is", "are", "be", "being", "gets", "get")
            and lower[i + 1].endswith(("ed", "t", "n"))
            and verb(lower[i + 1])
        ):
            if any(w in _RELATIVE for w in lower[1:i]):
                return None
            end = i
            while end > 1 and lower[end - 1] in _AUXILIARIES:
                end -= 1
            return verb(lower[i + 1]), [*tokens[:end], *tokens[i + 2 :]]
    return None


def _verb_and_rest(tokens: list[str], inside: bool) -> tuple[str, list[str]]:
    """The verb of a command in its base form, and what follows it; "" where there is none. `inside`: not the first command."""
    lower = [token.lower() for token in tokens]
    base, rest = verb(lower[0]), tokens[1:]
    follows = lower[1] if len(lower) > 1 else ""
    marks = words.DETERMINERS | {"it", "them", "up", "down"}
    if len(lower) == 2 and base in words.THINGS and follows not in words.THINGS and verb(follows):
        base = ""  # "button press"
    unknown = not base and lower[0] not in words.DETERMINERS
    if unknown and (follows in marks or (inside and follows in words.PARTICLES)):
        base = words.misspelled_verb(lower[0]) or lower[0]
    elif unknown and len(lower) > 2:
        near = words.misspelled_verb(lower[0])
        base = near if near and not any(verb(word) for word in lower[1:3]) else ""
    if not base:
        return "", tokens
    # "pick and place the cube", "pick place cube": the last of several verbs in a row decides.
    while rest:
        link = 1 if rest[0].lower() in ("and", "&", ",", "/") else 0
        second = verb(rest[link].lower()) if len(rest) > link else ""
        after = rest[link + 1].lower() if len(rest) > link + 1 else ""
        noun = second in words.NOUNS and not link and base not in ("pick", "grab")
        if not second or second in words.GO or noun:
            break
        if link and after in words.PARTICLES | {"it", "them"} and base not in words.TAKE:
            break
        base, rest = second, rest[link + 1 :]
    return base, rest


def _without_verb(tokens: list[str]) -> Step:
    """A name instead of a sentence: "red cube to the blue bowl", "cube stacking", "door open"."""
    lower = [token.lower() for token in tokens]
    phrases = _phrases(tokens)
    ascii_only = all(token.isascii() for token in tokens)
    goals = [(prep, noun) for prep, noun in phrases[1:] if prep in _PLACES and noun]
    if goals and ascii_only and _noun(phrases[0][1]):
        prep, noun = goals[0]
        return Step("move", _noun(phrases[0][1]), _noun(noun), _PLACES[prep] or prep)
    verbs = [i for i, word in enumerate(lower) if i and verb(word)]
    if verbs and not set(lower) & words.DETERMINERS and ascii_only:
        named = [
            token for i, token in enumerate(tokens) if i not in verbs and token.lower() not in words.PARTICLES
        ]
        return Step(verb(lower[verbs[0]]), _noun(named))
    return Step("")


def _gapped(base: str, rest: list[str]) -> list[list[str]]:
    """Splits "the mug on the left plate and the cup on the right plate" into what follows the verb twice."""
    if base not in words.PUT:
        return [rest]
    lower = [token.lower() for token in rest]
    parts, start = [], 0
    for i, word in enumerate(lower):
        links = word in ("and", ",", "then") and i + 1 < len(lower) and lower[i + 1] in words.DETERMINERS
        if (
            links
            and _has_place(rest[start:i])
            and _has_place(rest[i + 1 :])
            and "between" not in lower[start:i]
        ):
            parts.append(rest[start:i])
            start = i + 1
    return [*parts, rest[start:]]


def _has_place(tokens: list[str]) -> bool:
    return any(prep in _PLACES or _position(prep) for prep, noun in _phrases(tokens)[1:] if noun)


def _position(prep: str) -> bool:
    return prep.endswith(" of") and prep.split(" ")[0] in ("to", "on", "at", "in")


def _phrases(tokens: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The noun phrase before the first preposition (with ""), then each preposition with what follows it."""
    phrases: list[tuple[str, list[str]]] = [("", [])]
    i, lying = 0, False
    while i < len(tokens):
        prep, size = _preposition(tokens, i)
        if prep and prep in _MODIFIERS:
            phrases[-1][1].extend(tokens[i : i + size])
            i, lying = i + size, False
            continue
        word = tokens[i].lower()
        if not size:
            relative = word in _RELATIVE and i > 0 and (tokens[i - 1].lower() not in words.PARTICLES)
            lying = lying or ((relative or word in _LYING) and bool(phrases[-1][1]))
            phrases[-1][1].append(tokens[i])
            i += 1
            continue
        since = [token.lower() for token in phrases[-1][1]]
        told = next((since[i + 1 :] for i in range(len(since)) if since[i] in _RELATIVE), [])
        if (
            len(told) == 2
            and told[0] in ("is", "are")
            and not told[1].endswith(("ed", "ing"))
            and told[1] not in _LYING
        ):
            lying = False  # "which is blue" is all that is said of it
        if lying:  # the place belongs to the thing: "the cup that is on the shelf"
            phrases[-1][1].extend(tokens[i : i + size])
            lying = False
        else:
            phrases.append((prep, []))
        i += size
    return phrases


def _preposition(tokens: Sequence[str], at: int) -> tuple[str, int]:
    """The longest preposition at a place, and how many words it has."""
    lower = [token.lower() for token in tokens[at : at + _LONGEST]]
    for size in range(min(_LONGEST, len(lower)), 0, -1):
        joined = " ".join(lower[:size])
        if joined in _PLACES or joined in _SOURCES or joined in _MEANS or joined in _MODIFIERS:
            return joined, size
        # "to the left of", "in the middle of", "on the other side of"
        inner = [word for word in lower[1 : size - 1] if word not in ("side", "other", "opposite")]
        framed = size > 2 and lower[0] in ("to", "on", "at", "in") and lower[size - 1] == "of"
        vertical = ("top", "bottom") if lower[0] == "to" else ()
        sides = all(word in _SIDES or word in vertical for word in inner[1:])
        if framed and inner[:1] == ["the"] and sides and len(inner) < 4:
            return joined, size
    return "", 0


def _noun(tokens: Sequence[str]) -> str:
    """A thing's name without articles and without how something is done; "" for a pronoun."""
    kept = [token for token in tokens if token != "&"]
    while kept and (kept[-1].lower() in words.MANNER or kept[-1] == ","):
        if len(kept) > 2 and kept[-2].lower() in ("is", "are"):
            break  # "the box that is open"
        kept.pop()
    while kept and (kept[0].lower() in words.DETERMINERS - {"another"} or kept[0] in (",", "and", "then")):
        if kept[0].lower() in ("one", "this", "that") and len(kept) == 1:
            break
        kept = kept[1:]
    name = " ".join(kept).replace(" ,", ",")
    lower = name.lower()
    return "" if lower in words.PRONOUNS | words.PEOPLE | words.DETERMINERS else name


def _things(tokens: list[str]) -> list[str]:
    """The things that a phrase joins: "the fork and the knife" are two, "salt and pepper" and "yellow and white mug" one."""
    lower = [token.lower() for token in tokens]
    listed = "," in lower
    if not tokens:
        return [""]
    parts: list[list[str]] = []
    start = 0
    for i, word in enumerate(lower):
        own = i + 1 < len(lower) and lower[i + 1] in words.DETERMINERS | words.NUMBERS
        if (
            word in ("and", ",", "&")
            and i > start
            and (own or listed or lower[:1] == ["both"])
            and "between" not in lower[:i]
        ):
            if any(w in words.PLACE_WORDS for w in lower[start:i]) and not own:
                continue
            parts.append(tokens[start:i])
            start = i + 1
    parts.append(tokens[start:])
    parts = [part for part in parts if part] or [tokens]
    head = parts[-1][-1]
    for part in parts[:-1]:  # "the red and the green cube"
        if all(word.lower() in words.COLOURS | words.POSITIONS | words.DETERMINERS for word in part):
            part.append(head)
    names = [_noun(part) for part in parts]
    return [name for name in names if name] or [""]


def _one_command(base: str, rest: list[str], before: Sequence[Step], tool: str) -> list[Step]:
    """The steps that one verb and what follows it ask for."""
    held = next((step for step in reversed(before) if step.object), None)
    if held is None and before and before[-1].target:  # "drive to the red block and pick it up"
        held = Step(before[-1].verb, before[-1].target)
    if (
        base in words.TRAVEL
        and {word.lower() for word in rest} <= _HOME | words.DETERMINERS | {"to", "position"}
        and rest
    ):
        return [Step(base)]
    if base in words.GO and base not in words.PUT:
        ways = [noun for prep, noun in _phrases(rest)[1:] if prep in ("to", "towards", "toward")]
        return [Step(base, "", _noun(ways[0]) if ways and base in words.TRAVEL else "")]
    rest = _without_particle(base, rest, held is not None)
    phrases = _phrases(rest)
    thing = phrases[0][1]
    places: list[tuple[str, list[str]]] = []
    sources: list[list[str]] = []
    means: list[tuple[str, list[str]]] = []
    if len(thing) > 1 and thing[0].lower() in ("me", "us", "him", "her") and thing[1].lower() not in ("and",):
        thing = thing[1:]  # "hand me the cup"
    for i, (prep, noun) in enumerate(phrases[1:], 1):
        core = {word.lower() for word in noun} - words.DETERMINERS
        if (
            phrases[i - 1][0] in _SOURCES
            and noun
            and core <= words.POSITIONS | {"side"}
            and i + 1 < len(phrases)
        ):
            continue  # "from the bowl on the right into ...": of the source
        if not noun:
            if (
                prep in ("inside", "in", "on", "next to", "beside", "under", "underneath", "near", "around")
                and base in words.PUT
            ):
                places.append((prep, noun))
        elif _MANNER_OF.match(" ".join(noun)) or prep == "of":
            continue
        elif prep in _SOURCES:
            sources.append(noun)
        elif prep == "by":  # "by the handle", "by colour" say how; "place it by the sink" says where
            if base in words.PUT and noun[0].lower() in words.DETERMINERS:
                places.append((prep, noun))
        elif prep == "with" and base in _JOINS:
            places.append(("to", noun))
        elif prep in _MEANS:
            means.append((prep, noun))
        else:
            places.append((prep, noun))
    tool, thing = _tool(base, tool, thing, means)
    if base in words.PUT and len(thing) > 1 and thing[-1].lower() in ("left", "right"):
        thing, places = thing[:-1], [("to", thing[-1:]), *places]
    thing, places = _attach(base, thing, places)
    if not _noun(thing) and not thing and places and held is None and base in words.ACT | words.TAKE:
        prep, thing = places.pop(0)  # "press on the button", "point at the cup"
    goal, place = _goal(places, held)
    names = _things(thing)
    if _OWN_HAND.match(names[0]) and base not in words.TAKE:
        return [Step(base)]  # "open the gripper"
    if base in words.POUR and sources:
        names = [_noun(sources[-1]) or names[0]]
    if tool and base not in words.ACT:  # "use the tongs to pick up the sushi"
        return [Step("use", tool), *(Step(base, name, goal, place) for name in names)]
    if tool and names[0]:
        return [Step(base, tool, names[0], "at")]
    if tool and held is not None:  # "place the tomato on the board and slice it with the knife"
        return [Step(base, tool, held.object, "at")]
    moved = base not in words.AREA or bool(goal)
    return (
        [Step(base, name, goal, place, moved) for name in names]
        if names[0]
        else [_referring(base, before, goal, place, held)]
    )


def _without_particle(base: str, rest: list[str], inside: bool) -> list[str]:
    """What follows the verb, without the particles of "turn on the stove", "put the cup back on the shelf", "reach for"."""
    lower = [token.lower() for token in rest]
    start = 0
    while start < len(lower):
        word, after = lower[start], lower[start + 1] if start + 1 < len(lower) else ""
        prep, size = _preposition(rest, start)
        alone = word in words.PARTICLES and (
            not prep or (base not in words.PUT and size == 1) or (not inside and size == 1)
        )
        # "out of the box", "on top of": more than a particle; "put in the box" after another command says where.
        if (
            word in ("for", "at", "back", "away", "up", "down", "together", "over")
            and after
            and base not in ("look",)
            or alone
        ):
            if word == "over" and base in words.PUT and inside and after != "to":
                break
            start += 1
            continue
        break
    return rest[start:]


def _tool(
    base: str, tool: str, thing: list[str], means: list[tuple[str, list[str]]]
) -> tuple[str, list[str]]:
    """What a deed is done with, and the thing; a "with" that only describes the thing goes back to it."""
    for prep, noun in means:
        if (
            prep in ("using", "via")
            or base in words.TOOL
            or (base in words.ACT and base not in words.CONTAINERS)
        ):
            tool = tool or (_noun(noun) if base not in words.PUT else "")
        elif base in words.CONTAINERS:
            tool = tool or _noun(noun)
        else:
            thing = [*thing, prep, *noun]
    return tool, thing


def _attach(
    base: str, thing: list[str], places: list[tuple[str, list[str]]]
) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Gives places that describe the thing back to it: all after "pick up", all but the target after "put"."""
    if base in words.PUT | words.POUR:
        targets = places
        while len(targets) > 1 and _describes(targets):
            thing, targets = _described(thing, *targets[0]), targets[1:]
        if len(targets) > 1:
            prep, noun = targets[0]
            for other, more in targets[1:]:
                noun = _described(noun, other, more)
            targets = [(prep, noun)]
        return thing, targets
    kept = []
    for prep, noun in places:
        strong = (
            prep in _STRONG
            or prep.startswith("to ")
            or (base in _PLACED_BY_ACTS and (_PLACES.get(prep) in ("on", "in") or prep == "over"))
        )
        if strong and (base in words.TAKE | words.ACT):
            kept.append((prep, noun))
        elif thing:
            thing = _described(thing, prep, noun)
        else:
            kept.append((prep, noun))
    return thing, kept[:1]


def _describes(places: list[tuple[str, list[str]]]) -> bool:
    """Whether the first of several places says which thing is meant rather than where it goes."""
    prep, noun = places[0]
    core = [word.lower() for word in noun if word.lower() not in words.DETERMINERS]
    if not core:
        return False
    where = bool(set(core) & words.SURFACES) or all(
        word in words.POSITIONS | {"side", "corner"} for word in core
    )
    return where or (prep not in _STRONG and places[1][0] in _STRONG)


def _described(thing: list[str], prep: str, noun: list[str]) -> list[str]:
    """A thing with the place that tells it from others; a table tells nothing."""
    core = [word.lower() for word in noun if word.lower() not in words.DETERMINERS | words.MANNER]
    return (
        thing
        if prep == "on" and core and all(word in words.SURFACES for word in core)
        else [*thing, *prep.split(" "), *noun]
    )


def _goal(places: list[tuple[str, list[str]]], held: Step | None) -> tuple[str, str]:
    """The target and how the object ends up there. "inside" and "on it" mean what the sentence named before."""
    if not places:
        return "", "on"
    prep, noun = places[0]
    place = _PLACES.get(prep, prep) or prep
    lower = " ".join(noun).lower()
    if not noun or lower in ("it", "them", "that", "there"):
        if held is None:
            return "", place
        # "put the bowl in the drawer and the spoon in it": the drawer; "put the plate on the table and the cup on it": the plate
        found = held.target if held.target and place == held.place == "in" else held.object
        return found, place
    return _noun(noun), place


def _referring(base: str, before: Sequence[Step], goal: str, place: str, held: Step | None) -> Step:
    """A command about what was named before ("and put it on the plate"), or about nothing."""
    if held is None:
        return Step(base, "", goal, place)
    name = held.object
    if base in words.CONTAINERS:
        opened = [step.object for step in before if step.verb in _OPENED and step.object]
        if held.target and held.place == "in":
            name = held.target  # "put the bowl in the drawer and close it"
        elif opened:
            name = opened[-1]
    return Step(base, name, "" if goal == name else goal, place)


def _join(steps: list[Step], step: Step) -> None:
    """Adds a step, or completes the last one: "pick up the cup" and "put it on the plate" are one."""
    last = steps[-1] if steps else None
    if last is None or not last.object:
        steps.append(step)
        return
    if not step.object:
        if step.target and not last.target:
            steps[-1] = replace(last, target=step.target, place=step.place)
        return
    earlier = [name for s in steps for name in (s.target, s.object) if name and not _ONE.search(name)]
    if earlier:  # "the red cube ... the blue one"
        head = earlier[-1].split(" ")[-1]
        step = replace(step, object=_ONE.sub(head, step.object))
    if earlier:
        head = (step.object or earlier[-1]).split(" ")[-1]
        step = replace(step, target=step.target if head == "one" else _ONE.sub(head, step.target))
    short = [n for s in steps for n in (s.object, s.target) if n.lower().endswith(" " + step.object.lower())]
    if short:  # "open the top cabinet ... then close the cabinet"
        step = replace(step, object=short[-1])
    same = step.object.lower() == last.object.lower()
    if same and not last.target:
        for i in range(len(steps) - 1, -1, -1):  # "take the apple and the pear and put them in the basket"
            if (
                steps[i].target
                or not steps[i].object
                or (i < len(steps) - 1 and steps[i].verb not in words.TAKE)
            ):
                break
            steps[i] = replace(
                steps[i], verb=step.verb, target=step.target, place=step.place, arm=last.arm or step.arm
            )
    elif same and not step.target:
        return
    elif _is_tool(last, step):
        # "pick up the sponge and wipe the table", "take the bottle and pour water into the cup"
        steps[-1] = replace(
            last, verb=step.verb, target=step.target or step.object, place=step.place if step.target else "at"
        )
    else:
        steps.append(step)


def _is_tool(last: Step, step: Step) -> bool:
    """Whether what was just taken is what the next deed is done with."""
    free = last.verb in _KEPT and not last.target and last.arm == step.arm
    same = step.target.lower() == last.object.lower()
    return free and not same and step.verb in _WITH_TOOL and (step.held or step.verb in words.AREA)
