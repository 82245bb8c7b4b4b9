"""Fixtures that the tests of accounts share."""

from __future__ import annotations

import httpx
import pytest

from pycalc.resources.wiring import Resources
from tests.harness.accounts import registration
from tests.harness.in_process import Headers, bearer_of


@pytest.fixture
async def admin(client: httpx.AsyncClient, resources: Resources) -> Headers:
    """Register the first admin, "root", and return the header of its session."""
    token = resources.bootstrap_token
    assert token is not None
    await client.post("/register", json=registration("root", role="admin"), headers={"X-Bootstrap-Token": token})
    return await bearer_of(client, "root")
