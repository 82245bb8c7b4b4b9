"""A reader of the audit log, for admins."""

from __future__ import annotations

from pycalc.db.base import AuditStore
from pycalc.models.audit import AuditEntry, AuditFilter, encode_entry
from pycalc.models.ids import cursor_id, cursor_of


class AuditReader:
    """A reader of the audit log. Its callers must ensure that the user is an admin."""

    def __init__(self, store: AuditStore) -> None:
        self._store = store

    async def entries(self, selection: AuditFilter, before: bytes | None, limit: int) -> list[AuditEntry]:
        """Return up to ``limit`` of the selected entries, newest first, with ids below ``before`` unless it is None."""
        return await self._store.page(selection, before, limit)

    async def page(self, selection: AuditFilter, cursor: str | None, limit: int) -> tuple[str, str | None]:
        """Return an AuditPage as JSON text, and the next page's cursor, or None on the last page.

        Raises InvalidInput for a malformed cursor.
        """
        entries = await self.entries(selection, cursor_id(cursor), limit + 1)
        following = cursor_of(entries[limit - 1].id) if len(entries) > limit else None
        items = ",".join(map(encode_entry, entries[:limit]))
        member = "null" if following is None else f'"{following}"'
        return f'{{"items":[{items}],"next_cursor":{member}}}', following
