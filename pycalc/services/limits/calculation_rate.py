"""Rate limits on the calculations of each user (ADR 12)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from time import monotonic

from pycalc.cache.base import CounterStore, Shared
from pycalc.errors import LimitState, RateLimited
from pycalc.models.limits import each_window, parse_limits
from pycalc.observability.metrics import Metrics
from pycalc.services.limits.counters import MAX_KEYS, Window, counters_of, spend_all

_MAX_LIMITS = 1_000  # the most limits that are cached by their texts
_BLOCKS = 100  # the size of a block is the smallest limit divided by this, rounded down


@dataclass(slots=True)
class _Block:
    """A block of calculations that were counted for a user in advance, and the windows that counted them."""

    limit: str
    left: int
    windows: list[tuple[LimitState, float]]  # each window's state once the block is used up, and its end by ``clock``


class CalculationRateLimit:
    """A limit on the calculations of each user, in one or several windows.

    Calculations are counted in advance, in blocks of a hundredth of the smallest limit. ``spend_ahead`` takes single
    calculations from such a block, without a wait for the counters. If the shortest window ends before the block is
    used up, the user's next calculation subtracts the unused rest from the counts of the longer windows. With several
    processes, the unused blocks of other processes may cause a refusal that is too early.
    """

    def __init__(
        self,
        limit: str,
        metrics: Metrics,
        counters: CounterStore,
        blocks: dict[bytes, _Block],
        *,
        clock: Callable[[], float] = monotonic,
        prefix: str = "",
    ) -> None:
        """Keep users' blocks in ``blocks``. Several limits may share the dictionary: a user has one limit at a time."""
        self._limit = limit
        self._refused = metrics.rate_limited.labels(f"{prefix}calculations")
        self._clock = clock
        self._windows = [Window(each, counters, prefix) for each in parse_limits(limit)]
        self._ahead = min(window.amount for window in self._windows) // _BLOCKS
        self._blocks = blocks

    async def require_remaining(self, user_id: bytes) -> None:
        """Raise RateLimited if the user has no calculations left in a window.

        No calculation is used up. But this may count a block of calculations in advance, which the user's next
        calculations are taken from.
        """
        if self._block_of(user_id) is None:
            states = await self.spend(user_id, 0)
            if full := [state for state in states if not state.remaining]:
                raise self._refusal(1, full, states)

    async def limit_states(self, user_id: bytes) -> tuple[LimitState, ...]:
        """Return the states of the user's limits without counting anything."""
        block = self._block_of(user_id)
        if block is not None:
            return self._states(block)
        states, _ = await spend_all(self._windows, user_id.hex(), 0)
        return tuple(states)

    def spend_ahead(self, user_id: bytes) -> tuple[LimitState, ...] | None:
        """Take one calculation from the user's block. Return the states of the limits, or None if there is no block."""
        block = self._block_of(user_id)
        if block is None:
            return None
        block.left -= 1
        return self._states(block)

    async def spend(self, user_id: bytes, operations: int = 1) -> tuple[LimitState, ...]:
        """Count ``operations`` calculations in every window or, if a window would exceed its limit, in none.

        Return the states of the limits. Raises RateLimited if a limit would be exceeded. If the call is cancelled, its
        calculations and the rest of the user's block may stay counted, although they are never made.
        """
        before = self._blocks.pop(user_id, None)
        if before is not None and before.limit != self._limit:
            before = None  # the block belongs to the user's former limit
        if before is not None and before.windows[0][1] <= self._clock():  # the longer windows get back its rest
            for window, (_, end) in zip(self._windows, before.windows, strict=True):
                if before.left and end > self._clock():
                    await window.counters.incr(window.name(user_id.hex()), window.seconds, -before.left)
            before = None
        missing = operations - (before.left if before else 0)
        extra = self._ahead
        states, full = await spend_all(self._windows, user_id.hex(), max(0, missing) + extra)
        if full and extra:
            extra = 0
            states, full = await spend_all(self._windows, user_id.hex(), max(0, missing))
        left = before.left if full and before else extra + max(0, -missing)
        block = self._keep(user_id, left, states)
        if full:
            raise self._refusal(operations, full, self._states(block))
        return self._states(block)

    def _refusal(self, operations: int, full: Sequence[LimitState], states: tuple[LimitState, ...]) -> RateLimited:
        """Count a refusal and return its error. ``full`` are the limits that would be exceeded."""
        self._refused.inc()
        smallest = min(window.amount for window in self._windows)
        if operations > smallest:
            detail = f"A batch of {operations:,} calculations exceeds the limit of {smallest:,}: send smaller batches."
        else:
            detail = " ".join(
                f"No more than {state.amount:,} calculations {each_window(state.window)}." for state in full
            )
        return RateLimited(detail, max(state.reset for state in full), states)

    def _block_of(self, user_id: bytes) -> _Block | None:
        """Return the user's block if a calculation may be taken from it now, else None."""
        block = self._blocks.get(user_id)
        if block and block.left and block.limit == self._limit and self._clock() < block.windows[0][1]:
            return block
        return None

    def _states(self, block: _Block) -> tuple[LimitState, ...]:
        now, left = self._clock(), block.left
        return tuple(
            [
                # A window that has ended already is followed by a whole one.
                LimitState(amount, window, remaining + left, ceil(end - now) if end > now else window, name)
                for (amount, window, remaining, _, name, _), end in block.windows
            ]
        )

    def _keep(self, user_id: bytes, left: int, states: Sequence[LimitState]) -> _Block:
        """Return a new block of ``left`` calculations, and store it unless it is empty.

        If a concurrent call has stored a block meanwhile, add the calculations that are left in that block.
        """
        now = self._clock()
        meanwhile = self._block_of(user_id)
        left += meanwhile.left if meanwhile else 0
        block = _Block(self._limit, left, [(state, now + state.reset) for state in states])
        if left:
            if len(self._blocks) >= MAX_KEYS:
                del self._blocks[next(iter(self._blocks))]
            self._blocks[user_id] = block
        return block


def calculation_limits(
    metrics: Metrics, shared: Shared | None = None, *, clock: Callable[[], float] = monotonic, prefix: str = ""
) -> Callable[[str], CalculationRateLimit | None]:
    """Return a function for the rate limits on calculations. Callers with equal limits share one CalculationRateLimit.

    The function returns the limit that a text such as ``6000/minute; 100000/day`` describes, or None for an empty text.
    It raises ValueError for a malformed text. ``prefix`` begins the names of limits of API keys, and is empty for those
    of users.
    """
    # Kept here, so that a limit that the cache drops forgets nothing.
    counters = counters_of(f"{prefix}calculations", metrics, shared, clock=clock, lenient=True)
    blocks: dict[bytes, _Block] = {}

    @lru_cache(_MAX_LIMITS)
    def limit_of(limit: str) -> CalculationRateLimit | None:
        return CalculationRateLimit(limit, metrics, counters, blocks, clock=clock, prefix=prefix) if limit else None

    return limit_of
