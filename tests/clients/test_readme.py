"""The examples in the Python client's README: each runs, and prints the output that it shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pycalc_client import Client

from tests.harness.accounts import new_name
from tests.harness.servers import Server

README = (Path(__file__).parents[2] / "clients/python/README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"example {number}" for number, _ in enumerate(EXAMPLES, 1)])
def test_an_example_prints_what_stands_beside_it(
    calc: Client,
    server: Server,
    tmp_path: Path,
    example: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each example prints the comments beside its ``print`` calls, in order; a final ``...`` stands for any text."""
    key = calc.create_api_key("example").key
    assert key is not None
    # The key comes last, because a random key may contain the name.
    code = example.replace("http://127.0.0.1:8080", server.url).replace("ada", new_name()).replace("pck_...", key)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})  # noqa: S102  # the example
    printed = iter(capsys.readouterr().out.splitlines())
    for expected in re.findall(r"(?m)^ *print\(.*\) +# (.*)$", example):
        wanted = expected.removesuffix("...")
        assert any(line.startswith(wanted) if wanted != expected else line == wanted for line in printed), expected
