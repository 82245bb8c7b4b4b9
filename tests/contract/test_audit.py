"""Contract tests of the audit log's store: entries are added, selected and pruned, and never change."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from pycalc.db.audit import SqlAuditStore
from pycalc.db.base import Database
from pycalc.db.users import SqlUserStore
from pycalc.errors import Conflict, NotFound, StoreUnavailable
from pycalc.models.audit import AuditEntry, AuditFilter
from pycalc.models.auth import Role, User
from pycalc.models.ids import first_id_of_ms
from tests.harness.stores import KEEPING

pytestmark = pytest.mark.anyio

ALL = AuditFilter()


def at(milliseconds: int) -> datetime:
    """Return a time in milliseconds since the epoch as a datetime."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def entry(
    number: int, action: str = "key created", actor: str | None = "Ada", subject: str | None = "ada"
) -> AuditEntry:
    """Return an audit entry whose time is ``number`` milliseconds after the epoch."""
    return AuditEntry(first_id_of_ms(number), number, action, actor, subject, "192.0.2.1", "done", "{}")


@pytest.fixture
def audit(database: Database) -> SqlAuditStore:
    """Return the store of the audit log."""
    return SqlAuditStore(database)


async def test_an_entry_comes_back_as_it_went_in_and_only_once(audit: SqlAuditStore) -> None:
    """An entry is read back with all its fields, None included; adding it again changes nothing."""
    first, second = entry(1), entry(2, actor=None, subject=None)._replace(address=None, details='{"a": "\\u0000"}')
    await audit.append([first, second])
    await audit.append([first._replace(outcome="refused")])
    assert await audit.page(ALL, None, 10) == [second, first]


async def test_a_name_that_is_longer_in_lower_case_keeps_no_entry_out(audit: SqlAuditStore) -> None:
    """An entry about a name whose lower case has more characters is stored and found like any other.

    Anybody can try to log in with such a name, and a rejected entry would take others with it.
    """
    name = "\u0130" * 254  # each has two characters in lower case
    await audit.append([entry(1), entry(2, actor=name, subject=name)])
    assert len(await audit.page(ALL, None, 10)) == 2
    (found,) = await audit.page(AuditFilter(actor=name, subject=name), None, 10)
    assert found.subject == name


async def test_pages_follow_each_other_without_gap_or_duplicate(audit: SqlAuditStore) -> None:
    """Consecutive pages give the whole log, newest first."""
    entries = [entry(number) for number in range(1, 8)]
    await audit.append(entries)
    seen: list[AuditEntry] = []
    before = None
    while page := await audit.page(ALL, before, 3):
        seen += page
        before = page[-1].id
    assert seen == entries[::-1]


async def test_filters_select(audit: SqlAuditStore) -> None:
    """An entry must satisfy all filters. Names are compared regardless of letter case, actions and times exactly."""
    entries = [
        entry(10),
        entry(20, action="account changed", actor="root"),
        entry(30, action="account changed", actor="root", subject="bob"),
        entry(40, actor=None, subject="Bob"),
    ]
    await audit.append(entries)

    async def found(selection: AuditFilter, before: bytes | None = None) -> list[int]:
        return [each.created_ms for each in await audit.page(selection, before, 10)]

    assert await found(AuditFilter(actor="aDa")) == [10]
    assert await found(AuditFilter(subject="BOB")) == [40, 30]
    assert await found(AuditFilter(action="account changed")) == [30, 20]
    assert await found(AuditFilter(action="account changed", subject="ada")) == [20]
    assert await found(AuditFilter(since=at(20), until=at(40))) == [30, 20]
    assert await found(AuditFilter(since=at(20), until=at(40)), entries[2].id) == [20]
    assert await found(AuditFilter(actor="a\x00b", action="\x00", subject="\ud800")) == []


async def test_the_clock_selects_even_where_an_id_is_ahead(audit: SqlAuditStore) -> None:
    """Time filters use an entry's ``created_ms``, even if the time in its id is some seconds later."""
    ahead = entry(100_000)._replace(id=first_id_of_ms(104_999))
    await audit.append([ahead])
    assert await audit.page(AuditFilter(since=at(100_000), until=at(100_001)), None, 10) == [ahead]
    assert await audit.page(AuditFilter(since=at(100_001)), None, 10) == []


async def test_pruning_takes_the_oldest(audit: SqlAuditStore) -> None:
    """Pruning deletes the entries with ids below a bound, in batches and oldest first."""
    await audit.append([entry(number) for number in range(1, 7)])
    bound = first_id_of_ms(5)
    assert [await audit.prune(bound, 3) for _ in range(3)] == [3, 1, 0]
    assert [each.created_ms for each in await audit.page(ALL, None, 10)] == [6, 5]


async def test_the_database_refuses_a_change(database: Database, audit: SqlAuditStore) -> None:
    """The database itself refuses to change an entry, even for direct SQL."""
    await audit.append([entry(1)])
    with pytest.raises((IntegrityError, StoreUnavailable)):
        await database.write(lambda connection: connection.execute(text("UPDATE audit SET actor = 'mallory'")))
    assert await audit.page(ALL, None, 10) == [entry(1)]


async def test_a_change_and_its_entry_are_stored_together(database: Database, audit: SqlAuditStore, ada: User) -> None:
    """A change stores its audit entry, with the account's name as registered; a refused change stores none."""
    users = SqlUserStore(database)
    added, changed, deleted = (entry(number, action, "root", "ADA") for number, action in enumerate("abc", 1))
    await users.add(ada, audit=added)
    with pytest.raises(Conflict):
        await users.add(ada, audit=entry(9))
    with pytest.raises(NotFound):
        await users.change("nobody", None, True, audit=entry(9))
    with pytest.raises(NotFound):
        await users.delete("nobody", KEEPING, audit=entry(9))
    await users.change("ADA", None, True, audit=changed)
    await users.delete("ADA", KEEPING, audit=deleted)
    spelt = [deleted._replace(subject="ada"), changed._replace(subject="ada"), added]
    assert await audit.page(ALL, None, 10) == spelt


@pytest.fixture
def ada() -> User:
    """Return an account that is not stored yet."""
    return User(bytes(15) + b"a", "ada", "ada@example.com", "hash", Role.USER, datetime(2026, 11, 22, tzinfo=UTC))
