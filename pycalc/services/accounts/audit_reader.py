"""A reader of the audit log, for admins."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from pycalc.db.base import AuditFilter, AuditStore
from pycalc.models.audit import AuditEntry, encode_entry
from pycalc.models.cursors import cursor_id, cursor_of
from pycalc.models.ids import unix_ms


class AuditSelection(NamedTuple):
    """A filter of audit entries; a field that is None does not filter."""

    actor: str | None = None
    action: str | None = None
    subject: str | None = None
    since: datetime | None = None  # inclusive
    until: datetime | None = None  # exclusive


class AuditReader:
    """A reader of the audit log. Its callers must ensure that the user is an admin."""

    def __init__(self, store: AuditStore) -> None:
        self._store = store

    async def entries(self, selection: AuditSelection, before: bytes | None, limit: int) -> list[AuditEntry]:
        """Return up to ``limit`` of the selected entries, newest first, with ids below ``before`` unless it is None."""
        actor, action, subject, since, until = selection
        since_ms, until_ms = (None if moment is None else unix_ms(moment) for moment in (since, until))
        return await self._store.page(AuditFilter(actor, action, subject, since_ms, until_ms), before, limit)

    async def page(self, selection: AuditSelection, cursor: str | None, limit: int) -> tuple[str, str | None]:
        """Return an AuditPage as JSON text, and the cursor of the next page, or None if it is the last page.

        Raises InvalidInput for a malformed cursor.
        """
        entries = await self.entries(selection, cursor_id(cursor), limit + 1)
        following = cursor_of(entries[limit - 1].id) if len(entries) > limit else None
        items = ",".join(map(encode_entry, entries[:limit]))
        member = "null" if following is None else f'"{following}"'
        return f'{{"items":[{items}],"next_cursor":{member}}}', following
