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
from pycalc.services.limits.counters import MAX_KEYS, Windows, counters_of

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
        """Keep users' blocks in ``blocks``, which several limits may share: a user has one limit at a time."""
        limits = parse_limits(limit)
        self._limit = limit
        self._refused = metrics.rate_limited.labels(f"{prefix}calculations")
        self._clock = clock
        self._windows = Windows(limits, counters, prefix)
        self._smallest = min(each.amount for each in limits)
        self._blocks = blocks

    async def require_remaining(self, user_id: bytes) -> None:
        """Raise RateLimited if the user has no calculations left in a window. No calculation is used up."""
        if self._block_of(user_id) is None:
            states = await self.spend(user_id, 0)
            if full := [state for state in states if not state.remaining]:
                raise self._refusal(1, full, states)

    async def limit_states(self, user_id: bytes) -> tuple[LimitState, ...]:
        """Return the states of the user's limits without counting anything."""
        block = self._block_of(user_id)
        if block is not None:
            return self._states(block)
        states, _ = await self._windows.spend(user_id.hex(), 0)
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
        key = user_id.hex()
        block = self._block_of(user_id)
        kept = block.left if block else 0
        before = self._blocks.pop(user_id, None)
        if block is None and before and before.left and before.limit == self._limit:  # its shortest window has ended
            ends = [end > self._clock() for _, end in before.windows]
            running = [bound for bound, runs in zip(self._windows.bounds(key), ends, strict=True) if runs]
            if running:
                await self._windows.counters.spend(-before.left, running)
        missing, extra = max(0, operations - kept), self._smallest // _BLOCKS
        states, full = await self._windows.spend(key, missing + extra)
        if full and extra:
            extra = 0
            states, full = await self._windows.spend(key, missing)
        meanwhile = self._block_of(user_id)  # of a concurrent call
        left = (kept if full else extra + max(0, kept - operations)) + (meanwhile.left if meanwhile else 0)
        now = self._clock()
        block = _Block(self._limit, left, [(state, now + state.reset) for state in states])
        if left:
            if len(self._blocks) >= MAX_KEYS:
                del self._blocks[next(iter(self._blocks))]
            self._blocks[user_id] = block
        if full:
            raise self._refusal(operations, full, self._states(block))
        return self._states(block)

    def _refusal(self, operations: int, full: Sequence[LimitState], states: tuple[LimitState, ...]) -> RateLimited:
        """Count a refusal and return its error. ``full`` are the limits that would be exceeded."""
        self._refused.inc()
        if operations > self._smallest:
            most = f"{self._smallest:,}"
            detail = f"A batch of {operations:,} calculations exceeds the limit of {most}: send smaller batches."
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


def calculation_limits(
    metrics: Metrics, shared: Shared | None = None, *, clock: Callable[[], float] = monotonic, prefix: str = ""
) -> Callable[[str], CalculationRateLimit | None]:
    """Return a function for the rate limits on calculations. Callers with equal limits share one CalculationRateLimit.

    The function returns the limit that a text such as ``6000/minute; 100000/day`` describes, or None for an empty text.
    It raises ValueError for a malformed text. ``prefix`` begins the names of limits of API keys.
    """
    # Kept here, so that a limit that the cache drops forgets nothing.
    counters = counters_of(f"{prefix}calculations", metrics, shared, clock=clock)
    blocks: dict[bytes, _Block] = {}

    @lru_cache(_MAX_LIMITS)
    def limit_of(limit: str) -> CalculationRateLimit | None:
        return CalculationRateLimit(limit, metrics, counters, blocks, clock=clock, prefix=prefix) if limit else None

    return limit_of
