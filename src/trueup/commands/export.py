"""`trueup export`: a finished run for other people's tools.

    trueup export runs/align-1a2b3c4d --to parquet
    trueup export runs/align-1a2b3c4d --to inspect && inspect view --log-dir ...
    trueup export runs/align-1a2b3c4d --to mlflow --tracking http://127.0.0.1:5000

A further kind of export is a module in `trueup/export/`, an entry in `KINDS` and a branch here: in
`_written` where it writes files, else in `export` itself.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer

from trueup.errors import SettingsError

KINDS = ("parquet", "inspect", "mlflow")
TRACKING = "MLFLOW_TRACKING_URI"


def export(
    run: Annotated[Path, typer.Argument(help="A finished run's folder.")],
    to: Annotated[str, typer.Option(help="parquet (tables), inspect (transcripts) or mlflow.")],
    out: Annotated[
        Path | None,
        typer.Option(help="The folder for the files; by default one in the run's, named as --to."),
    ] = None,
    tracking: Annotated[
        str | None,
        typer.Option(help=f"The address of the MLflow server; {TRACKING} where it is not given."),
    ] = None,
    experiment: Annotated[str, typer.Option(help="The MLflow experiment.")] = "trueup",
) -> None:
    """Give a finished run to other tools: tables, transcripts to read, a record of experiments."""
    if to not in KINDS:
        raise SettingsError(f"{to!r} is nothing to export to: choose {', '.join(KINDS)}.")
    if to == "mlflow":
        _logged(run, tracking or os.environ.get(TRACKING), experiment)
        return
    folder = out or run / to
    for path in _written(run, to, folder):
        typer.echo(f"{path} is written.")
    if to == "inspect":
        typer.echo(f"To read the transcripts: inspect view --log-dir {folder}")


def _written(run: Path, to: str, folder: Path) -> list[Path]:
    from trueup.export.finished import finished
    from trueup.export.inspect_evaluation import evaluation_to_inspect
    from trueup.export.inspect_log import to_inspect
    from trueup.export.parquet import to_parquet
    from trueup.store.runs import read_run

    if to == "inspect" and read_run(run).method == "evaluate":
        return asyncio.run(evaluation_to_inspect(run, folder))
    found = finished(run)
    return to_parquet(found, folder) if to == "parquet" else asyncio.run(to_inspect(found, folder))


def _logged(run: Path, tracking: str | None, experiment: str) -> None:
    from trueup.export.finished import finished
    from trueup.export.mlflow_run import to_mlflow

    if not tracking:
        raise SettingsError(
            f"No MLflow server is named: give its address with --tracking, or in {TRACKING}."
        )
    done = to_mlflow(finished(run), tracking, experiment)
    told = "had been logged before" if done.there_before else "is logged"
    typer.echo(f"{run} {told} as run {done.run_id} of the experiment {experiment!r}.")
