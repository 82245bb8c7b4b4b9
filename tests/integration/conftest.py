"""Fixtures for modules of tests that run a service of their own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the service's data folder."""
    return tmp_path_factory.mktemp("data")
