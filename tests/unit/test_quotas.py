"""Quotas of users in windows of an hour or a day, with a clock that the test moves."""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter

import pytest

from pycalc.db.base import QuotaTotal
from pycalc.errors import LimitState, Overloaded, QuotaExceeded
from pycalc.models.auth import Principal
from pycalc.models.limits import UserLimit, UserLimits, parse_bytes, parse_seconds
from pycalc.models.usage import quota_item
from pycalc.observability.metrics import Metrics
from pycalc.services.limits.quotas import WindowQuota, compute_quota, digits_quota
from tests.harness.callers import caller

HOUR, DAY = 3_600, 86_400
AN_HOUR = UserLimits(compute=UserLimit(300, HOUR))
ADA, BOB = caller(bytes([1]) * 16, AN_HOUR), caller(bytes([2]) * 16, AN_HOUR)


class Clock:
    """A clock that the test moves."""

    now = 10 * HOUR + 600.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return a clock at ten minutes past the hour."""
    return Clock()


@pytest.fixture
def metrics() -> Metrics:
    """Return new metrics."""
    return Metrics()


@pytest.fixture
def quota(clock: Clock, metrics: Metrics) -> WindowQuota:
    """Return a quota of computing time."""
    return WindowQuota("compute", "seconds of computing", "seconds", attrgetter("compute"), metrics, clock=clock)


def used(quota: WindowQuota, user: Principal = ADA) -> float:
    """Return the seconds that a user has used."""
    (state,) = quota.states(user)
    return state["used"]


def test_a_quota_is_used_up_and_resets_with_the_hour(quota: WindowQuota, clock: Clock, metrics: Metrics) -> None:
    """A user whose quota is used up is refused until the window ends; the error contains use, limit and reset time."""
    quota.charge(ADA, 299.5)
    quota.require(ADA)
    quota.charge(ADA, 2.0)
    with pytest.raises(QuotaExceeded, match="No more than 300 seconds of computing an hour: wait") as no:
        quota.require(ADA)
    assert (no.value.used, no.value.resets_at) == (301.5, 11 * HOUR)
    assert no.value.quota == LimitState(300, HOUR, 0, 3_001, "compute", "seconds")
    assert no.value.retry_after == 3_001
    assert metrics.registry.get_sample_value("pycalc_rate_limited_total", {"limit": "compute"}) == 1
    quota.require(BOB)
    clock.now = 11 * HOUR - 0.5
    with pytest.raises(QuotaExceeded):
        quota.require(ADA)
    clock.now = 11 * HOUR
    quota.require(ADA, 300.0)
    assert quota.states(ADA) == [quota_item("compute", 300, 0.0, HOUR, 12 * HOUR)]


def test_what_would_exceed_the_quota_is_refused_before(quota: WindowQuota) -> None:
    """An amount above the remainder is refused and charges nothing; a smaller one is admitted."""
    quota.charge(ADA, 290.0)
    with pytest.raises(QuotaExceeded, match="10 are left"):
        quota.require(ADA, 10.5)
    quota.require(ADA, 10.0)
    assert used(quota) == 290.0


def test_work_side_by_side_stays_within_the_quota(quota: WindowQuota) -> None:
    """The estimates of running work are reserved until the work ends, whether it succeeds or fails."""
    with quota.reserved(ADA, 200.0):
        with pytest.raises(Overloaded, match="retry in 1 s"), quota.reserved(ADA, 150.0):
            pytest.fail("the work was admitted")
        with quota.reserved(ADA, 100.0), pytest.raises(Overloaded), quota.reserved(ADA, 0.5):
            pytest.fail("the work was admitted")
    with pytest.raises(RuntimeError), quota.reserved(ADA, 300.0):
        raise RuntimeError
    with quota.reserved(ADA, 300.0):
        pass
    assert used(quota) == 0.0


def test_sums_that_are_inexact_are_rounded(quota: WindowQuota) -> None:
    """Rounding errors of many small charges do not add up: exactly the remainder is admitted, and nothing above it."""
    for _ in range(199):
        quota.charge(ADA, 0.1)
    quota.require(ADA, 280.1)
    with quota.reserved(ADA, 280.1), pytest.raises(Overloaded), quota.reserved(ADA, 0.00001):
        pytest.fail("the work was admitted")
    with pytest.raises(QuotaExceeded, match=r"280\.1 are left"):
        quota.require(ADA, 280.10001)
    for _ in range(2_801):
        quota.charge(ADA, 0.1)
    with pytest.raises(QuotaExceeded, match="an hour: wait"):
        quota.require(ADA)


def test_reservations_refuse_no_small_work(quota: WindowQuota) -> None:
    """While the whole quota is reserved, small work that reserves nothing is still admitted."""
    with quota.reserved(ADA, 300.0):
        quota.require(ADA, 0.001)


@pytest.mark.parametrize(
    ("before", "asked", "advice"),
    [
        (0.0, 301.0, "an hour, and this would take about 301: ask for less."),
        (290.0, 20.0, "an hour; 10 are left: wait for the reset, or ask for less."),
        (300.0, 0.0, "an hour: wait for the reset."),
    ],
)
def test_a_refusal_says_what_helps(quota: WindowQuota, before: float, asked: float, advice: str) -> None:
    """If a quota refuses a request, the message advises to ask for less, to wait for the reset, or either of these."""
    quota.charge(ADA, before)
    with pytest.raises(QuotaExceeded) as refused:
        quota.require(ADA, asked)
    assert refused.value.detail == f"No more than 300 seconds of computing {advice}"


def test_work_that_ends_in_the_next_window_leaves_no_trace_of_its_estimate(quota: WindowQuota, clock: Clock) -> None:
    """If work ends in the next window, releasing its reservation does not change the use in that window."""
    with quota.reserved(ADA, 100.0):
        clock.now += HOUR
        quota.charge(ADA, 90.0)
    with pytest.raises(QuotaExceeded):
        quota.require(ADA, 210.5)
    quota.require(ADA, 210.0)


def test_a_refund_belongs_to_the_window_of_its_charge(quota: WindowQuota, clock: Clock) -> None:
    """If a charge is refunded in the next window, that window's use does not change, nor become negative."""
    key = key_of(ADA, UserLimit(120, HOUR))
    of_key, of_user = quota.spend(key, 50.0), quota.spend(ADA, 100.0)
    clock.now += HOUR
    quota.add(of_key, -50.0)
    assert [state["used"] for state in quota.states(key)] == [0.0, 0.0]
    quota.spend(key, 120.0)
    quota.add(of_user, -100.0)
    assert [state["used"] for state in quota.states(key)] == [120.0, 120.0]
    with pytest.raises(QuotaExceeded):
        quota.spend(key, 1.0)
    with pytest.raises(QuotaExceeded):
        quota.spend(ADA, 181.0)


def test_a_refund_gives_back_what_was_charged(quota: WindowQuota) -> None:
    """A refund within the window returns the amount to user and key, even if their limits have changed since."""
    key = key_of(ADA, UserLimit(10, DAY))
    uses = quota.spend(key, 9.0)
    quota.charge(key, 0.5)
    quota.add(uses, -9.0)
    assert [state["used"] for state in quota.states(key)] == [0.5, 0.5]
    uses = quota.spend(key, 9.0)
    free = caller(ADA.user_id)
    assert quota.spend(free, 1e30) == []
    quota.add(uses, -9.0)
    assert [state["used"] for state in quota.states(key)] == [0.5, 0.5]


def test_a_quota_that_no_database_counts_is_refused() -> None:
    """A quota is refused if it does not fit into 64 bits when it is counted in millionths."""
    assert parse_bytes("9TB/day").amount == 9 * 10**12
    with pytest.raises(ValueError, match="more than a database can count"):
        parse_bytes("10TB/day")


def test_without_a_quota_nothing_is_refused() -> None:
    """A caller without a limit is never refused, and causes no stored state."""
    free = caller(ADA.user_id)
    for quota in (compute_quota(Metrics()), digits_quota(Metrics())):
        quota.charge(free, 1e30)
        quota.require(free, 1e30)
        with quota.reserved(free, 1e30):
            assert (quota.states(free), quota.ids_of(free), quota.unstored()) == ([], {}, [])


def test_another_limit_is_in_force_at_once(quota: WindowQuota) -> None:
    """If only the amount of a limit changes, the use is kept; if its window changes, the use starts again at 0."""
    quota.charge(ADA, 40.0)
    lower = caller(ADA.user_id, UserLimits(compute=UserLimit(30, HOUR)))
    with pytest.raises(QuotaExceeded, match="No more than 30 seconds"):
        quota.require(lower)
    quota.require(ADA, 260.0)
    daily = caller(ADA.user_id, UserLimits(compute=UserLimit(30, DAY)))
    assert quota.states(daily) == [quota_item("compute", 30, 0.0, DAY, DAY)]
    assert sorted((use.ends, use.used) for use in quota.unstored()) == [(11 * HOUR, 40_000_000), (DAY, 0)]


def test_quotas_are_read() -> None:
    """A quota in the settings is a number of seconds or bytes per minute, hour or day; bytes may have SI prefixes."""
    assert parse_seconds("300s/hour") == (300, HOUR)
    assert parse_seconds("1s/minute") == (1, 60)
    assert parse_bytes("5GB/day") == (5_000_000_000, 86_400)
    assert [parse_bytes(f"2{unit}/hour").amount for unit in ("B", "kB", "MB", "TB")] == [
        2,
        2_000,
        2 * 10**6,
        2 * 10**12,
    ]


@pytest.mark.parametrize("text", ["300/hour", "0s/hour", "300s", "300s/week", "5GB/day", "-1s/day", "1.5s/day", " "])
def test_what_is_no_quota_of_time_is_refused(text: str) -> None:
    """An invalid quota of time is refused with a message that shows a valid one."""
    with pytest.raises(ValueError, match="is not a quota such as 300s/hour"):
        parse_seconds(text)


@pytest.mark.parametrize("text", ["5/day", "5GiB/day", "5gb/day", "300s/hour", "\u0665GB/day"])
def test_what_is_no_quota_of_bytes_is_refused(text: str) -> None:
    """An invalid quota of bytes is refused with a message that shows a valid one."""
    with pytest.raises(ValueError, match="is not a quota such as 5GB/day"):
        parse_bytes(text)


def key_of(user: Principal, limit: UserLimit) -> Principal:
    """Return a caller who uses an API key of this user; the key has its own limit."""
    return replace(user, key=replace(user, user_id=b"k" * 16, limits=UserLimits(compute=limit, prefix="key-")))


def test_a_refusal_writes_amounts_and_windows_as_people_do(quota: WindowQuota) -> None:
    """A message writes amounts without an exponent, and states unusual windows in seconds."""
    ample = replace(ADA, limits=UserLimits(compute=UserLimit(50_000_000_000, HOUR)))
    quota.charge(ample, 37_654_321_099.5)
    sentence = "No more than 50,000,000,000 seconds of computing an hour; 12,345,678,900.5 are left: "
    with pytest.raises(QuotaExceeded, match=sentence):
        quota.require(ample, 20_000_000_000.0)
    with pytest.raises(QuotaExceeded, match="computing an hour, and this would take about 6,270,000: ask for less"):
        quota.require(BOB, 6_270_000.4)
    with pytest.raises(QuotaExceeded, match="would take about 1,000: ask"):
        quota.require(BOB, 999.7)
    for _ in range(3_000):
        quota.charge(BOB, 0.1)  # a little less than 300 in floating point
    with pytest.raises(QuotaExceeded, match="computing an hour: wait for the reset"):
        quota.require(BOB)
    caller = replace(BOB, limits=UserLimits(compute=UserLimit(10, 7_200)))
    with pytest.raises(QuotaExceeded, match=r"computing in 7,200 seconds, and this would take about 10\.5: ask"):
        quota.require(caller, 10.5)


def test_a_key_counts_in_its_own_quota_and_in_its_users(quota: WindowQuota) -> None:
    """A key's charge counts in the quotas of key and user; the user's other charges do not count in the key's."""
    key = key_of(ADA, UserLimit(10, DAY))
    quota.charge(ADA, 5.0)
    quota.spend(key, 9.0)
    assert quota.states(ADA) == [quota_item("compute", 300, 14.0, HOUR, 11 * HOUR)]
    assert quota.states(key) == [*quota.states(ADA), quota_item("key-compute", 10, 9.0, DAY, DAY)]
    with pytest.raises(QuotaExceeded, match="No more than 10 seconds of computing a day with this API key"):
        quota.spend(key, 2.0)
    quota.require(ADA, 200.0)
    assert quota.states(key)[0]["used"] == 14.0
    stored = {(use.user_id, use.ends): use.used for use in quota.unstored()}
    assert stored == {(ADA.user_id, 11 * HOUR): 14_000_000, (b"k" * 16, DAY): 9_000_000}


def test_a_reservation_of_a_key_is_returned_to_both(quota: WindowQuota) -> None:
    """An amount that a key reserves is taken from the quotas of key and user, and is available in both afterwards."""
    key = key_of(ADA, UserLimit(10, HOUR))
    with quota.reserved(key, 8.0):
        with pytest.raises(Overloaded), quota.reserved(key, 3.0):
            pass
        with pytest.raises(Overloaded), quota.reserved(ADA, 295.0):
            pass
    with quota.reserved(key, 9.0), quota.reserved(ADA, 290.0):
        pass


def test_other_processes_charge_a_key_too(quota: WindowQuota) -> None:
    """An API key's use in other processes counts in its own quota; the user's use has a total of its own."""
    key = key_of(ADA, UserLimit(10, HOUR))
    quota.require(key)
    quota.learn([QuotaTotal(b"k" * 16, "compute", 11 * HOUR, 10_000_000)])
    with pytest.raises(QuotaExceeded):
        quota.require(key)
    quota.require(ADA)
    assert quota.ids_of(key).keys() == {ADA.user_id, b"k" * 16}
