"""API keys for programs."""

from __future__ import annotations

from fastapi import APIRouter, Response

from pycalc.models.auth import ApiKey, CreatedApiKey, KeyRequest, StoredKey
from pycalc.models.formats import timestamp
from pycalc.models.ids import text_of_id
from pycalc.routers.http.deps import AccountReadDep, CallerDep, IdInPath, ResourcesDep, id_in_path
from pycalc.routers.http.inputs import StrictRoute
from pycalc.routers.http.openapi import NO_CONTENT, headers
from pycalc.routers.http.problem_types import responses

router = APIRouter(tags=["accounts"], route_class=StrictRoute)


def _fields_of(key: StoredKey) -> dict[str, object]:
    return {
        "id": text_of_id(key.id),
        "name": key.name,
        "prefix": key.prefix,
        "created_at": timestamp(key.created_ms),
        "expires_at": None if key.expires_ms is None else timestamp(key.expires_ms),
        "scopes": key.scopes.split(),
        "allow_query": key.allow_query,
        "limits": key.limits,
        "last_used_at": None if key.used_ms is None else timestamp(key.used_ms),
        "last_used_from": key.used_from,
    }


@router.post("/me/keys", status_code=201, responses={201: {"headers": headers("Location")}, **responses("conflict")})
async def create_key(
    request: KeyRequest, response: Response, caller: CallerDep, resources: ResourcesDep
) -> CreatedApiKey:
    """Create an API key, to be sent as a bearer token or by HTTP Basic. Its text is shown only in this response."""
    key, text = await resources.keys.create(caller, request)
    response.headers["Location"] = f"/me/keys/{text_of_id(key.id)}"
    return CreatedApiKey.model_validate({**_fields_of(key), "key": text})


@router.get("/me/keys")
async def list_keys(caller: AccountReadDep, resources: ResourcesDep) -> list[ApiKey]:
    """Return one's own keys, oldest first, without their texts."""
    return [ApiKey.model_validate(_fields_of(key)) for key in await resources.keys.all_of(caller)]


@router.get("/me/keys/{key_id}", responses=responses("not-found"))
async def get_key(caller: AccountReadDep, key_id: IdInPath, resources: ResourcesDep) -> ApiKey:
    """Return the key with this id, without its text, if it is one's own."""
    return ApiKey.model_validate(_fields_of(await resources.keys.get(caller, id_in_path(key_id, "key"))))


@router.delete("/me/keys/{key_id}", **NO_CONTENT, responses=responses("not-found"))
async def remove_key(caller: CallerDep, key_id: IdInPath, resources: ResourcesDep) -> None:
    """Remove a key of one's own. It is refused at once by the process that answers, and within seconds by others."""
    await resources.keys.remove(caller, id_in_path(key_id, "key"))
