"""Everything that reads what others wrote, as functions of arbitrary input: what fuzzing calls.

    for name, target in targets(folder).items():
        target.run(input drawn from target.inputs)

A target returns whether the input was read (True) or refused in one of our own ways (False), and
raises otherwise.
Inputs are mostly documents that are right but for a few damaged places: nonsense from end to end
is refused at the door and finds little.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from trueup.aligned import Aligned
from trueup.data import read_demonstrations, read_queries
from trueup.errors import DataError, JudgeError, ModelError, SettingsError, TrueupError
from trueup.jobs.job import Job
from trueup.judges import ask
from trueup.judges.criteria import POOL, load_criteria
from trueup.judges.dynamic import Dynamic
from trueup.judges.likelihood import RATING, Likelihood
from trueup.judges.pairwise import WrittenPairs
from trueup.models import shape, wire
from trueup.models.endpoint import Endpoint
from trueup.models.line import Answer, Line
from trueup.models.patience import Patience, told
from trueup.models.refusals import understood
from trueup.models.scripted import Scripted
from trueup.prompt.candidates import Measurement
from trueup.prompt.prompt import Prompt
from trueup.prompt.writing import Writing
from trueup.types import (
    Choice,
    Demonstration,
    Message,
    Query,
    Reply,
    Request,
    Sampling,
    Score,
    TokenLogprob,
    Verdict,
)

QUERY = Query("How do I mend a kite?")
LOOP = asyncio.new_event_loop()


@dataclass(frozen=True)
class Target:
    inputs: st.SearchStrategy[Any]
    run: Callable[[Any], bool]


# -- inputs -------------------------------------------------------------------------------------

LETTERS = st.characters()  # half surrogate pairs included: models cut emojis in two
ODD = st.sampled_from(
    ["", "\0", "\ud83d", "{{query}}", "BEGIN QUERY", "NaN", "-Infinity", "1e999", "9" * 400,
     "é" * 50, "[" * 500, '{"a":' * 200, "```json\n", "```", "</think>", "\u202e",
     "\r\n", "\ufeff", "null"]
)  # fmt: skip
TEXT = st.text(LETTERS, max_size=30) | ODD
NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -(10**30), 2**63])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def damaged(draw: st.DrawFn, whole: Any) -> Any:
    """A JSON value with some of its parts replaced, removed or wrapped."""
    value = json.loads(json.dumps(whole))
    for _ in range(draw(st.integers(0, 3))):
        value = _replaced(draw, value)
    return value


def _replaced(draw: st.DrawFn, value: Any) -> Any:
    if isinstance(value, dict) and value and draw(st.integers(0, 3)):
        key = draw(st.sampled_from(sorted(value)))
        if draw(st.integers(0, 5)) == 0:
            return {name: one for name, one in value.items() if name != key}
        return {**value, key: _replaced(draw, value[key])}
    if isinstance(value, list) and value and draw(st.integers(0, 3)):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], _replaced(draw, value[place]), *value[place + 1 :]]
    return draw(VALUES | st.just([value]) | st.just([value, value]))


@st.composite
def torn(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> str:
    """A text with some places cut out, doubled or written over."""
    text = draw(texts)
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 20)))
        middle = draw(TEXT | st.just("") | st.just(text[start:end] * 2))
        text = text[:start] + middle + text[end:]
    return text


def documents(whole: Any) -> st.SearchStrategy[str]:
    """A JSON document in many states of health."""
    written = damaged(whole).map(lambda value: json.dumps(value, ensure_ascii=False))
    return torn(written) | written | TEXT


def raw(texts: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    """As bytes, not always UTF-8."""
    coded = texts.map(lambda text: text.encode("utf-8", "surrogatepass"))
    return coded | st.tuples(coded, st.binary(max_size=8)).map(b"".join) | st.binary(max_size=60)


def said(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """As a model says it: with prose, fences or thoughts around."""
    around = st.sampled_from(
        ["{}", "```json\n{}\n```", "<think>{{</think>{}", "Sure! {} I hope", "{}{}"]
    )
    return st.tuples(around, texts).map(lambda both: both[0].replace("{}", both[1]))


# -- what is damaged ----------------------------------------------------------------------------

TOKEN = {"token": "Yes", "logprob": -0.5, "top_logprobs": [{"token": "No", "logprob": -1.5}]}
CHAT = {
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": '{"score": 4, "why": "good"}'},
            "logprobs": {"content": [TOKEN]},
        }
    ],
    "usage": {
        "prompt_tokens": 9,
        "completion_tokens": 2,
        "prompt_tokens_details": {"cached_tokens": 4},
    },
    "timings": {"cache_n": 1, "predicted_n": 2},
}
OLDER = {
    "choices": [
        {
            "text": "hello",
            "finish_reason": "length",
            "logprobs": {
                "tokens": ["a", "b"],
                "token_logprobs": [None, -0.5],
                "top_logprobs": [None, {"b": -0.5}],
            },
        }
    ]
}
ERROR = {"error": {"message": "temperature is not supported", "code": 400, "param": "temperature"}}
SCHEMA = {
    "type": "object",
    "properties": {"score": {"type": "integer"}, "why": {"type": "string", "enum": ["good"]}},
    "required": ["score"],
    "additionalProperties": False,
}
SCORES = {"Clarity": {"reason": "it is", "score": 4}, "Safety": {"reason": "so so", "score": "3/5"}}
SELECTION = {
    "analysis": {"topic": "t", "intent": "i"},
    "reasoning": "r",
    "criteria": ["Clarity", "Safety"],
}
REWRITE = {"analysis": "a", "plan": "p", "instruction": "Answer kindly and say what you know."}
ROWS = [
    {"query": "How do I mend a kite?", "category": "everyday", "should_answer": True},
    {"prompt": "Why?", "history": [{"role": "user", "content": "x"}], "reference": "y"},
]
SHOWN = [{"query": "How?", "reply": "So.", "shows_answer": True, "category": "c"}]
JOB = """policy = "endpoint:http://localhost:8000#m"
judge = "dynamic"
data = "my.jsonl"
calls = 100
seed = 3
budget_usd = 2.5
k = 2
[prices]
policy = [0.1, 0.2]
"""
CRITERIA = """[[criterion]]
name = "Signed"
good = "ends with a signature"
worst = "none"
remedies = ["Sign."]
check = "regex"
pattern = '-- me$'
[[criterion]]
name = "Short"
good = "is short"
check = "length"
most = 40
"""


# -- targets ------------------------------------------------------------------------------------


def targets(folder: Path) -> dict[str, Target]:
    """By name. Files are written into the folder."""
    prompt = Prompt("Be kind.", (Demonstration("How?", 'So "it" is.\n', "c"),))
    aligned = Aligned("endpoint:http://h#m", prompt).toml()
    return {
        "wire: answers": Target(damaged(CHAT) | damaged(OLDER) | VALUES, _answer),
        "wire: errors": Target(st.tuples(st.integers(200, 599), raw(documents(ERROR))), _error),
        "wire: lists": Target(damaged({"data": [{"id": "m", "embedding": [1.0]}]}), _lists),
        "http: bodies": Target(
            st.tuples(
                st.sampled_from([200, 200, 200, 400, 429, 500]),
                raw(documents(CHAT) | documents(OLDER) | documents(ERROR)),
                st.sampled_from(["plain", "schema", "logprobs", "raw", "n"]),
            ),
            _http,
        ),
        "http: waits": Target(st.tuples(TEXT, TEXT), lambda both: _number(told(*both))),
        "shape": Target(said(documents({"score": 4, "why": "good"})), _shape),
        "ask": Target(said(documents(SCORES)), _parsed),
        "ask: scores": Target(VALUES | TEXT, _scored),
        "dynamic": Target(st.tuples(said(documents(SELECTION)), said(documents(SCORES))), _dynamic),
        "pairs": Target(said(documents({"reason": "r", "better": "A"})), _pairs),
        "writing": Target(said(documents(REWRITE)), _writing),
        "likelihood": Target(
            st.lists(st.tuples(TEXT | st.sampled_from(["Yes", " no", "5"]), st.floats())), _likely
        ),
        "data: json": Target(
            raw(documents(ROWS[:1]) | documents(ROWS[1:])), _file(folder / "a.json", read_queries)
        ),
        "data: jsonl": Target(
            raw(st.lists(documents(ROWS[0]) | documents(ROWS[1]), max_size=4).map("\n".join)),
            _file(folder / "a.jsonl", read_queries),
        ),
        "data: csv": Target(
            raw(torn(st.just('query,category,should_answer\n"How, why?",x,true\nWhy?,y,no\n'))),
            _file(folder / "a.csv", read_queries),
        ),
        "data: text": Target(raw(TEXT), _file(folder / "a.txt", read_queries)),
        "data: gzip": Target(
            st.tuples(raw(documents(ROWS[0])), st.binary(max_size=9), st.integers(0, 40)).map(
                lambda parts: (gzip.compress(parts[0], 1) + parts[1])[parts[2] // 20 :]
            ),
            _file(folder / "a.jsonl.gz", read_queries),
        ),
        "data: demonstrations": Target(
            raw(documents(SHOWN)), _file(folder / "d.json", read_demonstrations)
        ),
        "toml: job": Target(raw(torn(st.just(JOB))), _file(folder / "job.toml", _settled)),
        "toml: aligned": Target(
            raw(torn(st.just(aligned))), _file(folder / "aligned.toml", Aligned.load)
        ),
        "toml: criteria": Target(
            raw(torn(st.just(CRITERIA))), _file(folder / "criteria.toml", load_criteria)
        ),
    }


def _answer(data: Any) -> bool:
    read = False
    for n in (1, 3):
        try:
            reply = wire.read_reply(data, Request("x", Sampling(n=n), top_logprobs=2), 0.1)
        except wire.Unreadable:
            continue
        read = True
        assert 1 <= len(reply.choices) <= n
        assert all(isinstance(choice.text, str) for choice in reply.choices)
        assert reply.usage.tokens_in >= 0 and reply.usage.tokens_out >= 0
    wire.hidden_error(data)
    wire.reports_usage(data)
    return read


def _error(given: tuple[int, bytes]) -> bool:
    complaint = wire.read_complaint(given[1])
    assert len(complaint.text) <= 300
    understood(given[0], complaint, {"seed", "n"})
    return bool(complaint.text)


def _lists(data: Any) -> bool:
    for model in wire.read_models(data):
        assert isinstance(model.name, str)
    try:
        rows = wire.read_embeddings(data, 1)
    except wire.Unreadable:
        return False
    assert len(rows) == 1
    return True


ASKED = {
    "plain": Request((Message("system", "s"), Message("user", "u"))),
    "schema": Request((Message("user", "u"),), schema=SCHEMA),
    "logprobs": Request((Message("user", "u"),), top_logprobs=3),
    "raw": Request("once", Sampling(max_tokens=3)),
    "n": Request((Message("user", "u"),), Sampling(n=3)),
}


def _http(given: tuple[int, bytes, str]) -> bool:
    status, body, kind = given
    endpoint = Endpoint("http://h", "m", patience=Patience(attempts=3, first_wait=0))

    async def once(self: Line, path: str, sent: bytes | None) -> Answer:
        return Answer(status, body, {}, 0.1)

    async def asked() -> bool:
        try:
            reply = await endpoint.reply(ASKED[kind])
        except ModelError as error:
            assert len(str(error)) < 3000
            return False
        assert reply.choices
        json.dumps([choice.text for choice in reply.choices])
        return True

    kept, Line._once = Line._once, once  # type: ignore[method-assign]
    try:
        return bool(_wait(asked()))
    finally:
        Line._once = kept  # type: ignore[method-assign]


def _number(seconds: float | None) -> bool:
    assert seconds is None or 0 <= seconds < float("inf")
    return seconds is not None


def _shape(text: str) -> bool:
    fitted = shape.fitting(text, SCHEMA)
    if fitted.problem is not None:
        return False
    assert shape.obeyed(fitted.text, SCHEMA)
    return True


def _parsed(text: str) -> bool:
    try:
        assert isinstance(ask.parsed(text), dict)
    except ask.Unreadable:
        return False
    return True


def _scored(value: Any) -> bool:
    try:
        assert 1 <= ask.read_score(value) <= 5
    except ask.Unreadable:
        return False
    return True


def _dynamic(texts: tuple[str, str]) -> bool:
    def script(request: Request) -> str:
        assert request.schema is not None
        return texts[0] if "criteria" in request.schema["properties"] else texts[1]

    verdict = _wait(Dynamic(Scripted(script), POOL)(QUERY, texts[1]))
    assert (verdict.failed is None) == (verdict.reward is not None)
    assert verdict.reward is None or 1 <= verdict.reward <= 5
    return verdict.failed is None


def _pairs(text: str) -> bool:
    preference = _wait(WrittenPairs(Scripted(lambda request: text))(QUERY, "one", text))
    return preference.failed is None


def _writing(text: str) -> bool:
    writing = Writing(Scripted(lambda request: text), Sampling())
    bad = Measurement(QUERY, text, Verdict((Score("Clarity", 2.0, text),)))
    written = _wait(writing.rewrite("Be kind.", [bad], [("Be.", None)], count=2, focus="Clarity"))
    assert all(isinstance(one, str) and one.strip() for one in written.instructions)
    return bool(written.instructions)


def _likely(top: list[tuple[str, float]]) -> bool:
    def script(request: Request) -> Reply:
        pairs = tuple((token, wire.probability(value)) for token, value in top)
        token = TokenLogprob(pairs[0][0], pairs[0][1], pairs) if pairs else TokenLogprob("", -1.0)
        return Reply((Choice("x", logprobs=(token,)),))

    read = False
    for judge in (Likelihood(Scripted(script)), Likelihood(Scripted(script), scale=RATING)):
        verdict = _wait(judge(QUERY, "reply"))
        assert verdict.reward is None or 1 <= verdict.reward <= 5
        read = read or verdict.failed is None
    return read


def _settled(path: Path) -> None:
    job = Job.load(path)
    assert Job.of(job.settled().model_dump()).name == job.name


def _file(path: Path, read: Callable[[Path], Any]) -> Callable[[bytes], bool]:
    def run(content: bytes) -> bool:
        path.write_bytes(content)
        try:
            read(path)
        except TrueupError as error:
            assert isinstance(error, DataError | SettingsError | JudgeError)
            assert len(str(error)) < 5000
            return False
        return True

    return run


def _wait(work: Coroutine[Any, Any, Any]) -> Any:
    return LOOP.run_until_complete(work)
