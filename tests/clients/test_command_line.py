"""``pycalc eval --server``: the command line as a client of a service."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pycalc_client import Client

from pycalc.settings import unknown_settings
from tests.harness.servers import Server, free_port

ROOT = Path(__file__).parents[2]
PATH = os.pathsep.join([str(ROOT), str(ROOT / "clients/python/src")])
# A program that runs the command line, whose client tries again at once.
IMPATIENT = """
from functools import partial
import pycalc_client
pycalc_client.RetryPolicy = partial(pycalc_client.RetryPolicy, first_wait=0.0)
from pycalc.cli.main import entry
entry()
"""
HIDDEN = "import sys; sys.modules['pycalc_client'] = None; from pycalc.cli.main import entry; entry()"


def run(*command: str, key: str | None) -> subprocess.CompletedProcess[str]:
    """Run Python with an API key in its environment, or without one if ``key`` is None."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": PATH, **({} if key is None else {"PYCALC_API_KEY": key})}
    return subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_service_evaluates_and_records(calc: Client, server: Server) -> None:
    """With an API key, results of any length are printed, and the calculations are in its owner's history."""
    key = calc.create_api_key("command line").key
    evaluate = ("-m", "pycalc", "eval", "--server", server.url)
    short = run(*evaluate, "-2^0.5", "--precision", "10", key=key)
    assert (short.returncode, short.stdout, short.stderr) == (0, "-1.414213562\n", "")
    long = run(*evaluate, "10^1200000 + 7", key=key)
    assert (long.returncode, long.stderr) == (0, "")
    assert long.stdout == "1" + "0" * 1_199_999 + "7\n"
    assert [item.operation for item in calc.history()] == ["evaluate", "evaluate"]


def test_a_problem_is_one_line(server: Server) -> None:
    """If the service refuses an evaluation, stderr has one line, stdout is empty, and the exit status is 1."""
    refused = run("-m", "pycalc", "eval", "1", "--server", server.url, key=None)
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (1, "", 1)
    assert refused.stderr.startswith("pycalc: ")


def test_an_unreachable_service_is_one_line() -> None:
    """If the service can't be reached, stderr has one line, stdout is empty, and the exit status is 1."""
    failed = run("-c", IMPATIENT, "eval", "1", "--server", f"http://127.0.0.1:{free_port()}", key="pck_unused")
    assert (failed.returncode, failed.stdout, failed.stderr.count("\n")) == (1, "", 1)
    assert failed.stderr.startswith("pycalc: The service does not answer: ")


def test_the_place_in_an_expression_is_told(calc: Client, server: Server) -> None:
    """The message about a wrong character states where in the expression the character is, counted from 1."""
    key = calc.create_api_key("command line").key
    for expression, place in (("1 + ?", 5), ("-1 + ?", 6)):
        wrong = run("-m", "pycalc", "eval", expression, "--server", server.url, key=key)
        assert (wrong.returncode, wrong.stderr.startswith(f"pycalc: at character {place}: ")) == (1, True)


def test_a_missing_client_is_a_clear_sentence() -> None:
    """Without the package ``pycalc-client``, ``--server`` says what to install; local evaluations work."""
    missing = run("-c", HIDDEN, "eval", "1", "--server", "http://127.0.0.1:1", key=None)
    assert missing.returncode == 1
    assert missing.stderr.startswith("pycalc: --server needs the package pycalc-client")
    assert run("-c", HIDDEN, "eval", "1 + 1", key=None).stdout == "2\n"


def test_the_key_is_no_unknown_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """``pycalc serve`` does not warn about the variable ``PYCALC_API_KEY``, which the command line reads."""
    monkeypatch.setenv("PYCALC_API_KEY", "pck_secret")
    assert unknown_settings() == []
