"""What the contract tests of all stores share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from pycalc.db import open_database
from pycalc.db.base import Database


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Open an empty database, of each kind in turn."""
    opened = await open_database(database_url)
    yield opened
    await opened.aclose()
