"""Options that several commands have, each declared once: the same name, type and words everywhere.

    def compare(seed: Seed = None, out: Out = None, yes: Yes = False) -> None:
        job = Job.of(given(locals()))

None is for what is not given: the default is the job's, and is said there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

Policy = Annotated[
    str | None,
    typer.Option(
        help="The policy: embedded, gguf:PATH, hub:OWNER/REPO/FILE.gguf, "
        "endpoint:URL#MODEL, openai:MODEL, openrouter:MODEL, ollama:MODEL, vllm:MODEL."
    ),
]
Writer = Annotated[
    str | None, typer.Option(help="Who proposes instructions: none, policy or a model.")
]
Judge = Annotated[
    str | None, typer.Option(help="Who scores: checks (code), dynamic, likelihood or perplexity.")
]
JudgeModel = Annotated[
    str | None, typer.Option(help="The model that judges, where one does: policy or a model.")
]
Data = Annotated[
    str | None,
    typer.Option(help="Queries: a JSONL, CSV or Parquet file, NAME@PATH, hub:OWNER/NAME, seeds."),
]
Column = Annotated[str | None, typer.Option(help="The column that holds the queries.")]
HeldOut = Annotated[
    int | None,
    typer.Option(help="How many queries to report on: 80, or as many as a small file allows."),
]
HeldOutData = Annotated[
    str | None, typer.Option(help="Queries to report on, from elsewhere than --data.")
]
Demonstrations = Annotated[
    str | None, typer.Option(help="The pool to show from: bundled, long, none, or a file.")
]
Calls = Annotated[
    int | None, typer.Option(help="Policy calls of a search: 300, or no limit with --published.")
]
Format = Annotated[
    str | None,
    typer.Option("--format", help="turns or system for chat models, raw for base models."),
]
MaxTokens = Annotated[
    int | None, typer.Option(help="Longest reply in tokens: 256; embedded 40; --published 2048.")
]
Seed = Annotated[int | None, typer.Option(help="What all chance depends on; 0 unless given.")]
BudgetCalls = Annotated[int | None, typer.Option(help="Most calls of all roles.")]
BudgetTokens = Annotated[int | None, typer.Option(help="Most tokens, in and out.")]
BudgetUsd = Annotated[float | None, typer.Option(help="Most money; see --price.")]
BudgetMinutes = Annotated[
    float | None, typer.Option(help="Most time; `align` plans its search with it.")
]
Price = Annotated[
    list[str] | None,
    typer.Option(
        help="ROLE=IN,OUT or MODEL=IN,OUT: USD per million tokens of policy, writer, judge or "
        "embedder, or of a model by its name. Give it once for each."
    ),
]
Out = Annotated[str | None, typer.Option(help="The run's folder; runs/NAME by default.")]
Dry = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done and cost; call nobody.")
]
Yes = Annotated[
    bool, typer.Option("--yes", "-y", help="Start without asking, also where it may cost money.")
]


def given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Of a command's parameters those that are fields of a `Job`, as far as they were given."""
    from trueup.jobs.job import Job, read_prices

    renamed = {"prompt_format": "format", "price": "prices"}
    fields = {renamed.get(name, name): value for name, value in parameters.items()}
    found = {
        name: value
        for name, value in fields.items()
        if name in Job.model_fields and value is not None and value is not False and value != []
    }
    return found | ({"prices": read_prices(found["prices"])} if "prices" in found else {})
