"""Calculations and batches as clients see them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, with_config
from typing_extensions import TypeAliasType, TypedDict

from pycalc.models.formats import Ends, Uuid, request_config
from pycalc.models.problems import Problem

MAX_BATCH = 1_000  # calculations in one batch
ELAPSED = "milliseconds from the request's arrival, in a batch from this calculation's start, to the verified result"
SHORTENED = "one of over {:,} characters is shortened to its ends, its length and its SHA-256"

_NUMBER = "a JSON integer within ±(2^53 - 1), else a string (RFC 7493)"
Number = TypeAliasType("Number", Annotated[int | str, Field(description=_NUMBER, union_mode="left_to_right")])


class PrimePower(TypedDict):
    """A prime factor of a number, and its exponent."""

    prime: Number
    exponent: Annotated[int, Field(description="how often the number is divisible by the prime")]


class IntegerRoot(TypedDict):
    """The floor of a root, and the remainder."""

    root: Number
    remainder: Annotated[Number, Field(description="the number less the power of the root")]


Outcome = Number | bool | list[PrimePower] | IntegerRoot

_OPERAND = "a literal as in a path; a JSON number is taken as the digits that stand in the body"
Operand = TypeAliasType("Operand", Annotated[str | int | float, Field(description=_OPERAND)])


class _CommonMembers(TypedDict):
    id: Annotated[Uuid, Field(description="UUIDv7 (RFC 9562); also the id of its event")]
    operation: str
    input: Annotated[dict[str, Number], Field(description=f"operands in canonical form; {SHORTENED.format(20_000)}")]
    exact: Annotated[bool, Field(description="false: correctly rounded to the precision, or a root with a remainder")]
    cached: Annotated[bool, Field(description="whether the result was made by an earlier calculation")]
    elapsed_ms: Annotated[float, Field(description=ELAPSED)]


class Calculation(_CommonMembers):
    """One calculation and its result."""

    result: Annotated[
        Outcome, Field(description="boolean: isprime, comparisons; list: factorize; object: iroot; string: with `base`")
    ]
    digits: Annotated[int, Field(description="number of digits in the result; 0 if it is no number")]


class Summary(_CommonMembers):
    """The number of digits of a result, and its first and last digits. Only rounded results are computed in full."""

    leading: Annotated[Ends, Field(description="the first 20 digits")]
    trailing: Annotated[Ends, Field(description="the last 20 digits")]
    digits: Number


CalculationResult = TypeAliasType(
    "CalculationResult",
    Annotated[Calculation | Summary, Field(description="a calculation; with `view=summary`, its size and ends")],
)


@with_config(request_config(operation="pow", input={"x": "2", "y": "0.5"}, precision=30))
class CalculationRequest(TypedDict):
    """A calculation with its operands in the body."""

    operation: str
    input: Annotated[
        dict[str, Operand], Field(description="operands by name: up to 10,000 characters, or as the operation states")
    ]
    mod: NotRequired[Annotated[Operand, Field(description="the result modulo this whole number")]]
    view: NotRequired[Annotated[Literal["full", "summary"], Field(description="`summary`: only the size and the ends")]]
    precision: NotRequired[Annotated[Operand, Field(description="significant digits of a result without exact form")]]
    base: NotRequired[Annotated[Operand, Field(description="the base of an integer result, from 2 to 36")]]


@with_config(request_config(expression="3^(10^12) mod 10^20"))
class Evaluation(TypedDict):
    """An expression to evaluate."""

    expression: Annotated[
        str,
        Field(
            min_length=1,
            max_length=10_000,
            description="literals such as `2.5`, `1e6`, `0xFF` and `1_000`; `+ - * / // % ^ !`, `mod`, parentheses; a "
            "comparison as the whole expression; the operations by name, `abs floor ceil round min max`, "
            "`sum(i, 1, 100, i^2)`, `prod`",
        ),
    ]
    precision: NotRequired[Annotated[int, Field(ge=1, le=10_000, description="significant digits of a rounded value")]]
    base: NotRequired[Annotated[int, Field(ge=2, le=36, description="the base of an integer value")]]


class SummarisableCall(TypedDict):
    """An operation and its operands, as `POST /calculations` takes them."""

    operation: str
    input: dict[str, Number]


class EvaluationPreview(TypedDict):
    """The size and the cost of an expression, estimated before its value is computed."""

    expression: Annotated[str, Field(description="the expression in canonical form")]
    digits: Annotated[Number, Field(description="an upper bound of the decimal digits; 0 where the value is no number")]
    exact: Annotated[bool, Field(description="false: the value may be rounded to the precision")]
    too_large: Annotated[bool, Field(description="whether the value may have too many digits to be written out")]
    limit: Annotated[int, Field(description="the most digits that a result may have")]
    seconds: Annotated[float, Field(description="the estimated time on one core, within a factor of two; 1e12 at most")]
    timeout: Annotated[float, Field(description="seconds after which a computation is stopped")]
    call: NotRequired[Annotated[SummarisableCall, Field(description="a calculation of the value, for `view=summary`")]]


class BatchItem(TypedDict):
    """One calculation of a batch: the operands, and the options that a single calculation has in its query."""

    operation: str
    input: dict[str, Operand]


_ITEMS: list[Any] = [
    {"operation": "pow", "input": {"x": "2", "y": "-1"}},
    {"operation": "fibonacci", "input": {"n": 1000, "mod": 97}},
]


@with_config(json_schema_extra={"example": {"operations": _ITEMS}})
class Batch(TypedDict):
    """Several calculations in one request."""

    operations: Annotated[list[BatchItem], Field(min_length=1, max_length=MAX_BATCH)]


BatchResult = TypeAliasType(
    "BatchResult",
    Annotated[Calculation | Summary | Problem, Field(description="a calculation, its summary, or why there is none")],
)


class BatchResults(TypedDict):
    """The results of a batch, in the order of its operations."""

    results: list[BatchResult]
