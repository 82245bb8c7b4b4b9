"""The service's state as clients see it."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict


class SignIn(TypedDict):
    """The ways to sign in."""

    password: Annotated[bool, Field(description="whether `POST /login` and `POST /register` are open")]
    provider: Annotated[
        str | None, Field(description="path that sends a browser to the identity provider; null without one")
    ]


class Index(TypedDict):
    """A list of links for programs."""

    name: str
    version: str
    operations: Annotated[list[str], Field(description="the names of the operations")]
    docs: Annotated[str, Field(description="path of the interactive documentation")]
    openapi: Annotated[str, Field(description="path of this document")]
    health: Annotated[str, Field(description="path that answers while the process is alive")]
    sign_in: SignIn


class Liveness(TypedDict):
    """The proof that the process responds."""

    status: Literal["ok"]


class DependencyState(TypedDict):
    """The state of one dependency."""

    ok: bool
    latency_ms: Annotated[float, Field(description="how long its ping took, milliseconds")]
    detail: NotRequired[Annotated[str, Field(description="what is wrong, where something is")]]


class Readiness(TypedDict):
    """The state of the service and of each dependency."""

    status: Annotated[Literal["ok", "degraded"], Field(description="`degraded`: a dependency does not answer")]
    checks: Annotated[dict[str, DependencyState], Field(description="the dependencies by name")]
