"""Texts whose form the OpenAPI document names."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Uuid = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
Day = Annotated[str, Field(json_schema_extra={"format": "date"})]
Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Ends = Annotated[str, Field(max_length=20, pattern="^[0-9]*$")]  # the first or last digits of a result
Sha256 = Annotated[str, Field(min_length=64, max_length=64, pattern="^[0-9a-f]*$")]
