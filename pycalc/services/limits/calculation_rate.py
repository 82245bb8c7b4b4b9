"""The rate limit on calculations by user (ADR 12)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from pycalc.cache.base import Shared
from pycalc.errors import Quota, RateLimited
from pycalc.models.limits import parse_limits
from pycalc.observability.metrics import Metrics
from pycalc.services.limits.counters import MAX_KEYS
from pycalc.services.limits.windows import Window, counters_of, spend_all

_BLOCKS = 100  # calculations are counted in blocks of one part of the limit in so many


@dataclass(slots=True)
class _Block:
    """Calculations of a user that are counted already and not done yet."""

    left: int
    remaining: list[int]  # in each window, when the whole block is done
    ends: list[float]  # of each window, by the clock


class CalculationRateLimit:
    """A limit on calculations by user, in one or several windows.

    It counts a hundredth of the smallest limit in advance, so that most calculations ask no counter: ``spend_ahead``
    is a step in memory, which must come first on the hot path. What is left of a block when its shortest window ends
    is given back to the longer ones. Another process may therefore refuse a user one block too early, never too late.
    It has no null twin: without a limit, the hot path must not await one.
    """

    def __init__(
        self, limit: str, metrics: Metrics, shared: Shared | None = None, *, clock: Callable[[], float] = monotonic
    ) -> None:
        self._refused = metrics.rate_limited.labels("calculations")
        self._clock = clock
        counters = counters_of("calculations", metrics, shared, clock=clock, lenient=True)
        self._windows = [Window(each, counters) for each in parse_limits(limit)]
        self._ahead = min(window.amount for window in self._windows) // _BLOCKS
        self._blocks: dict[bytes, _Block] = {}

    async def require_some(self, user_id: bytes) -> None:
        """Raise RateLimited when the user may not do a single calculation now; count nothing otherwise."""
        if self._block_of(user_id) is not None:
            return
        for window in self._windows:
            if await window.exhausted(user_id.hex()):
                await self.spend(user_id)

    def spend_ahead(self, user_id: bytes) -> tuple[Quota, ...] | None:
        """Take one calculation from the user's block; return the quotas, or None if ``spend`` has to count it."""
        block = self._block_of(user_id)
        if block is None:
            return None
        block.left -= 1
        return self._quotas(block)

    async def spend(self, user_id: bytes, operations: int = 1) -> tuple[Quota, ...]:
        """Count calculations, all of them or none, and return the user's quotas; raises RateLimited."""
        before = self._blocks.pop(user_id, None)
        if before is not None and before.ends[0] <= self._clock():
            await self._give_back(user_id, before)
            before = None
        missing = operations - (before.left if before else 0)
        extra = self._ahead
        quotas, full = await spend_all(self._windows, user_id.hex(), max(0, missing) + extra)
        if full and extra:
            extra = 0
            quotas, full = await spend_all(self._windows, user_id.hex(), max(0, missing))
        left = before.left if full and before else extra + max(0, -missing)
        block = self._keep(user_id, left, quotas)
        if not full:
            return self._quotas(block)
        self._refused.inc()
        smallest = min(window.amount for window in self._windows)
        if operations > smallest:
            detail = f"A batch of {operations} is more than the limit of {smallest} calculations ever allows."
        else:
            detail = " ".join(f"No more than {quota.amount} calculations in {quota.window} seconds." for quota in full)
        raise RateLimited(detail, max(quota.reset for quota in full), self._quotas(block))

    def _block_of(self, user_id: bytes) -> _Block | None:
        """Return the block from which a calculation may be taken now."""
        block = self._blocks.get(user_id)
        return block if block and block.left and self._clock() < block.ends[0] else None

    def _quotas(self, block: _Block) -> tuple[Quota, ...]:
        now = self._clock()
        return tuple(
            [
                window.quota(remaining + block.left, end - now)
                for window, remaining, end in zip(self._windows, block.remaining, block.ends, strict=True)
            ]
        )

    def _keep(self, user_id: bytes, left: int, quotas: Sequence[Quota]) -> _Block:
        """Keep what is left of a block, together with what concurrent requests have kept meanwhile."""
        now = self._clock()
        meanwhile = self._block_of(user_id)
        left += meanwhile.left if meanwhile else 0
        block = _Block(left, [quota.remaining for quota in quotas], [now + quota.reset for quota in quotas])
        if left:
            if len(self._blocks) >= MAX_KEYS:
                del self._blocks[next(iter(self._blocks))]
            self._blocks[user_id] = block
        return block

    async def _give_back(self, user_id: bytes, block: _Block) -> None:
        for window, end in zip(self._windows, block.ends, strict=True):
            if block.left and end > self._clock():
                await window.give_back(user_id.hex(), block.left)


def calculation_limit(limit: str, metrics: Metrics, shared: Shared | None = None) -> CalculationRateLimit | None:
    """Return the limit of a setting; None for an empty setting."""
    return CalculationRateLimit(limit, metrics, shared) if limit else None
