"""MLflow: a run is logged to a real server on this machine, whose database is SQLite."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup import DataError
from trueup.export.finished import Finished
from trueup.export.mlflow_run import _name, figures, settings, to_mlflow

SERVER = Path(sys.executable).with_name("mlflow")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server of our own."""
    pytest.importorskip("mlflow", reason="logs with MLflow's client")
    if not SERVER.exists() or importlib.util.find_spec("flask") is None:
        pytest.skip("needs MLflow's server, which mlflow-skinny does not bring")
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                SERVER, "server", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
                "--artifacts-destination", str(folder / "artifacts"), "--host", "127.0.0.1",
                "--port", str(port), "--workers", "1",
            ],
            stdout=log, stderr=log, start_new_session=True, cwd=folder,
            # Or it starts a dozen processes more, for jobs that nobody has.
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(1200):
            assert process.poll() is None, (folder / "log").read_text()
            try:
                urllib.request.urlopen(f"{address}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.25)
        yield address
    finally:
        # Its workers with it.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::ResourceWarning")
def test_a_run_is_logged_whole_and_once(nasty: Finished, server: str, tmp_path: Path) -> None:
    import mlflow

    done = to_mlflow(nasty, server, "tests")
    assert not done.there_before
    client = mlflow.MlflowClient(tracking_uri=server)
    logged = client.get_run(done.run_id)
    assert (logged.info.status, logged.info.run_name) == ("FINISHED", "run")
    assert logged.data.params == dict(settings(nasty.results["job"]))
    assert logged.data.params["calls"] == "40"
    last = {name: value for name, value, _ in figures(nasty.results)}
    assert logged.data.metrics == pytest.approx(last)
    row = nasty.results["comparison"]["table"][0]
    for key, end in (("after", "value"), ("after_low", "low"), ("after_high", "high")):
        assert logged.data.metrics[f"safety/balanced safety/{key}"] == row["after"][end]
    steps = client.get_metric_history(done.run_id, "search/score")
    assert [one.step for one in steps] == [one["number"] for one in nasty.results["rounds"]]
    names = {one.path for one in client.list_artifacts(done.run_id)}
    assert names == {
        "aligned.toml", "report.md", "results.json", "job.toml", "before_after.svg", "safety.svg",
        "wins.svg", "change.svg",
    }  # fmt: skip
    copy = Path(client.download_artifacts(done.run_id, "aligned.toml", str(tmp_path)))
    assert copy.read_bytes() == (nasty.folder / "aligned.toml").read_bytes()

    again = to_mlflow(nasty, server, "tests")
    assert (again.run_id, again.there_before) == (done.run_id, True)
    assert len(client.search_runs([logged.info.experiment_id])) == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::ResourceWarning")
def test_only_what_is_in_the_folder_is_logged(
    run: Finished, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("TRUEUP_API_KEY", "sk-planted-in-the-environment")
    logged = mlflow.MlflowClient(tracking_uri=server).get_run(to_mlflow(run, server).run_id)
    # Left to itself MLflow would say who ran what script where.
    kept = {"mlflow.note.content", "mlflow.runName"}
    assert {name for name in logged.data.tags if name.startswith("mlflow.")} <= kept
    told = str(logged.to_dictionary())
    assert "sk-planted" not in told


def test_nobody_at_the_address_is_said_without_the_password(run: Finished) -> None:
    pytest.importorskip("mlflow", reason="logs with MLflow's client")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DataError, match="--tracking") as refused:
        to_mlflow(run, f"http://me:s3cret@127.0.0.1:{port}")
    assert f"//127.0.0.1:{port}" in str(refused.value) and "s3cret" not in str(refused.value)


@given(st.text(max_size=300))
def test_any_criterion_makes_a_name_that_mlflow_takes(text: str) -> None:
    name = _name(text)
    assert 0 < len(name) <= 250 and set(name) <= set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-. /"
    )
    # MLflow keeps metrics of a name as a path, which may not leave its folder.
    assert all(part not in ("", ".", "..") for part in name.split("/"))


def test_names_that_became_alike_keep_both_values(run: Finished) -> None:
    rows = [
        {"group": "criterion", "name": name, "before": None, "difference": None,
         "after": {"value": value, "low": None, "high": None}}
        for name, value in (("a:b", 1.0), ("a;b", 2.0))
    ]  # fmt: skip
    bare = dict(run.results) | {
        "comparison": {"table": rows},
        "rounds": [],
        "costs": {"in_all": {}},
    }
    found = {name: value for name, value, _ in figures(bare) if name.startswith("criterion")}
    assert found == {"criterion/a_b/after": 1.0, "criterion/a_b/after 2": 2.0}
