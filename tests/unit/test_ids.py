"""Row ids: UUIDv7 (RFC 9562 §5.7), strictly increasing within a process."""

from __future__ import annotations

import time
from datetime import datetime
from uuid import RFC_4122, UUID

import pytest

from pycalc.models.ids import IdSource, first_id_of_ms, id_of_text, text_of_id, unix_ms, unix_ms_of_id

# The time 2026-11-22T12:00:00Z.
MS_2026 = 1_795_348_800_000


def at(monkeypatch: pytest.MonkeyPatch, unix_ms: int) -> None:
    """Set the clock from which ids are made."""
    monkeypatch.setattr(time, "time_ns", lambda: unix_ms * 1_000_000)


def test_an_id_is_a_version_7_uuid_of_its_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    """An id has UUID version 7, the variant of RFC 9562, and the clock's millisecond as its first 48 bits."""
    at(monkeypatch, MS_2026)
    ids = IdSource()
    for _ in range(100):
        made = UUID(bytes=ids.next())
        assert (made.version, made.variant) == (7, RFC_4122)
        assert made.int >> 80 == MS_2026


def test_ids_of_one_millisecond_increase(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids of one millisecond increase strictly, and all contain that millisecond."""
    at(monkeypatch, MS_2026)
    ids = IdSource()
    made = [ids.next() for _ in range(10_000)]
    assert sorted(set(made)) == made
    assert {unix_ms_of_id(value) for value in made} == {MS_2026}


def test_a_block_of_ids_continues_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ids of a block increase strictly, follow earlier ids, precede later ones, and are version 7 UUIDs."""
    at(monkeypatch, MS_2026)
    ids = IdSource()
    made = [ids.next(), *ids.take(1_000), ids.next(), *ids.take(2)]
    assert len(made) == 1_004
    assert sorted(set(made)) == made
    assert {(UUID(bytes=value).version, UUID(bytes=value).variant) for value in made} == {(7, RFC_4122)}
    assert {unix_ms_of_id(value) for value in made} == {MS_2026}


def test_ids_increase_when_the_clock_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the clock steps back by 4 s, ids still increase, and follow the clock again once it has caught up."""
    ids, made = IdSource(), []
    for clock in (MS_2026, MS_2026 + 5, MS_2026 - 4_000, MS_2026 + 4, MS_2026 + 6):
        at(monkeypatch, clock)
        made += [ids.next(), ids.next()]
    assert sorted(set(made)) == made
    assert [unix_ms_of_id(value) - MS_2026 for value in made] == [0, 0, 5, 5, 5, 5, 5, 5, 6, 6]


def test_ids_of_a_wrong_clock_are_reported_and_not_built_upon(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the clock was ten years ahead, ids follow the corrected clock, in the same process and after a restart."""
    wrong, reported = MS_2026 + 315_360_000_000, list[float]()
    at(monkeypatch, wrong)
    ids = IdSource(None, reported.append)
    future = ids.next()
    assert ids.ahead_seconds() == 0
    at(monkeypatch, MS_2026)
    made = [ids.next() for _ in range(3)]
    restarted = IdSource(future, reported.append)
    made_after = [restarted.next() for _ in range(3)]
    for each in (made, made_after):
        assert sorted(set(each)) == each
        assert {unix_ms_of_id(value) for value in each} == {MS_2026}
    assert reported == [pytest.approx(315_360_000, abs=1)] * 2
    assert [each.ahead_seconds() for each in (ids, restarted)] == [pytest.approx(315_360_000, abs=1)] * 2
    at(monkeypatch, wrong + 1)
    assert ids.ahead_seconds() == 0


@pytest.mark.parametrize(("ahead", "kept"), [(4_999, True), (5_001, False)])
def test_a_few_seconds_are_built_upon_across_a_restart(monkeypatch: pytest.MonkeyPatch, ahead: int, kept: bool) -> None:
    """After a restart, ids continue from a stored id that is up to 5 s ahead of the clock, but not from a later one."""
    at(monkeypatch, MS_2026 + ahead)
    newest = IdSource().next()
    at(monkeypatch, MS_2026)
    assert (IdSource(newest).next() > newest) is kept


def test_two_processes_that_start_at_the_same_time_make_different_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes that continue from the same stored id, which is ahead of their clocks, make different ids."""
    at(monkeypatch, MS_2026 + 300)
    newest = IdSource().next()
    at(monkeypatch, MS_2026)
    first, second = IdSource(newest), IdSource(newest)
    assert {*first.take(100)}.isdisjoint(second.take(100))


def test_first_id_of_a_millisecond_bounds_its_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """An id is at least the first id of its millisecond, and less than the first id of the next millisecond."""
    at(monkeypatch, MS_2026)
    made = IdSource().next()
    assert first_id_of_ms(MS_2026) <= made < first_id_of_ms(MS_2026 + 1)


@pytest.mark.parametrize(
    ("unix_ms", "expected"),
    [(-1, bytes(16)), (0, bytes(16)), (2**48, b"\xff" * 6 + bytes(10)), (1, bytes(5) + b"\x01" + bytes(10))],
)
def test_first_id_stays_within_the_timestamps_48_bits(unix_ms: int, expected: bytes) -> None:
    """Times before 1970 and after 10889 give the nearest possible id."""
    assert first_id_of_ms(unix_ms) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-22T12:00:00.123Z", MS_2026 + 123),
        ("2026-11-22T14:00:00.123999+02:00", MS_2026 + 123),
        ("1969-12-31T23:59:59.999Z", -1),
        ("2038-01-19T05:25:39.765Z", 2_147_491_539_765),
        ("0001-01-01T00:00:00+14:00", -62_135_596_800_000 - 14 * 3_600_000),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
    ],
)
def test_a_moment_in_milliseconds_is_exact(text: str, expected: int) -> None:
    """Times are rounded down to milliseconds exactly, in any time zone, from year 1 to 9999."""
    assert unix_ms(datetime.fromisoformat(text)) == expected


def test_the_text_of_an_id_is_the_canonical_one() -> None:
    """The example in RFC 9562, appendix A.6, is read and written unchanged."""
    text = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"
    value = id_of_text(text)
    assert text_of_id(value) == text
    assert value == UUID(text).bytes
    assert unix_ms_of_id(value) == 0x017F22E279B0


@pytest.mark.parametrize("text", ["", "1", "017f22e2-79b0-7cc3-98c4-dc0c0c07398", "not-a-uuid", "g" * 32])
def test_what_is_no_uuid_is_a_value_error(text: str) -> None:
    """A text that is not a UUID raises ValueError."""
    with pytest.raises(ValueError, match=r"badly formed|invalid literal"):
        id_of_text(text)
