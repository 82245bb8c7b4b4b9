"""The audit log: its entries as they are stored, and as admins see them."""

from __future__ import annotations

import csv
import json
import re
from datetime import datetime
from io import StringIO
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field
from typing_extensions import TypedDict

from pycalc.models.formats import NextCursor, Timestamp, Uuid, timestamp
from pycalc.models.ids import text_of_id

AuditOutcome = Literal["done", "refused"]

# Where a spreadsheet sees a formula: at a sign with which a cell, or a line of a cell, begins. In some languages a
# semicolon separates cells. East Asian editions accept full-width signs too.
_FORMULA = re.compile("(^|[;\t\r\n])(?=[-=+@\uff1d\uff0b\uff0d\uff20])")


class AuditEntry(NamedTuple):
    """A stored entry of the audit log. Its fields are in the order of the table's columns."""

    id: bytes
    created_ms: int
    action: str
    actor: str | None
    subject: str | None
    address: str | None
    outcome: str
    details: str  # a JSON object


class AuditFilter(NamedTuple):
    """A filter of audit entries; a field that is None does not filter. Letter case is ignored."""

    actor: str | None = None
    action: str | None = None
    subject: str | None = None
    since: datetime | None = None  # inclusive
    until: datetime | None = None  # exclusive


AUDIT_EXAMPLE: dict[str, Any] = {
    "id": "01a22906-91f3-712d-8684-c226048b9bdd",
    "created_at": "2026-11-29T20:37:06.164Z",
    "action": "account changed",
    "actor": "root",
    "subject": "ada",
    "address": "198.51.100.7",
    "outcome": "done",
    "details": {"changed": {"disabled": True}},
}


class AuditItem(TypedDict):
    """An entry of the audit log."""

    id: Annotated[Uuid, Field(description="UUIDv7 (RFC 9562)")]
    created_at: Timestamp
    action: str
    actor: Annotated[str | None, Field(description="the user who did it, or for example `the service`; null: unknown")]
    subject: Annotated[str | None, Field(description="the account that it was done to, or a name that was tried")]
    address: Annotated[str | None, Field(description="the client's address; null for a command and the service itself")]
    outcome: AuditOutcome
    details: Annotated[dict[str, Any], Field(description="more facts, which depend on the action")]


class AuditPage(TypedDict):
    """A page of the audit log, newest first."""

    items: list[AuditItem]
    next_cursor: NextCursor


def encode_entry(entry: AuditEntry) -> str:
    """Return an entry as the JSON text of an AuditItem."""
    values = (text_of_id(entry.id), timestamp(entry.created_ms), *entry[2:-1], json.loads(entry.details))
    return json.dumps(dict(zip(AuditItem.__annotations__, values, strict=True)))


AUDIT_CSV_HEADER = ",".join(AuditItem.__annotations__) + "\r\n"


def encode_entry_csv(entry: AuditEntry) -> str:
    """Return an entry as a line of CSV (RFC 4180), in which a spreadsheet finds no formula.

    Strangers choose some of the names, so an apostrophe is put before each character that would begin a formula.
    Semicolons, which separate cells in some languages, become JSON escapes in the details.
    """
    texts = [text and _FORMULA.sub(r"\1'", text) for text in entry[2:-1]]
    details = entry.details.replace(";", "\\u003b")
    line = StringIO()
    csv.writer(line).writerow([text_of_id(entry.id), timestamp(entry.created_ms), *texts, details])
    return line.getvalue()
