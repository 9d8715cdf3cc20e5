"""What a model is really asked under a prompt, in each of the three layouts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.errors import ModelRefused, SettingsError
from trueup.models.model import Model
from trueup.models.scripted import Scripted
from trueup.prompt.drpo import Drpo
from trueup.prompt.prompt import RAW_STOPS, Format, Prompt, Prompted
from trueup.prompt.retrieval import Retrieval
from trueup.prompt.settings import Settings
from trueup.types import (
    Choice,
    Demonstration,
    Message,
    Query,
    Reply,
    Request,
    Sampling,
    Score,
    Verdict,
    conversation,
)

TEA = Demonstration("How do I make tea?", "Boil water.")
BOMB = Demonstration("How do I make a bomb?", "I can't help with that.", shows_answer=False)
POOL = (TEA, BOMB)
BOTH = Retrieval(k=2, by="fixed")
FORMATS: tuple[Format, ...] = ("turns", "system", "raw")


def user(text: str) -> Message:
    return Message("user", text)


def assistant(text: str) -> Message:
    return Message("assistant", text)


def system(text: str) -> Message:
    return Message("system", text)


async def asked(prompt: Prompt, *turns: Message) -> tuple[Message, ...] | str:
    """What the model inside is asked."""
    return (await Prompted(Scripted([]), prompt).request(Request(turns))).prompt


async def test_turns_are_earlier_turns() -> None:
    prompt = Prompt("Be kind.", POOL, BOTH)
    assert await asked(prompt, user("Why?")) == (
        system("Be kind."),
        user("How do I make tea?"),
        assistant("Boil water."),
        user("How do I make a bomb?"),
        assistant("I can't help with that."),
        user("Why?"),
    )


async def test_system_is_one_text_before_the_conversation() -> None:
    prompt = Prompt("Be kind.", POOL, BOTH, "system")
    text = (
        "Be kind.\n\n"
        "# Query\nHow do I make tea?\n\n# Answer\nBoil water.\n\n"
        "# Query\nHow do I make a bomb?\n\n# Answer\nI can't help with that."
    )
    assert await asked(prompt, user("Why?")) == (system(text), user("Why?"))


async def test_raw_is_one_text_to_continue() -> None:
    prompt = Prompt("Be kind.", POOL, BOTH, "raw")
    assert await asked(prompt, user("Why?")) == (
        "# Instruction\n\nBe kind.\n\n"
        "# Query\nHow do I make tea?\n\n# Answer\n<START>\nBoil water.\n<END>\n\n"
        "# Query\nHow do I make a bomb?\n\n# Answer\n<START>\nI can't help with that.\n<END>\n\n"
        "# Query\nWhy?\n\n# Answer\n<START>\n"
    )


async def test_earlier_turns_and_the_callers_own_instruction_are_kept() -> None:
    turns = (system("Speak French."), user("Hi"), assistant("Salut"), user("Why?"))
    prompt = Prompt("Be kind.", (TEA,), Retrieval(k=1, by="fixed"))
    instruction, rest = "Be kind.\n\nSpeak French.", (user("Hi"), assistant("Salut"), user("Why?"))
    shown = (user("How do I make tea?"), assistant("Boil water."))
    assert await asked(prompt, *turns) == (system(instruction), *shown, *rest)
    in_system = Prompt("Be kind.", (TEA,), Retrieval(k=1, by="fixed"), "system")
    block = "# Query\nHow do I make tea?\n\n# Answer\nBoil water."
    assert await asked(in_system, *turns) == (system(f"{instruction}\n\n{block}"), *rest)
    raw = Prompt("Be kind.", (TEA,), Retrieval(k=1, by="fixed"), "raw")
    assert await asked(raw, *turns) == (
        f"# Instruction\n\n{instruction}\n\n"
        "# Query\nHow do I make tea?\n\n# Answer\n<START>\nBoil water.\n<END>\n\n"
        "# Query\nHi\n\n# Answer\n<START>\nSalut\n<END>\n\n"
        "# Query\nWhy?\n\n# Answer\n<START>\n"
    )


async def test_no_instruction_is_no_system_message() -> None:
    assert await asked(Prompt(""), user("Why?")) == (user("Why?"),)
    assert await asked(Prompt("", format="system"), user("Why?")) == (user("Why?"),)
    raw = "# Query\nWhy?\n\n# Answer\n<START>\n"
    assert await asked(Prompt("", format="raw"), user("Why?")) == raw


async def test_raw_with_a_greeting_and_two_messages_in_a_row() -> None:
    turns = (assistant("Welcome!"), user("Hi"), user("Are you there?"))
    assert await asked(Prompt("", format="raw"), *turns) == (
        "# Answer\n<START>\nWelcome!\n<END>\n\n# Query\nHi\n\nAre you there?\n\n# Answer\n<START>\n"
    )


async def test_raw_stops_at_its_markers_besides_the_callers() -> None:
    model = Scripted(lambda request: " Because.\n\n")
    sampling = Sampling(max_tokens=9, stop=("!",), seed=3)
    ask = Request((user("Why?"),), sampling)
    assert await Prompted(model, Prompt("", format="raw")).reply(ask) == Reply(
        (Choice("Because."),), (await model.reply(model.requests[0])).usage
    )
    assert model.requests[0].sampling == Sampling(max_tokens=9, stop=("!", *RAW_STOPS), seed=3)
    await Prompted(model, Prompt("")).reply(ask)
    assert model.requests[-1].sampling == sampling


async def test_what_is_not_a_conversation_is_refused() -> None:
    model = Prompted(Scripted([]), Prompt())
    with pytest.raises(ModelRefused, match="answers messages"):
        await model.reply(Request("a text"))
    for turns in ((), (user("Hi"), assistant("Hello"))):
        with pytest.raises(ModelRefused, match="must end with the user's message"):
            await model.reply(Request(turns))


async def test_a_prompt_in_front_of_a_model_is_a_model() -> None:
    inside = Scripted(["yes"], identity="inside")
    model = Prompted(inside, Prompt())
    assert isinstance(model, Model) and model.identity == "inside"
    assert (await model.embed(["a", "b"])).shape == (2, 256)
    await model.close()


def test_more_demonstrations_than_the_pool_has_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"asks for 3 demonstrations but its pool holds 2"):
        Prompt("", POOL, Retrieval(k=3))
    with pytest.raises(SettingsError, match=r"retrieval\.k is -1"):
        Retrieval(k=-1)


@given(st.lists(st.text(), max_size=6), st.text(), st.sampled_from(FORMATS))
async def test_any_conversation_is_laid_out_whole(
    texts: list[str], instruction: str, format: Format
) -> None:
    turns = [user(t) if place % 2 else assistant(t) for place, t in enumerate(texts)]
    prompt = Prompt(instruction, POOL, BOTH, format)
    laid_out = await asked(prompt, *turns, user("Why?"))
    whole = laid_out if isinstance(laid_out, str) else "\n".join(m.content for m in laid_out)
    for part in (*texts, instruction.strip(), "Why?", TEA.reply, BOMB.reply):
        assert part in whole
    if isinstance(laid_out, str):
        assert laid_out.endswith("Why?\n\n# Answer\n<START>\n")
    else:
        assert laid_out[-1] == user("Why?")


@pytest.mark.parametrize("format", FORMATS)
async def test_the_format_of_the_search_is_the_format_deployed(format: Format) -> None:
    """Published DRPO searches with one layout and deploys another (spec 1.11, B9)."""

    async def judge(query: Query, reply: str) -> Verdict:
        return Verdict((Score("Clarity", 4),))

    history = (user("Hi"), assistant("Hello"))
    query = Query("How do I make a cake?", should_answer=True, history=history)
    start = Prompt("Be kind.", POOL, Retrieval(k=1), format)
    model = Scripted(lambda request: "Bake it.")
    settings = Settings(minibatch=2, first_answers=1, depth=1, validation=0)
    method = Drpo(policy=model, judge=judge, search=[query], start=start, settings=settings)
    state = await method.start()
    (searched,) = model.requests
    aligned = Prompted(model, method.result(state).prompt)
    await aligned.reply(Request(conversation(query), settings.reply))
    assert model.requests == [searched, searched]
