"""The life of one calculation: plan -> cache -> compute -> verify -> record (ADR 7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from time import perf_counter
from typing import Any

from pydantic_core import to_json

from pycalc.cache.base import Cache
from pycalc.errors import CacheUnavailable, ComputationTimeout, PycalcError, ResultTooLarge, RetryLater
from pycalc.models.auth import Principal
from pycalc.models.history import STORED_DIGITS, HistoryRow
from pycalc.models.ids import IdSource, text_of_id
from pycalc.models.math import json_literal
from pycalc.models.results import Result
from pycalc.observability.metrics import Metrics
from pycalc.services.compute import Computer
from pycalc.services.operations import OPERATIONS
from pycalc.services.operations.base import Estimate, Operation
from pycalc.services.recorder import Recorder

DEFAULT_PRECISION = 50
MAX_PRECISION = 10_000
_PLANS = 4_096
_LONGEST_PLANNED = 64
"""Plans of literals up to this length are kept; with their number that bounds the memory."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A calculation that may be done: parsed, within its domain, and small enough to be written out."""

    operation: Operation[Any]
    args: Any
    precision: int
    key: str
    input: str
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class Answer:
    """A recorded calculation."""

    id: str
    result: Result
    cached: bool
    elapsed_us: int


class Calculator:
    """Plans, computes and records calculations."""

    def __init__(
        self, cache: Cache, computer: Computer, recorder: Recorder, ids: IdSource, metrics: Metrics, max_digits: int
    ) -> None:
        self._cache = cache
        self._computer = computer
        self._recorder = recorder
        self._ids = ids
        self._max_digits = max_digits
        self._outcomes = {
            (name, outcome): metrics.calculations.labels(name, outcome)
            for name in OPERATIONS
            for outcome in ("computed", "cached", "refused", "timeout", "busy", "failed")
        }
        self._hits = metrics.cache_requests.labels("hit")
        self._misses = metrics.cache_requests.labels("miss")
        self._cache_errors = metrics.cache_requests.labels("error")
        self._kept_plan = lru_cache(_PLANS)(self._make_plan)

    def plan(self, name: str, literals: tuple[str, ...], precision: int = DEFAULT_PRECISION) -> Plan:
        """Return the plan for an operation of the registry and its operands' literals, in their order.

        Raises InvalidInput, DomainError, or ResultTooLarge with the result's size and ends.
        """
        try:
            if sum(map(len, literals)) <= _LONGEST_PLANNED:
                return self._kept_plan(name, literals, precision)
            return self._make_plan(name, literals, precision)
        except PycalcError:
            self._outcomes[name, "refused"].inc()
            raise

    async def calculate(self, caller: Principal, plan: Plan) -> Answer:
        """Return the result once it is recorded; raises what the computer and the recorder raise."""
        started = perf_counter()
        name = plan.operation.name
        try:
            result = await self._look_up(plan.key)
            cached = result is not None
            if result is None:
                result = await self._compute(plan, caller.user_id)
            elapsed_us = int((perf_counter() - started) * 1e6)
            identity = self._ids.next()
            await self._recorder.record(
                HistoryRow(
                    identity,
                    caller.user_id,
                    caller.username,
                    name,
                    plan.input,
                    result.stored,
                    str(result.digits),
                    result.exact,
                    result.leading,
                    result.trailing,
                    result.sha256,
                    cached,
                    elapsed_us,
                )
            )
        except PycalcError as error:
            self._outcomes[name, _outcome_of(error)].inc()
            raise
        self._outcomes[name, "cached" if cached else "computed"].inc()
        return Answer(text_of_id(identity), result, cached, elapsed_us)

    def _make_plan(self, name: str, literals: tuple[str, ...], precision: int) -> Plan:
        operation = OPERATIONS[name]
        raw: Mapping[str, str] = {
            parameter.name: literal for parameter, literal in zip(operation.parameters, literals, strict=True)
        }
        args = operation.parse(raw)
        estimate = operation.estimate(args, precision)
        if estimate.digits > self._max_digits:
            summary = operation.summary(args, precision)
            raise ResultTooLarge(
                "The result has more digits than are written out here.",
                summary.digits,
                self._max_digits,
                summary.leading,
                summary.trailing,
            )
        inputs = operation.input(args)
        if not estimate.exact and precision != DEFAULT_PRECISION:
            inputs["precision"] = precision
        return Plan(operation, args, precision, operation.key(args, precision), to_json(inputs).decode(), estimate)

    async def _look_up(self, key: str) -> Result | None:
        try:
            result = await self._cache.get(key)
        except CacheUnavailable:
            self._cache_errors.inc()
            return None
        (self._misses if result is None else self._hits).inc()
        return result

    async def _compute(self, plan: Plan, user: bytes) -> Result:
        text, outcome = await self._computer.compute(plan.operation, plan.args, plan.precision, plan.estimate, user)
        stored = bytes(text).decode() if outcome.digits <= STORED_DIGITS else None
        quote = '"' if stored is None or json_literal(stored) != stored else ""
        result = Result(
            text,
            outcome.digits,
            plan.estimate.exact,
            outcome.leading,
            outcome.trailing,
            outcome.sha256,
            head=f'"operation":"{plan.operation.name}","input":{plan.input},"result":{quote}'.encode(),
            tail=f'{quote},"digits":{outcome.digits},"exact":{str(plan.estimate.exact).lower()},"cached":'.encode(),
            stored=stored,
        )
        try:
            await self._cache.put(plan.key, result)
        except CacheUnavailable:
            self._cache_errors.inc()
        return result


def _outcome_of(error: PycalcError) -> str:
    if isinstance(error, ComputationTimeout):
        return "timeout"
    return "busy" if isinstance(error, RetryLater) else "failed"
