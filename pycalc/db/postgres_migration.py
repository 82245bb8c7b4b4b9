"""The migration of a PostgreSQL database that other processes are using."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from pycalc.db import migrations
from pycalc.db.reasons import driver_error
from pycalc.db.roles import DatabaseRole, grant
from pycalc.errors import StoreUnavailable

_MIGRATION_LOCK = 0x7079_6361_6C63  # an advisory lock: one process migrates while others wait
# The name that a revision needs for a table, index, function, column or trigger is taken.
_TAKEN = (
    asyncpg.DuplicateTableError,
    asyncpg.DuplicateFunctionError,
    asyncpg.DuplicateColumnError,
    asyncpg.DuplicateObjectError,
)


async def upgraded(engine: AsyncEngine, roles: Sequence[DatabaseRole], lock_seconds: float) -> bool:
    """Migrate to the current schema and grant the rights in one transaction; return False if a table stayed locked.

    Raises StoreUnavailable for another program's database, and if the name of a new table or other object is taken.
    """
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
            # Not before the lock above, because another process's migration may be slow.
            timeout = {"timeout": f"{round(lock_seconds * 1000)}ms"}
            await connection.execute(text("SELECT set_config('lock_timeout', :timeout, true)"), timeout)
            try:
                await connection.run_sync(migrations.upgrade)
            except DBAPIError as error:
                driver = driver_error(error)
                if not isinstance(driver, _TAKEN):
                    raise
                raise StoreUnavailable(
                    f"The migration needs a name that is taken ({driver}): rename or drop that object, and run "
                    "`pycalc migrate` again."
                ) from error
            for role in roles:
                await connection.run_sync(grant, role)
    except DBAPIError as error:
        if isinstance(driver_error(error), asyncpg.LockNotAvailableError):
            return False
        raise
    return True
