"""Accounts, for admins."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from pycalc.routers.deps import CallerDep, ResourcesDep
from pycalc.routers.problems import responses

router = APIRouter(tags=["accounts"])


@router.delete(
    "/users/{username}",
    status_code=204,
    responses=responses("unauthorized", "forbidden", "not-found", "conflict", "validation-error", "unavailable"),
)
async def delete_user(
    username: Annotated[str, Path(max_length=254)], caller: CallerDep, resources: ResourcesDep
) -> None:
    """Delete an account (admins only). Its tokens are refused at once; its history stays. The last admin can't go."""
    await resources.authenticator.delete_user(caller, username)
