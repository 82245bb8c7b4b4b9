"""Planning of a calculation: its operands are parsed and checked, and its size and cost are estimated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from json import JSONEncoder
from math import floor, log
from typing import Any, NamedTuple

from pycalc.errors import FieldProblem, InvalidInput, ResultTooLarge
from pycalc.models.json_text import json_literal, pointer_step, shown
from pycalc.models.results import Facts
from pycalc.services.compute.plan import BASE_MEMORY, Plan
from pycalc.services.compute.worker import Task
from pycalc.services.operations import CALCULATIONS, OPERATIONS
from pycalc.services.operations.base import VERIFIED_DIGITS, Calculable, Estimate, Modular, Summarisable
from pycalc.services.operations.expressions.operation import Evaluate
from pycalc.services.operations.numbers.gmp import int_of, text_of
from pycalc.services.operations.numbers.literals import parse_integer, size_of
from pycalc.services.operations.radix import DECIMAL, LARGEST, SMALLEST, base_seconds

DEFAULT_PRECISION = 50
MAX_PRECISION = 10_000
# The history and events abbreviate longer operands to their ends, length and digest.
LONGEST_RECORDED = 1_000
ABBREVIATED = "..."  # contained in an abbreviated operand, and in no literal
_LONGEST_SHOWN = 20_000  # answers abbreviate longer operands in the same way
# Operands with more characters in total are planned by a worker, and their plans are not cached (see ``is_short``).
_LONGEST_SHORT = 100
# The time to send a calculation to a worker. Every estimate for operands that are not short includes this time. It
# exceeds INLINE_SECONDS, so a calculation that a worker has planned is also computed by a worker.
HANDOVER_SECONDS = 0.0005
_MEMORY_PER_DIGIT = 8  # bytes that a plan allows for each digit of a result: twice the measured maximum of about 4
_MOST_MEMORY = 1 << 30  # the most bytes that a plan allows for intermediate values
_encode = JSONEncoder(separators=(",", ":")).encode

_EVALUATE = Evaluate(OPERATIONS)


class Options(NamedTuple):
    """The options of a calculation. The defaults ask for the full result in decimal."""

    precision: int = DEFAULT_PRECISION
    modulus: str | None = None
    summary: bool = False
    base: int = DECIMAL


DEFAULT_OPTIONS = Options()

Request = tuple[str, tuple[str, ...], Options]  # an operation's name, its operands' literals, the options


def options_of(operation: Calculable[Any], given: Mapping[str, str]) -> Options:
    """Return the options of a request. ``given`` has the texts of options by name; other options get their defaults.

    Raises InvalidInput for an unknown or invalid option, and for options that exclude each other. The text of ``mod``
    is not checked here, but by ``make_plan``.
    """
    options = {"mod": isinstance(operation, Modular), "view": isinstance(operation, Summarisable)}
    options |= {"base": operation.numeric, "precision": takes_precision(operation)}
    for name in given:
        if name not in options:
            raise _invalid(name, f"There is no parameter {shown(name)}: leave it out, or correct its name.")
        if not options[name]:
            raise _invalid(name, f"{operation.name} does not have the option {name}: leave it out.")
    if given.get("view", "full") not in ("full", "summary"):
        raise _invalid("view", "view must be full or summary.")
    summary = given.get("view") == "summary"
    if summary and "mod" in given:
        raise _invalid("view", "view=summary and mod exclude each other: leave one of them out.")
    precision = _whole(given, "precision", operation.default_precision, 1, MAX_PRECISION)
    base = _whole(given, "base", DECIMAL, SMALLEST, LARGEST)
    if summary and base != DECIMAL:
        raise _invalid("base", "view=summary shows decimal digits: leave base out, or view.")
    return Options(precision, given.get("mod"), summary, base)


def _whole(given: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    """Return the option ``name``, a whole number from ``least`` to ``most``, or ``default`` if it is not given."""
    text = given.get(name)
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) <= 5 and least <= int(text) <= most:
        return int(text)
    raise _invalid(name, f"{name} must be a whole number from {least} to {most:,}, written in digits.")


def takes_precision(operation: Calculable[Any]) -> bool:
    """Return whether an operation has the option ``precision``, because its results may need rounding."""
    return any(parameter.kind in ("rational", "expression") for parameter in operation.parameters)


def options_with_meanings(operation: Calculable[Any]) -> dict[str, str]:
    """Return the names of the options that an operation takes, each with its meaning for users."""
    found = {}
    if isinstance(operation, Modular):
        found["mod"] = "the result modulo this whole number, for operands whose result could not be written out"
    if isinstance(operation, Summarisable):
        found["view"] = "`summary`: the number of digits and both ends of the result, without computing it"
    if takes_precision(operation):
        default = f" (default {DEFAULT_PRECISION})" if operation.default_precision else ""
        found["precision"] = f"significant digits of an irrational result, 1 to {MAX_PRECISION:,}{default}"
    if operation.numeric:
        found["base"] = f"write an integer result in this base, {SMALLEST} to {LARGEST}, with the digits 0-9 and a-z"
    return found


def is_short(name: str, literals: tuple[str, ...], options: Options) -> bool:
    """Return whether planning takes well under a millisecond; with large operands, it may take seconds."""
    if sum(map(len, literals)) > _LONGEST_SHORT:
        return False
    size = sum(map(size_of, literals)) + size_of(options.modulus or "")
    if size > _LONGEST_SHORT or options.precision > _LONGEST_SHORT:
        return False
    return CALCULATIONS[name].is_quick(literals, modulo=options.modulus is not None)


def make_plan(max_digits: int, name: str, literals: tuple[str, ...], options: Options) -> Plan:
    """Return the plan of the operation ``name``. ``literals`` are its operands in the order of its parameters.

    Unless the request is short (see ``is_short``), the cost includes the time to send the calculation to a worker.

    Raises InvalidInput for an invalid operand or modulus, and for a summary of operands that are too long to record.
    Raises DomainError if the operation has no value for the operands.

    Raises ResultTooLarge if the result may have over ``max_digits`` digits. If the operation has summaries and the base
    is 10, the plan is marked ``too_large`` instead. The limit does not apply to summaries and to residues in base 10.
    """
    plan = _decimal_plan(max_digits, name, literals, options)
    if options.base != DECIMAL:
        digits = floor(plan.digits * log(10, options.base)) + 1
        if plan.too_large or digits > max_digits:
            detail = f"The result may have more than {max_digits:,} digits in base {options.base}: "
            raise ResultTooLarge(f"{detail}ask for a smaller result.", None, max_digits, None, None)
        seconds = plan.seconds + base_seconds(plan.digits)
        memory = plan.memory + _MEMORY_PER_DIGIT * digits
        # With an abbreviated operand, the key is a digest of the input, which includes the base.
        key = plan.key if ABBREVIATED in plan.recorded_input else f"{plan.key}&base={options.base}"
        task = plan.task._replace(base=options.base)
        plan = replace(plan, task=task, key=key, seconds=seconds, summary_seconds=seconds, digits=digits, memory=memory)
    if is_short(name, literals, options):
        return plan
    seconds, summary_seconds = plan.seconds + HANDOVER_SECONDS, plan.summary_seconds + HANDOVER_SECONDS
    return replace(plan, seconds=seconds, summary_seconds=summary_seconds)


def _decimal_plan(max_digits: int, name: str, literals: tuple[str, ...], options: Options) -> Plan:
    operation = CALCULATIONS[name]
    names = [parameter.name for parameter in operation.parameters]
    args = operation.parse(dict(zip(names, literals, strict=True)))
    inputs = operation.input(args)
    if options.base != DECIMAL:
        inputs["base"] = options.base
    if options.modulus is not None and isinstance(operation, Modular):
        modulus = parse_integer({"mod": options.modulus}, "mod", least=1)
        text = text_of(modulus)
        residue = operation.plan_modulo(args, modulus)
        task = Task(name, args, DEFAULT_PRECISION, "modulo", modulus, method=residue.method)
        inputs["mod"] = int(text) if json_literal(text) == text else text
        named = text if len(text) <= 200 else sha256(text.encode()).hexdigest()
        seconds = residue.seconds * (3 if len(text) > VERIFIED_DIGITS else 1)
        memory = BASE_MEMORY + _MEMORY_PER_DIGIT * len(text) + int(min(2 * residue.memory, _MOST_MEMORY))
        texts = _key_and_inputs(operation, args, options.precision, inputs, f"?mod={named}")
        return Plan(task, *texts, seconds, len(text), seconds, memory)
    estimate = operation.estimate(args, options.precision)
    # The parts of an exact expression may be irrational.
    rounded = not estimate.exact or isinstance(operation, Evaluate)
    if rounded and options.precision != operation.default_precision:
        inputs["precision"] = options.precision
    if options.summary:
        inputs["view"] = "summary"
    key, answered, recorded = _key_and_inputs(operation, args, options.precision, inputs)
    value = Task(name, args, options.precision, exact=estimate.exact)
    memory = BASE_MEMORY + _MEMORY_PER_DIGIT * estimate.digits
    if not isinstance(operation, Summarisable):
        if estimate.digits > max_digits:
            advice = ", or for a residue with mod" if isinstance(operation, Modular | Evaluate) else ""
            detail = f"The result may have more than {max_digits:,} digits: ask for a smaller result{advice}."
            raise ResultTooLarge(detail, None, max_digits, None, None)
        memory += int(min(estimate.memory, _MOST_MEMORY))
        return Plan(value, key, answered, recorded, estimate.seconds, estimate.digits, estimate.seconds, memory)
    summary = value._replace(view="summary")
    seconds = operation.summary_seconds(args) if estimate.exact else estimate.seconds
    if options.summary:
        if sum(map(len, literals)) > LONGEST_RECORDED:
            detail = f"The operands of a summary must have at most {LONGEST_RECORDED:,} characters together."
            raise _invalid(names[0], detail)
        return Plan(summary, f"{key}?summary", answered, recorded, seconds, summary_seconds=seconds)
    if estimate.digits > max_digits:
        return Plan(summary, f"{key}?ends", answered, recorded, seconds, summary_seconds=seconds, too_large=True)
    return Plan(value, key, answered, recorded, estimate.seconds, estimate.digits, seconds, memory)


def require_size(plan: Plan, facts: Facts, max_digits: int) -> None:
    """Raise ResultTooLarge if a full result, not a summary or residue, has more than ``max_digits`` digits."""
    if plan.too_large or (plan.task.view == "value" and int_of(facts.digits) > max_digits):
        detail = f"The result has more than {max_digits:,} digits, too many to write out: ask for a smaller result."
        raise ResultTooLarge(detail, int_of(facts.digits), max_digits, facts.leading, facts.trailing)


def ends_of(plan: Plan) -> Plan:
    """Return a plan for only the number of digits and the ends of a result, whose operation must have summaries."""
    task, key = plan.task._replace(view="summary"), f"{plan.key}?ends"
    return replace(plan, task=task, key=key, seconds=plan.summary_seconds, digits=0, memory=BASE_MEMORY)


def recorded_key(operation: str, recorded_input: str) -> str:
    """Return the cache key of a result whose recorded input is abbreviated: it can be found without the full input."""
    return f"{operation}:recorded:{sha256(recorded_input.encode()).hexdigest()}"


def _key_and_inputs(
    operation: Calculable[Any], args: Any, precision: int, inputs: dict[str, int | str], suffix: str = ""
) -> tuple[str, str, str]:
    """Return the cache key, and the operands and options as JSON twice: for the answer, and for the history."""
    shown = recorded = _encode(inputs)
    if len(recorded) > LONGEST_RECORDED:
        shown, recorded = (
            _encode({name: _abbreviated(value, longest) for name, value in inputs.items()})
            for longest in (_LONGEST_SHOWN, LONGEST_RECORDED)
        )
    if ABBREVIATED in recorded:
        return recorded_key(operation.name, recorded), shown, recorded
    return operation.key(args, precision) + suffix, shown, recorded


def _abbreviated(operand: int | str, longest: int) -> int | str:
    """Return an operand or, if it is longer than ``longest`` characters, its ends, length and digest."""
    if isinstance(operand, int) or len(operand) <= longest:
        return operand
    digest = sha256(operand.encode()).hexdigest()
    return f"{operand[:20]}{ABBREVIATED}{operand[-20:]} ({len(operand)} characters, SHA-256 {digest})"


def _invalid(name: str, detail: str) -> InvalidInput:
    return InvalidInput.of(FieldProblem(pointer_step(name), detail))


class Preview(NamedTuple):
    """The canonical text of an expression, and the estimate for its value.

    ``call`` is a calculation with the same value, of which a client can request a summary: an operation's name, and its
    operands by name. It is None unless the whole expression is one call of an operation with summaries, and the
    operands are exact, short and quickly computed. A power such as 2^100 counts as a call of ``pow``.
    """

    expression: str
    estimate: Estimate
    call: tuple[str, dict[str, int | str]] | None


def make_preview(request: Request) -> Preview:
    """Return the preview of an evaluation; raises InvalidInput, DomainError and ResultTooLarge.

    If the value is too large, but the preview has a ``call`` for its first and last digits, ResultTooLarge is not
    raised. The preview then has the estimate of the called operation.
    """
    _, (text,), options = request
    expression = _EVALUATE.parse({"expression": text})
    failure: ResultTooLarge | None = None
    try:
        estimate = _EVALUATE.estimate(expression, options.precision)
    except ResultTooLarge as error:
        failure = error
    call = None
    found = _EVALUATE.call(expression)
    if found is not None and isinstance(OPERATIONS[found[0]], Summarisable):
        name, literals = found
        operation = OPERATIONS[name]
        names = [parameter.name for parameter in operation.parameters]
        args = operation.parse(dict(zip(names, literals, strict=True)))
        call = name, operation.input(args)
        if failure is not None:
            estimate = operation.estimate(args, operation.default_precision)
    elif failure is not None:
        raise failure
    return Preview(expression.text, estimate, call)
