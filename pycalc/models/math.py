"""Calculations and batches as clients see them."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field, with_config
from typing_extensions import TypeAliasType, TypedDict

from pycalc.models.formats import Ends, Uuid, request_config, with_example
from pycalc.models.problems import Problem

MAX_BATCH = 1_000  # calculations in one batch
ELAPSED = (
    "milliseconds from the arrival of the whole request to the verified result, without the recording; in a batch, "
    "from the start of this calculation"
)

Number = TypeAliasType(
    "Number",
    Annotated[
        int | str,
        Field(description="a JSON integer within ±(2^53 - 1), else a string (RFC 7493)", union_mode="left_to_right"),
    ],
)


class PrimePower(TypedDict):
    """A prime factor of a number, and its exponent."""

    prime: Number
    exponent: Annotated[int, Field(description="how often the number is divisible by the prime")]


class IntegerRoot(TypedDict):
    """The floor of a root, and the remainder."""

    root: Number
    remainder: Annotated[Number, Field(description="the number less the power of the root")]


Outcome = Number | bool | list[PrimePower] | IntegerRoot

Operand = TypeAliasType(
    "Operand",
    Annotated[
        str | int | float,
        Field(description="a literal as in a path; a JSON number is taken as the digits that stand in the body"),
    ],
)


@with_example(
    id="01a22906-89c8-7645-876f-c70985c56e80",
    operation="fibonacci",
    input={"n": 100},
    result="354224848179261915075",
    digits=21,
    exact=True,
    cached=False,
    elapsed_ms=0.278,
)
class Calculation(TypedDict):
    """One calculation and its result."""

    id: Annotated[Uuid, Field(description="UUIDv7 (RFC 9562); also the id of its event")]
    operation: str
    input: Annotated[
        dict[str, Number],
        Field(
            description="the operands in canonical form; one of over 20,000 characters is shortened to its ends, its "
            "length and its SHA-256"
        ),
    ]
    result: Annotated[
        Outcome,
        Field(
            description="a boolean is the value of a comparison or of isprime, a list that of factorize, an object "
            "that of iroot; with `base` the digits are always a string"
        ),
    ]
    digits: Annotated[int, Field(description="number of digits in the result; 0 if it is no number")]
    exact: Annotated[
        bool, Field(description="false: correctly rounded to the asked precision, or a root with a remainder")
    ]
    cached: Annotated[bool, Field(description="whether the result was made by an earlier calculation")]
    elapsed_ms: Annotated[float, Field(description=ELAPSED)]


@with_example(
    id="01a22906-89c8-7645-876f-c70985c56e80",
    operation="fibonacci",
    input={"n": "1000000000000000000", "view": "summary"},
    leading="26289788186792204674",
    trailing="41183788299560546875",
    digits="208987640249978734",
    exact=True,
    cached=False,
    elapsed_ms=0.411,
)
class Summary(TypedDict):
    """The number of digits of a result, and its first and last digits. Only rounded results are computed in full."""

    id: Uuid
    operation: str
    input: dict[str, Number]
    leading: Annotated[Ends, Field(description="the first 20 digits")]
    trailing: Annotated[Ends, Field(description="the last 20 digits")]
    digits: Number
    exact: bool
    cached: bool
    elapsed_ms: Annotated[float, Field(description=ELAPSED)]


CalculationResult = TypeAliasType(
    "CalculationResult",
    Annotated[Calculation | Summary, Field(description="a calculation; with `view=summary`, its size and ends")],
)


@with_config(request_config(operation="pow", input={"x": "2", "y": "0.5"}, precision=30))
class CalculationRequest(TypedDict):
    """A calculation with its operands in the body."""

    operation: str
    input: Annotated[
        dict[str, Operand],
        Field(description="the operands by name: up to 10,000 characters, or as many as the operation's path states"),
    ]
    mod: NotRequired[Annotated[Operand, Field(description="the result modulo this whole number")]]
    view: NotRequired[
        Annotated[Literal["full", "summary"], Field(description="`summary`: size and ends instead of the result")]
    ]
    precision: NotRequired[
        Annotated[Operand, Field(description="significant digits of a result that has no finite exact form")]
    ]
    base: NotRequired[
        Annotated[Operand, Field(description="the base from 2 to 36 in which to write an integer result")]
    ]


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
    precision: NotRequired[
        Annotated[int, Field(ge=1, le=10_000, description="significant digits to round an irrational value to")]
    ]
    base: NotRequired[Annotated[int, Field(ge=2, le=36, description="the base in which to write an integer value")]]


class SummarisableCall(TypedDict):
    """An operation and its operands, as `POST /calculations` takes them."""

    operation: str
    input: dict[str, Number]


@with_example(
    expression="3^(10^12)",
    digits=477121254720,
    exact=True,
    too_large=True,
    limit=25_000_000,
    seconds=269237.0,
    timeout=30.0,
    call={"operation": "pow", "input": {"x": 3, "y": 1000000000000}},
)
class EvaluationPreview(TypedDict):
    """The size and the cost of an expression, estimated before its value is computed."""

    expression: Annotated[str, Field(description="the expression in canonical form")]
    digits: Annotated[Number, Field(description="an upper bound of the decimal digits; 0 where the value is no number")]
    exact: Annotated[bool, Field(description="false: the value is, or may be, rounded to the asked precision")]
    too_large: Annotated[bool, Field(description="whether the value may have too many digits to be written out")]
    limit: Annotated[int, Field(description="the most digits that a result may have")]
    seconds: Annotated[float, Field(description="the estimated time on one core, within a factor of two; 1e12 at most")]
    timeout: Annotated[float, Field(description="seconds after which a computation is stopped")]
    call: NotRequired[
        Annotated[
            SummarisableCall,
            Field(description="a calculation of the same value; with `view=summary` it gives the size and both ends"),
        ]
    ]


class BatchItem(TypedDict):
    """One calculation of a batch: the operands, and the options that a single calculation has in its query."""

    operation: str
    input: dict[str, Operand]


@with_example(
    operations=[
        {"operation": "pow", "input": {"x": "2", "y": "-1"}},
        {"operation": "fibonacci", "input": {"n": 1000, "mod": 97}},
    ]
)
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
