"""RFC 9457 problem details, the body of nearly every error response."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

PROBLEM_MEDIA_TYPE = "application/problem+json"


class InvalidField(BaseModel):
    """One invalid field of the input."""

    pointer: str = Field(description="JSON pointer (RFC 6901) into the input")
    detail: str
    position: int | None = Field(None, description="index of the wrong character in the field's text, from 0")


class Problem(BaseModel):
    """A problem (RFC 9457). Further members depend on the problem's type and are documented with it."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="relative URI of the problem type's documentation")
    title: str
    status: int
    detail: str
    instance: str = Field(description="path of the request")
    errors: list[InvalidField] | None = Field(None, description="what is wrong and where, at most 20 entries")
