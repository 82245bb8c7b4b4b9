"""The application that other ASGI servers import."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pycalc import main


def test_the_application_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every access of ``app`` returns the application that the first one has made."""
    calls: list[str] = []
    monkeypatch.setattr(main, "read_settings", lambda: SimpleNamespace(log_format="json"))
    monkeypatch.setattr(main, "unknown_settings", list)
    monkeypatch.setattr(main, "configure_logging", lambda form: calls.append(form))
    monkeypatch.setattr(main, "create_app", lambda settings: object())
    monkeypatch.setattr(main, "collect_garbage_rarely", lambda: calls.append("garbage"))
    try:
        first = main.app
        assert main.app is first
    finally:
        vars(main).pop("app", None)
    assert calls == ["json", "garbage"]
