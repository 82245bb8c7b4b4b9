"""The synchronous Python client, generated from the asynchronous one."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from pycalc_client import AsyncClient, Client

from clients.python.generate import generated
from pycalc.services.calculations.planning import takes_precision
from pycalc.services.operations import OPERATIONS
from pycalc.services.operations.base import Modular, Summarisable

PACKAGE = Path(__file__).parents[2] / "clients/python/src/pycalc_client"


def test_the_synchronous_client_is_up_to_date() -> None:
    """Generating the synchronous client again changes nothing. If this fails, run ``make client``."""
    files = dict(generated())
    assert {path for path in files if path.read_text() != files[path]} == set()
    assert {*files} == {*(PACKAGE / "_sync").glob("*.py")}


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_of_the_service_has_a_method(name: str) -> None:
    """Both clients have a method for each operation, with its operands by name and the options that it supports."""
    operation = OPERATIONS[name]
    expected = {
        "mod": isinstance(operation, Modular),
        "view": isinstance(operation, Summarisable),
        "precision": takes_precision(operation),
        "base": operation.numeric,
    }
    for client in (Client, AsyncClient):
        signature = inspect.signature(getattr(client, name), eval_str=True)
        operands = [each for each in signature.parameters if each not in ("self", "options")]
        assert operands == [parameter.name for parameter in operation.parameters]
        options = signature.parameters.get("options")
        taken = set() if options is None else {*options.annotation.__args__[0].__annotations__}
        assert taken == {option for option, is_taken in expected.items() if is_taken}
