"""The list of the running processes."""

from __future__ import annotations

import json
from typing import Literal, cast

from pycalc.db.base import InstanceStore
from pycalc.models.ids import text_of_id
from pycalc.models.service import InstanceItem
from pycalc.models.times import timestamp

_MAX_INSTANCES = 1_000


class InstanceList:
    """A reader of the list of running processes. Its callers must ensure that the user is an admin."""

    def __init__(self, store: InstanceStore) -> None:
        self._store = store

    async def items(self) -> list[InstanceItem]:
        """Return up to 1,000 running processes with their latest figures, the oldest process first."""
        return [
            {
                "id": text_of_id(each.id),
                "command": cast("Literal['serve', 'relay', 'consume']", each.command),
                "version": each.version,
                "started_at": timestamp(each.started_ms),
                "seen_at": timestamp(each.seen_ms),
                "figures": json.loads(each.figures),
            }
            for each in await self._store.all(_MAX_INSTANCES)
        ]
