"""Fixtures for test modules that run their own service."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a new data folder for the service."""
    return tmp_path_factory.mktemp("data")
