"""An aligned model survives its file, and a file that is wrong is said to be."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trueup import (
    Aligned,
    DataError,
    Demonstration,
    Message,
    Prompt,
    Prompted,
    Query,
    Request,
    Retrieval,
    Sampling,
    Scripted,
    SettingsError,
)

POOL = (
    Demonstration("How do I kill a process?", "Use `kill PID`.", "coding"),
    Demonstration("How do I poison a well?", "I'm sorry, but no.", "harmful", shows_answer=False),
)
ALIGNED = Aligned(
    "embedded",
    Prompt("Answer well.\nDecline harm.", POOL, Retrieval(k=1, mix="leaning", caution=-0.1)),
    Sampling(max_tokens=48, stop=("\n\n\n",)),
    provenance={"method": "drpo", "run": "align-12345678"},
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
demonstrations = st.builds(Demonstration, texts, texts, texts, st.booleans())


def test_the_file_is_the_same_bytes_and_the_same_model(tmp_path: Path) -> None:
    path = ALIGNED.save(tmp_path / "aligned.toml")
    again = Aligned.load(path)
    assert again == ALIGNED
    assert again.toml() == path.read_text("utf-8")


def test_the_instruction_can_be_read_in_the_file() -> None:
    assert 'instruction = """\nAnswer well.\nDecline harm."""' in ALIGNED.toml()


@given(texts, st.lists(demonstrations, max_size=3).map(tuple), texts)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_survives(
    tmp_path: Path, instruction: str, pool: tuple[Demonstration, ...], name: str
) -> None:
    aligned = Aligned(f"gguf:{name}", Prompt(instruction, pool, Retrieval(k=len(pool))))
    assert Aligned.load(aligned.save(tmp_path / "any.toml")) == aligned


def test_half_a_surrogate_pair_does_not_stop_the_file_from_being_written(tmp_path: Path) -> None:
    path = Aligned("embedded", Prompt("Answer\ud800 well.")).save(tmp_path / "a.toml")
    assert Aligned.load(path).prompt.instruction == "Answer? well."


def test_a_run_folder_is_as_good_as_its_file(tmp_path: Path) -> None:
    ALIGNED.save(tmp_path / "aligned.toml")
    assert Aligned.load(tmp_path) == ALIGNED


async def test_the_model_is_asked_what_the_search_asked() -> None:
    base = Scripted(lambda request: "Yes.")
    model = ALIGNED.model(base)
    request = ALIGNED.request("How can I kill a Python process?")
    reply = await model.reply(request)
    await Prompted(base, ALIGNED.prompt).reply(request)
    assert reply.text == "Yes."
    assert base.requests[0] == base.requests[1]
    assert base.requests[0] == Request(
        (
            Message("system", "Answer well.\nDecline harm."),
            Message("user", "How do I kill a process?"),
            Message("assistant", "Use `kill PID`."),
            Message("user", "How can I kill a Python process?"),
        ),
        Sampling(max_tokens=48, stop=("\n\n\n",)),
    )


async def test_an_embedder_that_it_opened_is_closed_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed: list[str] = []

    class Closing(Scripted):
        async def close(self) -> None:
            closed.append(self.identity)

    monkeypatch.setattr("trueup.aligned.open_model", lambda name: Closing(["Yes."], name))
    by_meaning = replace(ALIGNED, embedder_name="an embedder")
    await by_meaning.model().close()
    assert closed == ["embedded", "an embedder"]

    closed.clear()
    await by_meaning.model(embedder=Closing(["Yes."], "somebody's own")).close()
    assert closed == ["embedded"]


def test_a_query_and_a_conversation_are_requests_too() -> None:
    turns = (Message("user", "Hi."), Message("assistant", "Hello."), Message("user", "And now?"))
    query = Query("And now?", history=turns[:2])
    assert ALIGNED.request(query) == ALIGNED.request(turns) == Request(turns, ALIGNED.sampling)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ("instruction = 3", SettingsError, "prompt.instruction: Input should be a valid string"),
        ("instructions = 'x'", SettingsError, "prompt.instructions is not a setting: remove it"),
        ("format = 'video'", SettingsError, "prompt.format"),
        ("retrieval.k = 1", SettingsError, "asks for 1 demonstrations but its pool holds 0"),
        ("retrieval.k = -1", SettingsError, "prompt.retrieval.k"),
        ("= = =", DataError, "cannot be read as TOML"),
    ],
)
def test_a_file_that_is_wrong_is_refused(
    tmp_path: Path, change: str, error: type[Exception], said: str
) -> None:
    path = tmp_path / "aligned.toml"
    whole = "" if change.startswith("instruction =") else "instruction = 'Be good.'\n"
    path.write_text(f"trueup = 1\nmodel = 'embedded'\n[prompt]\n{whole}{change}\n")
    with pytest.raises(error, match=said.replace(".", r"\.")):
        Aligned.load(path)


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "aligned.toml"
    path.write_text(ALIGNED.toml().replace("trueup = 1", "trueup = 2"))
    with pytest.raises(DataError, match="install a newer trueup"):
        Aligned.load(path)


def test_what_is_not_there_is_said_with_where_to_look(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="`trueup runs`"):
        Aligned.load(tmp_path / "nowhere.toml")
    with pytest.raises(DataError, match="name the folder of a `trueup align` run"):
        Aligned.load(tmp_path)
    (tmp_path / "job.toml").write_text("")
    with pytest.raises(DataError, match=r"trueup align --job .*job\.toml"):
        Aligned.load(tmp_path)
    ALIGNED.save(tmp_path / "ours.toml")
    with pytest.raises(DataError, match=r"name one of the prompts in it, such as .*ours\.toml"):
        Aligned.load(tmp_path)
    with pytest.raises(DataError, match="cannot be written"):
        ALIGNED.save(tmp_path / "no" / "folder.toml")


def test_keys_come_in_one_order() -> None:
    document = tomllib.loads(ALIGNED.toml())
    assert list(document) == ["trueup", "model", "sampling", "provenance", "prompt"]
    assert list(document["prompt"]) == ["format", "instruction", "retrieval", "demonstrations"]
