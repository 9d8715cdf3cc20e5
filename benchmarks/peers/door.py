"""The way from a tool to the gateway, in the peers' environment: no more than `http.client`.

    door = Door(task)                      # a task as `worker.py` reads it
    door.policy(messages)                  # the reply's text; "" once the budget is spent
    door.writer(messages, n=3, temperature=1.0, seed=7)        # three texts
    door.judge(query, reply)               # Opinion(score=0.75, feedback="Clarity 3 of 5 (...)")
    door.left()                            # policy calls that may still be made

Every tool goes through the same few lines, so none is faster or slower for its client's sake. An
answer over the budget is an empty text, and its score is 0: tools that measure on go on without
harm, and what was measured only in part looks worse than it is.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

THREADS = 8
Turn = dict[str, str]


class Spent(Exception):
    """The budget is spent: the writer cannot be asked any more."""


@dataclass(frozen=True)
class Opinion:
    """What the judge said of one reply."""

    score: float
    """0 to 1."""
    feedback: str
    criteria: dict[str, float]
    """1 to 5 each."""


NOTHING = Opinion(0.0, "No reply: the budget is spent.", {})


class Door:
    """A run at the gateway, from outside. Safe to use from several threads."""

    def __init__(self, url: str) -> None:
        found = urlsplit(url)
        self._host, self._base = found.netloc, found.path
        self._local = threading.local()
        self.spent = False
        """Whether anything was refused for the budget."""

    def policy(self, messages: Sequence[Turn]) -> str:
        try:
            return self._chat("policy", {"messages": list(messages)})[0]
        except Spent:
            return ""

    def writer(self, messages: Sequence[Turn], **sampling: Any) -> list[str]:
        """`n` texts. Raises `Spent`."""
        return self._chat("writer", {"messages": list(messages), **sampling})

    def judge(self, query: str, reply: str) -> Opinion:
        if not reply:
            return NOTHING
        status, said = self._ask("POST", "/judge", {"query": query, "reply": reply})
        if status != 200:
            raise RuntimeError(f"the judge answered {status}: {said}")
        return Opinion(said["score"], said["feedback"], said["criteria"])

    def left(self) -> int:
        return int(self._ask("GET", "/left", None)[1]["calls"])

    def _chat(self, role: str, body: dict[str, Any]) -> list[str]:
        status, said = self._ask("POST", f"/{role}/v1/chat/completions", {"model": role, **body})
        if status == 402:
            self.spent = True
            raise Spent(said["error"]["message"])
        if status != 200:
            raise RuntimeError(f"the {role} answered {status}: {said}")
        return [one["message"]["content"] for one in said["choices"]]

    def _ask(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        for attempt in (1, 2):
            line = getattr(self._local, "line", None)
            if line is None:
                line = self._local.line = http.client.HTTPConnection(self._host, timeout=3600)
            try:
                line.request(method, self._base + path, data, {"Content-Type": "application/json"})
                answer = line.getresponse()
                return answer.status, json.loads(answer.read())
            except (http.client.HTTPException, ConnectionError):
                self._local.line = None  # a connection that was idle may have been closed
                if attempt == 2:
                    raise
        raise AssertionError


def laid_out(instruction: str, shown: Sequence[dict[str, str]], query: str) -> list[Turn]:
    """A prompt as every method here is run and measured: instruction, demonstrations as earlier
    turns, the query."""
    turns: list[Turn] = [{"role": "system", "content": instruction}] if instruction else []
    for one in shown:
        turns.append({"role": "user", "content": one["query"]})
        turns.append({"role": "assistant", "content": one["reply"]})
    return [*turns, {"role": "user", "content": query}]


def measured(
    door: Door, instruction: str, shown: Sequence[dict[str, str]], queries: Sequence[str]
) -> list[tuple[str, Opinion]]:
    """Reply and opinion for each query, asked at once."""

    def one(query: str) -> tuple[str, Opinion]:
        reply = door.policy(laid_out(instruction, shown, query))
        return reply, door.judge(query, reply)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(one, queries))
