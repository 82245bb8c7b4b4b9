"""Places for what goes on for long, bounded in all and for each user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter as CounterMetric

from pycalc.errors import Overloaded


class Places:
    """So many places in all, so many for each user; who finds none is refused, counted, and told to come back."""

    def __init__(self, in_all: int, each: int, refused: CounterMetric, sentence: str) -> None:
        self._in_all = in_all
        self._each = each
        self._refused = refused
        self._sentence = sentence
        self._held: Counter[bytes] = Counter()

    @property
    def taken(self) -> int:
        """Places that are taken."""
        return self._held.total()

    @contextmanager
    def held(self, user: bytes) -> Iterator[None]:
        """Hold a place; raises Overloaded when there is none for this user."""
        if self._held[user] >= self._each or self.taken >= self._in_all:
            self._refused.inc()
            raise Overloaded(self._sentence, 5)
        self._held[user] += 1
        try:
            yield
        finally:
            self._held[user] -= 1
            if not self._held[user]:
                del self._held[user]
