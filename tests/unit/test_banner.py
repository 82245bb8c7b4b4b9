"""The lines that a server prints at its start."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pycalc.server.serve import print_banner
from pycalc.settings import Settings


@pytest.mark.parametrize("terminal", [True, False])
def test_the_bootstrap_token_is_for_a_person_at_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *, terminal: bool
) -> None:
    """The bootstrap token is shown only on a terminal, since other output may be a log; its file is always named."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    (tmp_path / "bootstrap-token").write_text("the-token\n")
    print_banner(Settings(data_dir=tmp_path), "the-token")
    shown = capsys.readouterr().out
    assert ("X-Bootstrap-Token: the-token" in shown) is terminal
    assert str(tmp_path / "bootstrap-token") in shown
