# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A vision-language model chooses the events, asked in the background while the arm finishes the event at hand, or holds.

No tick ever waits for it. A question is asked shortly before an event ends, before the first one, and when the arm stalls.
What the server does not answer in time, or answers with what the checkpoint does not know, the grammar decides; without a
grammar the arm holds and the server is asked again.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from lerobot_wallwm.language.answers import Checked
from lerobot_wallwm.language.caption_text import plain_line
from lerobot_wallwm.language.client import VlmClient
from lerobot_wallwm.language.config import VlmConfig
from lerobot_wallwm.policies.planning.planners import GrammarPlanner, Planner
from lerobot_wallwm.policies.planning.vlm_prompt import (
    Moment,
    PlannerAnswer,
    Situation,
    asked_text,
    build_prompt,
    parse_planner_answer,
)

logger = logging.getLogger(__name__)

# All of these are our choice.
AHEAD_S = 1.0  # an event's last second, in which the next one is asked for
MOMENTS = 3  # pictures at now, and this many seconds before, as the team's public planner takes them
CONTINUES = 3  # times in a row that an event may be continued
PAUSES_S = (1.0, 30.0)  # first and longest pause before a failed question without a grammar is asked again


@dataclass
class _Question:
    """One question under way."""

    caption: str
    began: float
    answer: PlannerAnswer | None = None
    failed: str = ""
    over: bool = False
    heard: list[str] = field(default_factory=list)


class VlmPlanner(Planner):
    """Asks an OpenAI-compatible server.

    Args:
        config: Which server, and how patiently.
        templates: Captions that the checkpoint knows; empty if it knows none.
        grammar: Decides where the server does not; None if the checkpoint has none.
        fps: Ticks a second.
        log: Called with a kind and facts: `ask`, `answer`, `ask_failed`, `fallback`.
    """

    source = "vlm"
    wants_pictures = True

    def __init__(
        self,
        config: VlmConfig,
        templates: Sequence[str],
        grammar: GrammarPlanner | None,
        fps: float,
        log: Callable[..., None],
    ):
        self.config, self.templates, self.grammar, self.fps = config, tuple(templates), grammar, fps
        self.log, self.clock = log, time.monotonic
        self.client = VlmClient(config)
        # All attempts together: a tick gives up on the server then, whatever its thread still waits for.
        self.patience = config.timeout_s * config.attempts
        self.moments: deque[tuple[int, dict[str, Tensor]]] = deque(maxlen=MOMENTS)
        self.tick = 0
        self._free = threading.Event()  # not set while a thread still asks, a forgotten question's too
        self._free.set()
        self._forget("")

    def _forget(self, instruction: str) -> None:
        self.instruction = instruction
        self.done: list[str] = []
        self.caption = ""
        self.left: float | None = None
        self.continued = 0
        self._question: _Question | None = None  # an answer to an old instruction finds nobody
        self._not_before, self._pause = 0.0, PAUSES_S[0]
        self._stall = False

    def begin(self, instruction: str) -> None:
        """Starts over; a question under way is forgotten."""
        self._forget(instruction)
        self.moments.clear()
        if self.grammar is not None:
            self.grammar.begin(instruction)

    def see(self, pictures: dict[str, Tensor], state_P: Tensor, tick: int) -> None:
        """Keeps one moment a second, and the present one."""
        second = max(1, round(self.fps))
        if len(self.moments) >= 2 and tick - self.moments[-2][0] < second:
            self.moments.pop()
        self.moments.append((tick, pictures))
        self.tick = tick

    def progress(self, caption: str, remaining: float) -> None:
        """Asks ahead in the event's last second."""
        self.left = remaining / self.fps
        if self.left <= AHEAD_S and self._question is None:
            self._ask()

    def stalled(self, caption: str) -> None:
        """Asks at once, unless a question is under way."""
        self._stall = True
        if self._question is None or self._question.over:
            self._ask()

    def order(self) -> str | None:
        """`switch` when a plan was thrown over while its event still runs."""
        question = self._question
        if question is None or not question.over or question.answer is None or not self.caption:
            return None
        thrown_over = question.caption == self.caption and question.answer.decision == "Replan"
        return "switch" if thrown_over else None

    def next(self) -> str | None:
        """The event of the last answer, the grammar's where there is none, or None while the arm must wait."""
        self.waiting = True
        question = self._question
        if question is None:
            if self.clock() < self._not_before:
                return None  # pausing after a failure, which must not begin the pause anew
            self._ask()
            return None if self._question is not None else self._fall_back("busy")
        if not question.over and self.clock() - question.began > self.patience:
            question.over, question.failed = True, question.failed or "late"
            self.log("ask_failed", reason="late", detail=f"no answer within {self.patience:g} s")
        if not question.over:
            return None
        self._question = None
        if question.answer is None:
            return self._fall_back(question.failed)
        decision, event = question.answer.decision, question.answer.event
        self._pause = PAUSES_S[0]
        if decision == "End":
            self.waiting = False
            return None
        if decision == "Continue":
            self.continued += 1
            if not self.caption or self.continued > CONTINUES:
                return self._fall_back("continued too often" if self.caption else "nothing to continue")
            return self.caption
        return self._go_on(event, self.grammar is not None)

    def peek(self) -> str | None:
        """The answer's event if it is there, else the grammar's."""
        answer = self._question.answer if self._question is not None else None
        return answer.event if answer is not None and answer.event else self._expected()

    def _go_on(self, caption: str, tell: bool) -> str:
        if tell and self.grammar is not None:
            self.grammar.did(caption)
        if self.caption:
            self.done.append(self.caption)
        self.caption, self.continued, self.left, self._stall = caption, 0, None, False
        return caption

    def _fall_back(self, reason: str) -> str | None:
        if self.grammar is None:
            self._not_before = self.clock() + self._pause
            self._pause = min(2 * self._pause, PAUSES_S[1])
            return None
        caption = self.grammar.next()
        self.log("fallback", reason=reason, caption=caption)
        if caption is None:
            self.waiting = False
            return None
        return self._go_on(caption, False)

    def _ask(self) -> None:
        """Starts a question on a thread of its own; one that hangs keeps the next from being asked."""
        if not self._free.is_set():
            return
        self._free.clear()
        question = _Question(self.caption, self.clock())
        left = None if self.left is None else round(self.left, 1)
        at_hand = (self.instruction, tuple(self.done), self.caption, left, self._stall)
        situation = Situation(*at_hand, self._expected() or "", self.templates)
        moments = [Moment((self.tick - tick) / self.fps, pictures) for tick, pictures in self.moments]
        self._question, asked = question, (question, situation, moments)
        # A daemon: a server that hangs must not keep the process from ending.
        threading.Thread(target=self._run, args=asked, name="wallwm-vlm-planner", daemon=True).start()

    def _run(self, question: _Question, situation: Situation, moments: list[Moment]) -> None:
        began = self.clock()
        try:
            prompt = build_prompt(situation, moments)
            self.log("ask", model=self.config.model, text=asked_text(prompt), pictures=len(moments))

            def check(text: str) -> Checked:
                question.heard.append(text)
                answer = parse_planner_answer(text, self.templates)
                question.answer = answer
                return Checked({"decision": answer.decision, "event": answer.event}, {})

            async def request() -> Any:
                async with self.client as client:
                    return await client.ask(prompt, check)

            outcome = asyncio.run(request())
            if outcome.checked is None:
                question.answer, question.failed = None, outcome.reason or "failed"
        except Exception as error:  # whatever goes wrong in here, the arm goes on
            question.answer, question.failed = None, plain_line(f"{type(error).__name__}: {error}", 200)
        self._free.set()  # before the answer counts: whoever takes it may ask again at once
        heard = question.heard[-1] if question.heard else ""
        facts: dict[str, Any] = {"seconds": round(self.clock() - began, 3), "text": heard}
        if question.answer is None:
            self.log("ask_failed", reason=question.failed, detail=self.client.gave_up, **facts)
            logger.warning("The planner's server gave no answer (%s).", question.failed)
        else:
            self.log("answer", decision=question.answer.decision, event=question.answer.event, **facts)
        question.over = True
