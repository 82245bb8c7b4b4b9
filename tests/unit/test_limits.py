"""Rate limits: which requests they admit or refuse, for how long, and how much they store."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import TypeVar

import pytest

from pycalc.cache.base import Bound, Spent
from pycalc.errors import LimitState, Overloaded, RateLimited, Unauthorized
from pycalc.models.limits import parse_limit, parse_limits
from pycalc.observability.metrics import Metrics
from pycalc.services.limits.calculation_rate import CalculationRateLimit, _Block, calculation_limits
from pycalc.services.limits.counters import Counters, Windows
from pycalc.services.limits.rate_limits import (
    AddressRateLimit,
    FailedLogins,
    _Failures,
)
from tests.harness.counting import calculation_rate, count, count_of, spend_one

pytestmark = pytest.mark.anyio

T = TypeVar("T")

HERE, THERE = "198.51.100.7", "203.0.113.9"
HOUR = 3600


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Logins:
    """A login limit, with the times at which wrong passwords were checked."""

    def __init__(self, limit: str = "10/minute", bound: int = 1000) -> None:
        self.clock = Clock()
        self.metrics = Metrics()
        self.limit = FailedLogins(limit, self.metrics, bound=bound, clock=self.clock)
        self.checks: list[float] = []

    @property
    def checked(self) -> int:
        """Return the number of wrong passwords that were checked."""
        return len(self.checks)

    def too_often(self) -> bool:
        """Return whether there are 60 minutes in which more than thirty passwords were checked."""
        return any(later - earlier < HOUR for earlier, later in zip(self.checks, self.checks[30:], strict=False))

    async def fail(self, name: str = "ada", address: str = HERE) -> int:
        """Try a wrong password; return 0 if it was checked, or the seconds to wait if the limit refused it."""
        try:
            async with self.limit.attempt(name, address):
                self.checks.append(self.clock.now)
                raise Unauthorized("wrong")
        except Unauthorized:
            return 0
        except RateLimited as refusal:
            return refusal.retry_after

    async def succeed(self, name: str = "ada", address: str = HERE) -> None:
        """Log in, or raise RateLimited."""
        async with self.limit.attempt(name, address):
            pass

    def refused(self, limit: str) -> float:
        """Return the number of refusals by this limit."""
        return self.metrics.registry.get_sample_value("pycalc_rate_limited_total", {"limit": limit}) or 0


async def test_the_eleventh_failure_is_refused_and_its_password_not_looked_at() -> None:
    """The eleventh failed login within the window is refused without checking its password.

    Names that differ only in letter case are one account; other accounts are not affected.
    """
    logins = Logins()
    assert [await logins.fail(name) for name in ("ada", "ADA") * 5] == [0] * 10
    assert await logins.fail("Ada") == 60
    with pytest.raises(RateLimited):
        await logins.succeed()
    assert logins.checked == 10
    assert logins.refused("login-account") == 2
    await logins.succeed("bob")


async def test_the_wait_doubles_up_to_an_hour() -> None:
    """Each time the limit is reached, the wait doubles, up to an hour; after it, logins are checked again."""
    logins = Logins("1/minute")
    logins.limit._kinds = logins.limit._kinds[:1]  # Use the limit of addresses: ten a minute, and no hourly limit.
    waits = []
    for _ in range(8):
        while not (wait := await logins.fail()):
            continue
        waits.append(wait)
        logins.clock.now += wait
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600]


async def test_refused_tries_do_not_prolong_the_wait() -> None:
    """Logins during the wait are refused, and do not prolong it."""
    logins = Logins()
    for _ in range(10):
        await logins.fail()
    logins.clock.now += 59
    assert {await logins.fail() for _ in range(1000)} == {1}
    logins.clock.now += 1
    await logins.succeed()


async def test_a_success_forgets_the_failures_of_the_short_window() -> None:
    """A successful login resets the count of failed logins: ten more may fail before the account must wait 60 s."""
    logins = Logins()
    for _ in range(4):
        await logins.fail()
    await logins.succeed()
    assert [await logins.fail() for _ in range(10)] == [0] * 10
    assert await logins.fail() == 60


async def test_a_success_does_not_forget_the_hours_failures() -> None:
    """A successful login does not reset the hourly count, so the owner's logins give an attacker no more tries."""
    logins = Logins()
    for _ in range(4):
        for _ in range(9):
            await logins.fail()
        with suppress(RateLimited):
            await logins.succeed()
    assert logins.checked == 15
    assert await logins.fail() == HOUR


@pytest.mark.parametrize(
    ("pause", "attempts"),
    [(0.0, 1_000), (0.4, 10_000), (6.5, 2_000), (7.0, 2_000), (60.0, 1_000), (119.0, 1_000), (241.0, 1_000)],
)
async def test_attempts_cost_thirty_hashes_an_hour_at_most(pause: float, attempts: int) -> None:
    """In any 60 minutes, at most thirty passwords of an account are checked, from any number of addresses."""
    logins = Logins()
    for attempt in range(attempts):
        await logins.fail(address=f"10.0.{attempt // 250}.{attempt % 250}")
        logins.clock.now += pause
    assert logins.checked >= 10
    assert not logins.too_often()


@pytest.mark.parametrize(("pause", "attempts"), [(0.4, 5_000), (6.5, 2_000), (60.0, 1_000), (241.0, 1_000)])
@pytest.mark.parametrize("every", [2, 9])
async def test_the_owners_logins_give_no_guesses_back(pause: float, attempts: int, every: int) -> None:
    """If the owner logs in between an attacker's tries, the attacker still has only thirty tries an hour."""
    logins = Logins()
    for attempt in range(attempts):
        await logins.fail(address=f"10.0.{attempt // 250}.{attempt % 250}")
        if attempt % every == 0:
            with suppress(RateLimited):
                await logins.succeed(address=THERE)
        logins.clock.now += pause
    assert logins.checked >= 15
    assert not logins.too_often()


async def test_thirty_an_hour_hold_where_two_windows_meet() -> None:
    """At most thirty passwords are checked in any 60 minutes, also across the end of an hourly window."""
    logins = Logins()
    await logins.fail()
    logins.clock.now += HOUR - 125
    for _ in range(2000):
        await logins.fail()
        logins.clock.now += 7
    assert logins.checked > 30
    assert not logins.too_often()


async def test_an_address_has_ten_times_as_many() -> None:
    """An address may fail ten times as often as an account, which limits tries of one password on many accounts."""
    logins = Logins()
    assert [await logins.fail(f"user{number}") for number in range(100)] == [0] * 100
    assert await logins.fail("user100") == 60
    assert logins.refused("login-address") == 1
    assert await logins.fail("user100", THERE) == 0


async def test_tries_at_once_count_before_they_fail() -> None:
    """If ten logins may fail, only ten of 50 concurrent guesses are checked; the others must wait a second."""
    logins = Logins()
    gate = asyncio.Event()

    async def guess(number: int) -> int:
        try:
            async with logins.limit.attempt("ada", f"10.0.0.{number}"):
                logins.checks.append(logins.clock.now)
                await gate.wait()
                raise Unauthorized("wrong")
        except Unauthorized:
            return 0
        except RateLimited as refusal:
            return refusal.retry_after

    guesses = [asyncio.create_task(guess(number)) for number in range(50)]
    assert await asyncio.gather(*guesses[10:]) == [1] * 40
    gate.set()
    assert await asyncio.gather(*guesses[:10]) == [0] * 10
    assert await logins.fail() == 60


async def test_an_address_has_eight_tries_under_way() -> None:
    """An address may have eight login tries at the same time, over all accounts; the ninth must wait a second."""
    logins = Logins()
    gate = asyncio.Event()

    async def log_in(number: int, address: str = HERE) -> int:
        try:
            async with logins.limit.attempt(f"user{number}", address):
                await gate.wait()
        except RateLimited as refusal:
            return refusal.retry_after
        return 0

    tries = [asyncio.create_task(log_in(number)) for number in range(20)]
    elsewhere = asyncio.create_task(log_in(20, THERE))
    assert await asyncio.gather(*tries[8:]) == [1] * 12
    gate.set()
    assert await asyncio.gather(*tries[:8], elsewhere) == [0] * 9
    assert logins.refused("login-address") == 12
    assert await log_in(21) == 0


async def test_a_guess_whose_client_hangs_up_counts() -> None:
    """A login whose client disconnects counts as failed, because its password hash was computed."""
    logins = Logins()
    for _ in range(10):
        with suppress(asyncio.CancelledError):
            async with logins.limit.attempt("ada", HERE):
                raise asyncio.CancelledError
    assert await logins.fail() == 60


class Distant(Counters):
    """A counter store whose ``spend`` counts at once, but replies only after the test has set ``answering``."""

    def __init__(self) -> None:
        super().__init__()
        self.counted, self.answering = asyncio.Event(), asyncio.Event()

    async def spend(self, amount: int, bounds: Sequence[Bound]) -> list[Spent]:
        counted = await super().spend(amount, bounds)
        self.counted.set()
        await self.answering.wait()
        return counted


async def test_a_try_cancelled_while_it_is_counted_is_taken_back() -> None:
    """If the client disconnects while its login is being counted, the count is taken back."""
    distant = Distant()
    failures = _Failures("login-account", [parse_limit("10/minute")], distant, Metrics())
    trying = asyncio.create_task(failures.trying("ada").__aenter__())
    await distant.counted.wait()
    trying.cancel()
    distant.answering.set()
    with suppress(asyncio.CancelledError):
        await trying
    assert trying.cancelled()
    assert await count_of(distant, "ada trying") == 0


class RoundTrips:
    """A slow counter store, whose concurrent calls share one round trip."""

    def __init__(self) -> None:
        self._counters = Counters()
        self._waiting: list[asyncio.Event] = []

    async def during(self, work: Coroutine[None, None, None]) -> int:
        """Return the number of consecutive round trips that some work takes."""
        task = asyncio.create_task(work)
        trips = 0
        while not task.done():
            for _ in range(20):  # let every task reach its next call
                await asyncio.sleep(0)
            trips += bool(self._waiting)
            while self._waiting:
                self._waiting.pop().set()
        await task
        return trips

    async def spend(self, amount: int, bounds: Sequence[Bound]) -> list[Spent]:
        return await self._answered(self._counters.spend(amount, bounds))

    async def clear(self, *keys: str) -> None:
        await self._answered(self._counters.clear(*keys))

    async def _answered(self, answer: Awaitable[T]) -> T:
        answered = asyncio.Event()
        self._waiting.append(answered)
        value = await answer
        await answered.wait()
        return value


def counted_by(far: RoundTrips) -> FailedLogins:
    """Return a limit on failed logins that uses this counter store."""
    limit = FailedLogins("10/minute", Metrics())
    for failures in limit._kinds:
        failures._windows.counters = far
    return limit


@pytest.mark.parametrize("right", [True, False])
async def test_a_try_makes_five_round_trips(right: bool) -> None:
    """A login with a right or a wrong password takes five round trips to the counter store."""
    far = RoundTrips()
    limit = counted_by(far)

    async def log_in() -> None:
        with suppress(Unauthorized):
            async with limit.attempt("ada", HERE):
                if not right:
                    raise Unauthorized("wrong")

    assert await far.during(log_in()) == 5


async def test_the_try_that_begins_a_wait_makes_seven() -> None:
    """If a failed login begins a wait, it takes seven round trips to the counter store instead of five.

    The length of the wait depends on the number of earlier waits, which is counted too.
    """
    far = RoundTrips()
    limit = counted_by(far)

    async def fail() -> None:
        with suppress(Unauthorized):
            async with limit.attempt("ada", HERE):
                raise Unauthorized("wrong")

    assert [await far.during(fail()) for _ in range(10)] == [5] * 9 + [7]


async def test_a_limit_without_room_for_a_block_takes_two_round_trips() -> None:
    """One round trip to the counter store counts a calculation and, in advance, a block of further ones.

    If the limit has no room for the block, a second round trip counts the calculation alone.
    """
    far = RoundTrips()
    limit = CalculationRateLimit("600/minute; 1000/day", Metrics(), far, {})
    assert await far.during(attempt(limit.spend(b"ada", 600))) == 2
    assert await far.during(attempt(limit.spend(b"ada"))) == 2
    assert await far.during(attempt(limit.require_remaining(b"ada"))) == 2
    assert await far.during(attempt(limit.spend(b"bob"))) == 1
    assert await far.during(attempt(limit.require_remaining(b"eve"))) == 1
    assert [state.remaining for state in limit.spend_ahead(b"eve") or ()] == [599, 999]


async def attempt(step: Coroutine[None, None, object]) -> None:
    """Await a step of a limit, and ignore a refusal."""
    with suppress(RateLimited):
        await step


async def test_what_is_not_the_clients_fault_does_not_count() -> None:
    """A login that is refused because the server is overloaded does not count as a failed login."""
    logins = Logins()
    for _ in range(20):
        with pytest.raises(Overloaded):
            async with logins.limit.attempt("ada", HERE):
                raise Overloaded("busy")
    assert await logins.fail() == 0


async def test_registrations_are_counted_by_address() -> None:
    """Registrations are counted by address; a refusal says when the window ends."""
    clock, metrics = Clock(), Metrics()
    limit = AddressRateLimit("register", "registrations", "3/hour", metrics, clock=clock)
    for _ in range(3):
        await limit.admit(HERE)
    clock.now += 600
    with pytest.raises(RateLimited) as refusal:
        await limit.admit(HERE)
    assert refusal.value.retry_after == HOUR - 600
    await limit.admit(THERE)
    clock.now += HOUR - 600
    await limit.admit(HERE)
    assert metrics.registry.get_sample_value("pycalc_rate_limited_total", {"limit": "register"}) == 1


async def test_calculations_show_the_remaining_quota() -> None:
    """Answers and refusals state exactly how many calculations remain, and the seconds until the reset.

    A refused request is not counted.
    """
    clock = Clock()
    limit = calculation_rate("10/minute", clock)
    assert await limit.spend(b"ada") == (LimitState(10, 60, 9, 60, "minute"),)
    clock.now += 12.5
    assert await limit.spend(b"ada", 4) == (LimitState(10, 60, 5, 48, "minute"),)
    with pytest.raises(RateLimited) as refusal:
        await limit.spend(b"ada", 6)
    assert refusal.value.retry_after == 48
    assert refusal.value.limits == (LimitState(10, 60, 5, 48, "minute"),)
    assert await limit.spend(b"ada", 5) == (LimitState(10, 60, 0, 48, "minute"),)
    assert await limit.spend(b"bob") == (LimitState(10, 60, 9, 60, "minute"),)
    clock.now += 48
    assert await limit.spend(b"ada") == (LimitState(10, 60, 9, 60, "minute"),)


async def test_a_calculation_counts_in_all_windows_or_in_none() -> None:
    """If one window refuses a calculation, no other window counts it; the refusal states the refusing window's wait."""
    clock = Clock()
    limit = calculation_rate("6/day; 4/minute", clock)
    assert await limit.spend(b"ada", 4) == (LimitState(4, 60, 0, 60, "minute"), LimitState(6, 86400, 2, 86400, "day"))
    with pytest.raises(RateLimited) as refusal:
        await limit.spend(b"ada")
    assert refusal.value.retry_after == 60
    assert refusal.value.limits == (LimitState(4, 60, 0, 60, "minute"), LimitState(6, 86400, 2, 86400, "day"))
    clock.now += 60
    with pytest.raises(RateLimited, match="No more than 6 calculations a day") as refusal:
        await limit.spend(b"ada", 3)
    assert refusal.value.retry_after == 86400 - 60
    assert refusal.value.limits == (LimitState(4, 60, 4, 60, "minute"), LimitState(6, 86400, 2, 86340, "day"))
    assert await limit.spend(b"ada", 2) == (LimitState(4, 60, 2, 60, "minute"), LimitState(6, 86400, 0, 86340, "day"))


async def test_the_reset_of_an_ended_window_is_a_whole_window_away() -> None:
    """After a window has ended, the stated reset is a whole window away, even for calculations counted in advance."""
    clock = Clock()
    limit = calculation_rate("1000/minute; 10000/hour", clock)
    await limit.spend(b"ada")
    clock.now += HOUR - 10
    await limit.spend(b"ada")
    for seconds, left in ((10, 50), (5, 45)):  # the hour ends now, or has ended
        clock.now += seconds
        ahead = limit.spend_ahead(b"ada")
        assert ahead is not None
        assert [state.reset for state in ahead] == [left, HOUR]


@pytest.mark.parametrize("size", [1, 3, 7, 150])
async def test_counting_ahead_admits_exactly_the_limit(size: int) -> None:
    """If calculations are counted in blocks, the limit and the stated remainder stay exact."""
    clock = Clock()
    limit = calculation_rate("500/minute; 1200/day", clock)

    async def calculate() -> int:
        done = 0
        while True:
            try:
                states = (size == 1 and limit.spend_ahead(b"ada")) or await limit.spend(b"ada", size)
            except RateLimited:
                return done
            done += size
            assert [state.remaining for state in states] == [500 - done, 1200 - counted - done]

    counted = 0
    per_minute = 500 // size * size
    while counted + per_minute <= 1200:
        counted += await calculate()
        assert counted % per_minute == 0
        clock.now += 60
    counted += await calculate()
    assert 1200 - size < counted <= 1200


async def test_many_other_limits_cost_nobody_a_block() -> None:
    """Creating many other limits does not discard the block of calculations that is counted in advance for a user."""
    limit_of = calculation_limits(Metrics(), clock=Clock())
    for done in range(1, 31):
        limit = limit_of("1000/day")
        assert limit is not None
        (state,) = limit.spend_ahead(b"ada") or await limit.spend(b"ada")
        assert state.remaining == 1000 - done
        for number in range(1, 1_002):
            limit_of(f"{number}/hour")


async def test_a_new_window_resets_after_its_length() -> None:
    """A new window resets after its length, although (51,900.7 + 86,400) - 51,900.7 is rounded up to a trifle more."""
    windows = Windows(parse_limits("5/day"), Counters(clock=lambda: 51_900.7))
    (state,), _ = await windows.spend("ada", 1)
    assert state.reset == 86_400


@pytest.mark.parametrize("amount", [10, 1_000])
async def test_the_states_of_a_limit_are_read_without_counting(amount: int) -> None:
    """The stated remainder is exact, with or without calculations counted in advance; reading it counts nothing."""
    limit = calculation_rate(f"{amount}/hour", Clock())
    for done in range(3):
        for _ in range(2):
            assert [state.remaining for state in await limit.limit_states(b"ada")] == [amount - done]
        await limit.spend(b"ada")


async def test_a_user_must_have_a_calculation_left() -> None:
    """``require_remaining`` counts nothing. If a window is full, it raises RateLimited with the wait until its end."""
    clock = Clock()
    limit = calculation_rate("1/minute; 20/day", clock)
    for _ in range(2):
        await limit.require_remaining(b"ada")
    await limit.spend(b"ada")
    clock.now += 20
    with pytest.raises(RateLimited, match="No more than 1 ") as refusal:
        await limit.require_remaining(b"ada")
    assert refusal.value.retry_after == 40
    assert [state.remaining for state in refusal.value.limits] == [0, 19]
    clock.now += 40
    await limit.require_remaining(b"ada")


async def test_an_unused_block_is_subtracted_only_from_windows_that_run() -> None:
    """When the shortest window ends, an unused block is subtracted only from longer windows that have not ended."""
    far, clock = RoundTrips(), Clock()
    limit = CalculationRateLimit("1000/minute; 10000/hour", Metrics(), far, {}, clock=clock)
    trips = []
    for seconds in (0, 60, HOUR):
        clock.now += seconds
        trips.append(await far.during(attempt(limit.spend(b"ada"))))
    assert trips == [1, 2, 1]


async def test_no_more_than_50000_users_have_calculations_counted_in_advance() -> None:
    """At most 50,000 users have calculations counted in advance; a further user displaces the one added first."""
    blocks = {b"%d" % user: _Block("1000/hour", 1, []) for user in range(50_000)}
    limit = CalculationRateLimit("1000/hour", Metrics(), Counters(), blocks)
    await limit.spend(b"ada")
    assert len(blocks) == 50_000
    assert b"0" not in blocks
    assert b"ada" in blocks


async def test_equal_limits_are_shared_until_there_are_1000() -> None:
    """Callers with equal limits share one object. Above 1,000 limits, the one unused for longest is dropped."""
    limit_of = calculation_limits(Metrics(), clock=Clock())
    first, second = limit_of("1/day"), limit_of("2/day")
    for number in range(3, 1_001):
        limit_of(f"{number}/day")
    assert limit_of("1/day") is first
    limit_of("1001/day")
    assert limit_of("1/day") is first
    assert limit_of("2/day") is not second


async def test_a_user_s_new_limit_does_not_use_the_block_of_the_old_one() -> None:
    """If a user's limit becomes stricter, calculations counted in advance under the old limit are not used."""
    limit_of = calculation_limits(Metrics(), clock=Clock())
    generous, strict = limit_of("1000/day"), limit_of("2/hour")
    assert generous is not None
    assert strict is not None
    await generous.spend(b"ada")
    assert strict.spend_ahead(b"ada") is None
    assert [state.remaining for state in await strict.spend(b"ada", 2)] == [0]
    with pytest.raises(RateLimited):
        await strict.spend(b"ada")


async def test_most_calculations_ask_no_counter() -> None:
    """Calculations are counted in blocks of 1 % of the smallest limit.

    When the shortest window ends, the unused rest of a block is subtracted from the longer windows.
    """
    clock = Clock()
    limit = calculation_rate("6000/minute; 100000/day", clock)
    asked = 0
    for _ in range(605):
        if limit.spend_ahead(b"ada") is None:
            await limit.spend(b"ada")
            asked += 1
    assert asked == 10
    clock.now += 60
    assert limit.spend_ahead(b"ada") is None
    assert [state.remaining for state in await limit.spend(b"ada")] == [5_999, 100_000 - 606]


async def test_concurrent_calculations_keep_their_blocks() -> None:
    """If concurrent requests count blocks at the same time, the unused calculations of all these blocks are kept."""
    limit = calculation_rate("1000/hour")
    await asyncio.gather(*(limit.spend(b"ada") for _ in range(50)))
    (state,) = limit.spend_ahead(b"ada") or await limit.spend(b"ada")
    assert state.remaining == 1_000 - 51


async def test_registrations_have_several_windows() -> None:
    """An address may register as often as every window allows; a refusal states the wait for the full window."""
    clock = Clock()
    limit = AddressRateLimit("register", "registrations", "2/hour; 3/day", Metrics(), clock=clock)
    await limit.admit(HERE)
    await limit.admit(HERE)
    with pytest.raises(RateLimited) as refusal:
        await limit.admit(HERE)
    assert refusal.value.retry_after == HOUR
    clock.now += HOUR
    await limit.admit(HERE)
    with pytest.raises(RateLimited) as refusal:
        await limit.admit(HERE)
    assert refusal.value.retry_after == 23 * HOUR


async def test_a_batch_that_never_fits_is_refused_with_the_reason() -> None:
    """A batch larger than the limit is refused with this reason, because waiting would not help.

    A batch of up to the limit is refused like a single calculation, because it may fit later.
    """
    limit = calculation_rate("10/minute")
    await limit.spend(b"ada")
    with pytest.raises(RateLimited, match="No more than 10 calculations a minute"):
        await limit.spend(b"ada", 10)
    with pytest.raises(RateLimited, match="A batch of 11 calculations exceeds the limit of 10: send smaller batches"):
        await limit.spend(b"ada", 11)


async def test_no_more_keys_than_the_bound_are_kept() -> None:
    """A full counter store removes expired counters first, then those that expire soonest."""
    clock = Clock()
    counters = Counters(100, clock)
    await count(counters, "waits", expiry=HOUR)
    for number in range(1000):
        await count(counters, f"key{number}", expiry=60)
        assert len(counters) <= 100
    assert await count_of(counters, "waits") == 1
    clock.now += 60
    await count(counters, "one more", expiry=60)
    await count(counters, "another", expiry=60)
    for number in range(100):
        await count(counters, f"new{number}", expiry=60)
    assert await count_of(counters, "waits") == 1
    assert len(counters) <= 100


@pytest.mark.parametrize(
    "step",
    [lambda counters: count(counters, "absent", -1), lambda counters: spend_one(counters, "absent", 0, 9)],
    ids=["subtraction", "state"],
)
async def test_only_a_new_counter_displaces_others(step: Callable[[Counters], Awaitable[object]]) -> None:
    """Subtracting from an absent counter, or adding nothing to it, removes no other counter from a full store."""
    counters = Counters(10)
    for number in range(10):
        await count(counters, f"key{number}", expiry=60)
    await step(counters)
    assert [await count_of(counters, f"key{number}") for number in range(10)] == [1] * 10


async def test_a_counter_costs_the_same_whatever_its_name() -> None:
    """A counter takes less than 400 bytes, even for the longest login name, of four-byte characters."""
    counters = Counters(1000)
    tracemalloc.start()
    try:
        for number in range(1000):
            await count(counters, f"{number:04}" + "\N{GRINNING FACE}" * 250, expiry=HOUR)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 400 * 1000


async def test_a_flood_of_names_does_not_free_a_blocked_account() -> None:
    """A flood of other names does not remove the counter of an account that must wait."""
    logins = Logins("10/hour", bound=50)
    for _ in range(10):
        await logins.fail()
    for number in range(40):
        await logins.fail(f"user{number}", THERE)
    assert await logins.fail() > 0
    keys = logins.metrics.registry.get_sample_value("pycalc_rate_limit_keys", {"limit": "login-account"})
    assert keys is not None
    assert keys <= 50


async def test_an_empty_setting_is_no_limit() -> None:
    """An empty setting admits every login and registration, and gives no limiter for calculations."""
    metrics = Metrics()
    logins, registrations = FailedLogins("", metrics), AddressRateLimit("register", "registrations", "", metrics)
    for _ in range(1000):
        with pytest.raises(Unauthorized):
            async with logins.attempt("ada", HERE):
                raise Unauthorized("wrong")
        await registrations.admit(HERE)
    assert calculation_limits(metrics)("") is None


@pytest.mark.parametrize(
    ("text", "amount", "seconds"), [("10/minute", 10, 60), ("1 per 2 hours", 1, 7200), ("600/day", 600, 86400)]
)
def test_a_limit_is_read(text: str, amount: int, seconds: int) -> None:
    """A limit in the settings is written in the notation of the ``limits`` library."""
    limit = parse_limit(text)
    assert (limit.amount, limit.get_expiry()) == (amount, seconds)


@pytest.mark.parametrize(
    "text",
    [
        "ten/minute",
        "10",
        "10/fortnight",
        "-1/minute",
        "0/minute",
        "1/minute;2/hour",
        " ",
        "9" * 5000 + "/day",
        "1000000000001/day",
        "1 per 367 days",
        "1 per 9999999999999999 days",
    ],
)
def test_what_is_no_limit_is_refused(text: str) -> None:
    """An invalid limit raises ValueError with a message that begins with the text of the limit."""
    with pytest.raises(ValueError, match="limit") as refusal:
        parse_limit(text)
    assert str(refusal.value).startswith(f"{text!r} ")
