# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""English words of manipulation instructions: what a gripper takes, where it puts, what it acts on.

Lists of closed classes (articles, prepositions, particles) and of verbs. A verb that is missing here is still found where an
article or a pronoun follows it.
"""

from __future__ import annotations

import difflib
import functools


def word_set(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


# After these the thing is in the gripper, and has not been put anywhere yet.
TAKE = word_set(
    "pick grab grasp take get fetch lift raise hold retrieve collect gather catch pluck remove extract withdraw unload unpack "
    "detach unhook pinch seize clutch grip unplug disconnect unhang obtain choose select pop unstack"
)
# These carry something to a place.
PUT = word_set(
    "put place set lay move stack insert drop bring carry transfer deliver transport hand pass give hang load pack store throw "
    "toss slide push pull drag roll shift relocate position arrange align attach mount plug connect thread fit slot return leave "
    "release deposit dump add sort stow tuck nest install assemble feed serve guide dip stick hook wrap fasten clip stand balance "
    "rest center centre sprinkle drape drizzle rearrange reposition swap combine hide lower send offer dispose discard deposit organise organize "
    "separate group lean pile restock replace bury sink sling shelve bag slip"
)
POUR = word_set("pour tip empty spill drain decant")
# These act on a thing where it is, perhaps with a tool ("wipe the table with the sponge").
TOOL = word_set(
    "wipe clean wash rinse dry stir mix cut slice chop peel scoop scrape sweep brush scrub mop dust polish write draw erase paint "
    "spray cover fill hammer drill hit knock poke strike spread rub tap screw unscrew tighten loosen dig rake season shovel "
    "vacuum swipe stamp mark spear stab skewer whisk press trace"
)
ACT = TOOL | word_set(
    "open close shut click touch turn rotate twist flip switch toggle fold unfold shake squeeze crush tear rip unlock lock "
    "zip unzip button unbutton tie untie sharpen water uncover light ring straighten smooth flatten iron weigh scan type play tidy "
    "clear reach point look check inspect follow trigger activate deactivate start spin swing bend stretch pet hug make prepare "
    "cook boil fry bake toast heat crack build untangle unwrap undo use approach toggle unroll crumple tilt adjust empty charge "
    "declutter solve tip hover count show find unhinge"
)
# What is cleared or cleaned is not what the gripper holds.
AREA = word_set(
    "clean clear tidy wipe sweep organize organise declutter dust vacuum mop arrange scrub sort wash"
)
# The arm alone.
TRAVEL = word_set("go come move return drive walk navigate")
GO = word_set(
    "go come stop wait home retreat back stay rest finish repeat park reset pause continue do drive walk navigate"
)
VERBS = TAKE | PUT | POUR | ACT | GO
# These are nouns or adjectives as often: after "and" they begin a command only where more follows that only verbs have.
NOUNS = word_set(
    "stack lift cut clean dry light cover screw hammer brush iron button switch drill water paint hook clip plug slot set hand "
    "place stand rest lock zip ring play point mount scoop rake mop stamp fit nest drop toast mark press check start turn home back "
    "hold spray stick tip balance pack load iron peel bag pile park slip sink tap thread wrap group lean pet touch count show feed "
    "open spread shovel empty whisk use serve slice twist button roll season pass slide catch swing deposit set hug close clear "
    "chop dip knock make find center centre sort charge choose position level"
)
# Of these, what two words such as "button press" do not mean as a verb.
THINGS = word_set(
    "button switch screw hammer brush plug hook clip light drill iron water paint lock ring slot hand stick pack bag sink toast "
    "rake mop stamp spray tap"
)
DETERMINERS = word_set(
    "the a an some this that these those its your my his her their our each every all both any another"
)
NUMBERS = word_set("one two three four five six seven eight nine ten")
PRONOUNS = word_set("it them him her this that these those one ones both all")
PEOPLE = word_set("me you us him her myself yourself")
# Words of speech between people, and how a thing is done: they name nothing.
MANNER = word_set(
    "gently carefully slowly quickly again please away up down together upright back over out off on in inside open completely "
    "fully precisely neatly firmly safely properly directly then now too also well securely slightly first once twice around "
    "along forward forwards backward backwards apart immediately upside closed shut ajar smoothly correctly aside clockwise counterclockwise thanks "
    "autonomously straight repeatedly accurately individually half-way halfway upside-down sideways vertically horizontally and"
)
PARTICLES = word_set("up down on off out in over away back together around aside open along forward through")
# Where nearly everything stands: "pick up the cube on the table" says nothing of the cube.
SURFACES = word_set("table desk floor counter ground workspace tabletop countertop workbench surface bench")
POSITIONS = word_set(
    "left right front back middle center centre top bottom rear end side top-left top-right bottom-left bottom-right corner "
    "far near upper lower"
)
COLOURS = word_set(
    "red green blue yellow orange purple pink black white grey gray brown silver gold golden beige violet cyan magenta turquoise "
    "big small large little tall short long light dark first second third other"
)
ROBOTS = word_set(
    "so100 so101 so-100 so-101 koch aloha lekiwi xarm xarm7 franka panda ur5 ur10 widowx viperx trossen moss bimanual sim mobile "
    "static real human scripted test demo dataset data record recording eval train teleop task lerobot cams cam camera final new "
    "merged fixed episodes episode joints raw image follower leader svla tdmpc act smolvla"
)
PLACE_WORDS = word_set("on in at under behind between near inside beside above below")
CONTAINERS = word_set("open close shut unlock lock zip unzip cover uncover seal")
# Function words that other languages share and English does not have.
FOREIGN = word_set(
    "der das dem des ein eine einen einem einer und auf unter neben nimm ihn lege stelle mit zu von "
    "el los las una uno unos del sobre con para por y al lo su "
    "le les une sur dans avec du au aux et puis il gli nel nella sul sulla dei della di e una um uma os nas nos em ao do da no na "
    "het een naar op van och på til og den det w i na do ve bir la de en un"
)
_ENGLISH = word_set("do no i den on in") | DETERMINERS | PRONOUNS

FUNCTION = word_set(
    "the a an and then it them on in into onto to from with of off at up down for is that which out over under by next "
    "inside behind near between"
)


def foreign(words: list[str]) -> bool:
    """Whether function words of other languages outnumber English ones."""
    theirs = sum(word in FOREIGN and word not in _ENGLISH for word in words)
    return theirs > sum(word in FUNCTION for word in words)


@functools.cache
def verb(word: str) -> str:
    """The base form of a known verb ("places", "placing", "placed" give "place"); "" for other words."""
    word = word.lower()
    stems = [word]
    for ending in ("s", "es", "ing", "ed", "d", "ion"):
        if word.endswith(ending) and len(word) - len(ending) >= 2:
            stem = word[: -len(ending)]
            stems += [stem, f"{stem}e"]
            if len(stem) > 2 and stem[-1] == stem[-2]:
                stems.append(stem[:-1])
    irregular = {
        "took": "take",
        "taken": "take",
        "held": "hold",
        "brought": "bring",
        "gave": "give",
        "hung": "hang",
    }
    stems.append(irregular.get(word, word))
    return next((stem for stem in stems if stem in VERBS), "")


@functools.cache
def misspelled_verb(word: str) -> str:
    """The known verb that a word of at least four letters is nearest to ("palce" gives "place"); "" where none is near."""
    near = difflib.get_close_matches(word.lower(), sorted(VERBS), 1, 0.75) if len(word) > 2 else []
    return near[0] if near else ""
