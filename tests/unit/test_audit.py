"""The audit log: entries are stored in order, and those above a limit are counted instead of stored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import count

import pytest
from structlog.testing import capture_logs

from pycalc.errors import StoreUnavailable
from pycalc.models import ids
from pycalc.models.audit import AuditEntry, AuditOutcome
from pycalc.models.ids import IdSource, unix_ms_of_id
from pycalc.observability.metrics import Metrics
from pycalc.services.accounts import audit_log
from pycalc.services.accounts.audit_log import AuditLog, RefusalLog
from tests.harness.authentication import audit_in
from tests.harness.stores import MemoryAuditStore
from tests.harness.waiting import until

pytestmark = pytest.mark.anyio


async def test_a_hundred_at_once_and_ten_a_second_are_written() -> None:
    """The log takes 100 refusals at once and then 10 a second; it counts the rest.

    Known users and unknown callers have separate allowances. A pause restores an allowance up to its size.
    """
    now = 5.0
    metrics = Metrics()
    log = RefusalLog(metrics, audit_in(MemoryAuditStore(), metrics, lambda: now), clock=lambda: now)

    def written(known: bool, tries: int) -> int:
        with capture_logs() as logs:
            for number in range(tries):
                log.refused(f"user{number}" if known else None, f"10.0.0.{number}", path="/me")
        assert all((entry["event"], entry["path"]) == ("request refused", "/me") for entry in logs)
        assert all(known == (entry["user"] is not None) for entry in logs)
        return len(logs)

    assert (written(False, 101), written(True, 100)) == (100, 100)
    now = 5.0625
    assert written(False, 1) == 0
    now = 5.125
    assert written(False, 2) == 1
    now = 7.125
    assert written(False, 30) == 20
    now = 1_000.0
    assert written(False, 150) == 100
    suppressed = metrics.registry.get_sample_value
    assert suppressed("pycalc_audit_suppressed_total", {"caller": "unknown"}) == 1 + 1 + 1 + 10 + 50
    assert suppressed("pycalc_audit_suppressed_total", {"caller": "known"}) == 0


@pytest.mark.parametrize(("flooding", "others"), [("eve", "ada"), (None, None), ("eve", None), (None, "ada")])
async def test_one_caller_does_not_crowd_out_the_refusals_of_others(flooding: str | None, others: str | None) -> None:
    """The log takes 20 refusals at once and one a second of each user, and of each address of unknown callers."""
    now = 5.0
    metrics = Metrics()
    log = RefusalLog(metrics, audit_in(MemoryAuditStore(), metrics, lambda: now), clock=lambda: now)

    def written(user: str | None, address: str, tries: int) -> int:
        with capture_logs() as logs:
            for _ in range(tries):
                log.refused(user, address, path="/me")
        assert all((entry["user"], entry["address"]) == (user, address) for entry in logs)
        return len(logs)

    assert (written(flooding, "10.0.0.1", 500), written(others, "10.0.0.2", 1)) == (20, 1)
    now = 15.0
    assert (written(flooding, "10.0.0.1", 500), written(others, "10.0.0.2", 1)) == (10, 1)


async def test_entries_are_stored_in_order_although_the_database_fails() -> None:
    """While the database is unavailable, entries wait; afterwards they are stored in order, each once."""
    store, metrics = MemoryAuditStore(), Metrics()
    log = audit_in(store, metrics)
    store.error = StoreUnavailable("away")
    for number in range(300):
        log.store_soon(log.entry("account created", None, f"user {number}"))
    await until(lambda: store.tries > 2, "three tries to store entries")
    assert metrics.registry.get_sample_value("pycalc_audit_waiting") == 300
    store.error = None
    await log.aclose()
    assert [entry.actor for entry in store.entries] == [f"user {number}" for number in range(300)]
    assert metrics.registry.get_sample_value("pycalc_audit_waiting") == 0


async def test_closing_gives_up_what_the_database_does_not_take() -> None:
    """If the database stays unavailable, closing the log does not wait for it, and counts the lost entries."""
    store, metrics = MemoryAuditStore(), Metrics()
    store.error = StoreUnavailable("away")
    log = audit_in(store, metrics)
    log.record("key created", actor="ada", subject="ada")
    await log.aclose()
    assert metrics.registry.get_sample_value("pycalc_audit_unstored_total", {"reason": "unavailable"}) == 1


async def test_a_batch_that_is_rejected_keeps_no_later_one_out() -> None:
    """Entries that the database rejects are dropped and counted, and later entries are stored."""
    store, metrics = MemoryAuditStore(), Metrics()
    store.error = ValueError("rejected")
    log = audit_in(store, metrics)
    log.record("key created", actor="ada", subject="ada")
    await until(lambda: store.tries == 1, "the rejection")
    store.error = None
    log.record("key removed", actor="ada", subject="ada")
    await log.aclose()
    assert [entry.action for entry in store.entries] == ["key removed"]
    assert metrics.registry.get_sample_value("pycalc_audit_unstored_total", {"reason": "rejected"}) == 1


async def test_a_rejected_entry_keeps_no_other_out() -> None:
    """Of entries that are stored together, the database rejects the bad ones only: the others are stored in order.

    Few transactions are needed: each one that succeeds doubles the number of entries in the next one.
    """
    transactions = 0

    class Particular(MemoryAuditStore):
        async def append(self, entries: Sequence[AuditEntry]) -> None:
            nonlocal transactions
            transactions += 1
            if any(entry.action == "bad" for entry in entries):
                raise ValueError("rejected")
            await super().append(entries)

    store, metrics = Particular(), Metrics()
    log = audit_in(store, metrics)
    for number in range(300):
        log.store_soon(log.entry("bad" if number in (5, 200) else "account created", None, f"user {number}"))
    await log.aclose()
    assert [entry.actor for entry in store.entries] == [f"user {n}" for n in range(300) if n not in (5, 200)]
    assert transactions < 40
    assert metrics.registry.get_sample_value("pycalc_audit_unstored_total", {"reason": "rejected"}) == 2


async def test_the_queue_is_bounded() -> None:
    """While the database is unavailable, at most 10,000 entries wait, and further ones are only counted."""
    store, metrics = MemoryAuditStore(), Metrics()
    store.error = StoreUnavailable("away")
    log = audit_in(store, metrics)
    for number in range(10_001):
        log.store_soon(log.entry("session opened", None, f"user {number}"))
    assert metrics.registry.get_sample_value("pycalc_audit_waiting") == 10_000
    assert metrics.registry.get_sample_value("pycalc_audit_unstored_total", {"reason": "queue"}) == 1
    await log.aclose()


async def test_what_one_user_and_all_strangers_cause_is_bounded() -> None:
    """The audit log stores 50 actions of a user at once, and then one an hour.

    A user's refused actions have a separate limit of the same size. All unknown callers together have 1,000 entries at
    once, and then one in 10 s. What an admin does to others is not limited.
    """
    now, store, metrics = 0.0, MemoryAuditStore(), Metrics()
    log = audit_in(store, metrics, lambda: now)

    def stored(actor: str | None, tries: int, outcome: AuditOutcome = "done", subject: str | None = None) -> float:
        before = metrics.registry.get_sample_value("pycalc_audit_waiting") or 0
        for _ in range(tries):
            log.store_soon(log.entry("session opened", actor=actor, subject=subject or actor, outcome=outcome))
        return (metrics.registry.get_sample_value("pycalc_audit_waiting") or 0) - before

    assert (stored("ada", 51), stored("bob", 1), stored(None, 1_001)) == (50, 1, 1_000)
    assert (stored("ada", 51, "refused"), stored("ada", 80, subject="bob")) == (50, 80)
    now = 3_590.0
    assert stored("ada", 1) == 0
    now = 3_610.0
    assert (stored("ada", 2), stored("ada", 2, "refused"), stored(None, 400)) == (1, 1, 361)
    await log.aclose()


@pytest.mark.parametrize(("seconds", "stored"), [(9_999.95, 999), (10_000.05, 1_000)])
async def test_strangers_get_an_entry_every_ten_seconds(seconds: float, stored: int) -> None:
    """The allowance of unknown callers, 1,000 entries, is restored after 10,000 seconds, and not earlier."""
    now, metrics = 0.0, Metrics()
    log = audit_in(MemoryAuditStore(), metrics, lambda: now)
    for moment in (0.0, seconds):
        now = moment
        for _ in range(1_000):
            log.store_soon(log.entry("login refused", None, None, "refused"))
    assert metrics.registry.get_sample_value("pycalc_audit_waiting") == 1_000 + stored
    await log.aclose()


@pytest.mark.parametrize(("others", "limited"), [(19_999, 1), (20_000, 0)])
async def test_the_limits_of_the_last_20000_users_are_known(others: int, limited: int) -> None:
    """After 20,000 other users, the limit of the user who acted least recently begins anew."""
    store, metrics = MemoryAuditStore(), Metrics()
    store.error = StoreUnavailable("away")  # so that nothing is stored meanwhile, which is slow
    log = audit_in(store, metrics, lambda: 0.0)
    entry = log.entry("session opened", actor="ada", subject="ada")
    for _ in range(50):
        log.store_soon(entry)
    for number in range(others):
        log.store_soon(entry._replace(actor=f"user {number}", subject=f"user {number}"))
    log.store_soon(entry)
    assert (metrics.registry.get_sample_value("pycalc_audit_unstored_total", {"reason": "limit"}) or 0) == limited
    await log.aclose()


async def test_an_entry_s_id_is_not_earlier_than_the_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time in an entry's id is not before its ``created_at``.

    Otherwise the filter ``since``, which skips ids of earlier times, could miss the entry.
    """
    clock = count(1_796_000_000_000)
    for module in (audit_log, ids):
        monkeypatch.setattr(module, "now_ms", lambda: next(clock))
    entry = audit_in(MemoryAuditStore(), Metrics()).entry("account created", None, None)
    assert unix_ms_of_id(entry.id) >= entry.created_ms


async def test_an_entry_has_a_limited_size_and_any_database_takes_it() -> None:
    """Long names and details are cut; NUL and lone surrogates are replaced, so that every database accepts them."""
    log = audit_in(MemoryAuditStore(), Metrics())
    entry = log.entry("login refused", "a\x00\ud800" + "b" * 300, None, reason='"' * 2_000)
    assert entry.subject == "a??" + "b" * 251
    assert len(entry.details) < 1_100
    assert json.loads(entry.details)


async def test_a_refused_request_is_stored_with_the_name_that_was_tried() -> None:
    """The username of a refused login is its entry's subject; other refusals have none.

    The details contain neither this name nor the client's address.
    """
    store, metrics = MemoryAuditStore(), Metrics()
    audit = AuditLog(store, IdSource(), metrics, lambda: "192.0.2.7")
    log = RefusalLog(metrics, audit)
    log.refused(None, tried="ada", address="192.0.2.7", path="/login", status=401)
    log.refused("bob", address="192.0.2.7", path="/users", status=403)
    await audit.aclose()
    assert [
        (entry.action, entry.actor, entry.subject, entry.address, entry.outcome, json.loads(entry.details))
        for entry in store.entries
    ] == [
        ("request refused", None, "ada", "192.0.2.7", "refused", {"path": "/login", "status": 401}),
        ("request refused", "bob", None, "192.0.2.7", "refused", {"path": "/users", "status": 403}),
    ]


async def test_the_log_names_an_actor_only_if_it_is_another() -> None:
    """The log names the subject and, if somebody else acted, the actor; a refusal is a warning."""
    audit = audit_in(MemoryAuditStore(), Metrics())
    with capture_logs() as logs:
        audit.record_own("ada", "key created", name="program")
        audit.record("account changed", subject="ada", actor="root")
        audit.record("login refused", "ada", None, "refused")
    await audit.aclose()
    assert logs == [
        {"event": "key created", "log_level": "info", "user": "ada", "name": "program"},
        {"event": "account changed", "log_level": "info", "user": "ada", "by": "root"},
        {"event": "login refused", "log_level": "warning", "user": "ada"},
    ]
