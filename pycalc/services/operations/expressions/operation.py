"""The calculation ``evaluate``: the value of an expression over the operations."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from math import ceil
from typing import Any, TypeVar

from pycalc.errors import DomainError, FieldProblem, InvalidInput, VerificationFailed
from pycalc.services.operations.base import Calculable, Estimate, Operation, Parameter, Stepwise, Verified
from pycalc.services.operations.expressions import costs, nodes
from pycalc.services.operations.expressions.arithmetic import Arithmetic
from pycalc.services.operations.expressions.bounds import LARGEST_ARGUMENT
from pycalc.services.operations.expressions.canonical import canonical
from pycalc.services.operations.expressions.estimator import PRIME_SIZE, Estimator
from pycalc.services.operations.expressions.evaluation import DisagreementError, Evaluator
from pycalc.services.operations.expressions.functions import PRECISION, Function
from pycalc.services.operations.expressions.nodes import BUILT_IN, Node, children
from pycalc.services.operations.expressions.parser import MOST_CHARACTERS, MOST_DEPTH, parse
from pycalc.services.operations.expressions.problems import undefined
from pycalc.services.operations.expressions.residues import Residues
from pycalc.services.operations.expressions.sizes import BITS_PER_DIGIT, Enclosed
from pycalc.services.operations.expressions.values import UndecidedError, Value, is_exact, is_whole, text_of_value
from pycalc.services.operations.numbers.literals import key_of, lowest
from pycalc.services.operations.numbers.modular import random_prime
from pycalc.services.operations.numbers.texts import digits_residue

_BOOLEANS = {False: b"false", True: b"true"}
_SHORT_DIGITS = 18
_PRIMES = 3  # the most primes that a verification draws: another one is drawn if a prime divides a denominator
_GUARD_BITS = 64
_MOST_DOUBLINGS = 4  # how often the working precision is doubled if no operand is long
_MOST_NEEDED = 1_000_000  # the most bits by which the precision is raised for long operands of irrational parts
_QUICK_SECONDS = 0.01  # the most seconds that an estimate spends on computing values
_MOST_OPERAND_BITS = 1_000  # the most bits of an operand in the call that ``call`` returns: about 300 digits
_LEADING_ZEROS = 6  # the most zeros that are written before the digits of a rounded value below 1
# An uncertain estimate is raised to this, so that the expression is not computed on the event loop.
_LEAST_UNCERTAIN_SECONDS = 0.0005
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression. Expressions are equal if their texts are equal."""

    text: str  # the canonical text or, if that exceeds the parser's limits, the text that was parsed
    root: Node = field(compare=False, repr=False)


class Evaluate(Calculable[Expression]):
    """The value of an expression. An irrational value is rounded to the precision. With precision 0, it is refused."""

    name = "evaluate"
    title = "Expression"
    description = (
        "The exact value of an expression over the operations: an integer, a decimal, p/q in lowest terms, or the "
        "boolean of a comparison. An irrational value is rounded to `precision` significant digits, if that is given."
    )
    parameters = (Parameter("expression", "expression", "The expression.", "3^(10^12) mod 10^20"),)
    default_precision = 0

    def __init__(self, operations: Mapping[str, Operation[Any]]) -> None:
        self._functions = {name: Function(operation) for name, operation in operations.items()}
        self._signatures = {**BUILT_IN, **{name: function.signature for name, function in self._functions.items()}}
        calls = "|".join(operations)
        # A call of a function with short literals, for which the size is found at once.
        argument = rf"\s*[0-9]{{1,{_SHORT_DIGITS}}}\s*"
        self._quick_call = re.compile(rf"\b(?:{calls})\({argument}(?:,{argument})*\)|\b[0-9]{{1,9}}!")
        self._call = re.compile(rf"\b(?:{calls})\b|!(?!=)")
        self._modulo = re.compile(r"\bmod\b|%")
        self._loop = re.compile(r"\b(?:sum|prod)\b")

    def parse(self, raw: Mapping[str, str]) -> Expression:
        text = raw.get("expression")
        if text is None:
            raise InvalidInput.of(FieldProblem("/expression", "expression is missing: it is required."))
        root = parse(text, self._signatures)
        written = canonical(root)
        # A recorded calculation is made again from this text, so it must be within the parser's limits.
        if len(written) > MOST_CHARACTERS or written.count("(") + written.count("^") > MOST_DEPTH:
            try:
                parse(written, self._signatures)
            except InvalidInput:
                written = text
        return Expression(written, root)

    def input(self, args: Expression) -> dict[str, int | str]:
        return {"expression": args.text}

    def key(self, args: Expression, precision: int) -> str:
        return key_of(self.name, args.text, *([f"precision={precision}"] if precision else []))

    def estimate(self, args: Expression, precision: int) -> Estimate:
        root = self._with_values(args.root, precision)
        estimator = Estimator(Arithmetic(self._functions, precision))
        size = estimator.value(root)
        if size.value is not None:
            digits = written = sum(character.isdigit() for character in text_of_value(size.value))
        elif size.rounded is Enclosed.YES:  # only the bounds of an enclosure may be infinite
            digits = written = precision + _LEADING_ZEROS
        else:
            # A denominator of factors 2 and 5 is written as decimal places, at most one for each of its bits.
            least = precision + _LEADING_ZEROS if size.rounded else 1
            written = ceil(size.bits / BITS_PER_DIGIT + 1e-9) + ceil(size.places / BITS_PER_DIGIT)
            digits = max(least, int(written + size.places))
        if size.rounded is Enclosed.YES:  # it is verified by narrower enclosures
            again = Estimator(Arithmetic(self._functions, 2 * precision))
            again.value(root)
            seconds = estimator.seconds + again.seconds + costs.WHOLE + 2 * costs.rounded(precision)
        else:
            seconds = costs.text(min(digits, estimator.typical if isinstance(root, nodes.Loop) else written))
            for part in children(root) if self._is_no_number(root) else (root,):
                estimator.residue(part, PRIME_SIZE)
            seconds += estimator.seconds + costs.WHOLE
        if size.rounded or not estimator.certain:
            seconds = max(seconds, _LEAST_UNCERTAIN_SECONDS)
        return Estimate(digits, seconds, not size.rounded, estimator.memory)

    def _with_values(self, root: Node, precision: int) -> Node:
        """Return ``root``. If its value is not a number, replace the call's arguments by their values if this is quick.

        The cost of such a call, for example a proof of primality, depends on the values of the arguments.
        """
        if not (isinstance(root, nodes.Call) and self._is_no_number(root)):
            return root
        values = self._quick_values(root.arguments, precision, LARGEST_ARGUMENT)
        if values is None or not all(map(is_whole, values)):
            return root
        literals = [lowest("-" if value < 0 else "", abs(value).digits(), 0) for value in values]
        return nodes.Call(root.position, root.name, tuple(nodes.Constant(root.position, each) for each in literals))

    def _quick_values(self, parts: tuple[Node, ...], precision: int, most_bits: float) -> list[Value] | None:
        """Return the exact values of parts, or None if this may be slow, or if one may have over ``most_bits`` bits."""
        estimator = Estimator(Arithmetic(self._functions, precision))
        sizes = [estimator.value(part) for part in parts]
        is_long = any(size.bits + size.places > most_bits for size in sizes)
        if is_long or estimator.seconds > _QUICK_SECONDS or not estimator.certain:
            return None
        return list(map(Evaluator(Arithmetic(self._functions)).value, parts))

    def call(self, args: Expression) -> tuple[str, tuple[str, ...]] | None:
        """Return the operation and operands of an expression that is one call or power with short operands, or None.

        Raises DomainError or ResultTooLarge if an operand has no value, or may be too large to compute.
        """
        root = args.root
        name = "pow" if isinstance(root, nodes.Exponentiation) else root.name if isinstance(root, nodes.Call) else ""
        values = self._quick_values(children(root), 0, _MOST_OPERAND_BITS) if name in self._functions else None
        return None if values is None else (name, tuple(map(text_of_value, values)))

    def is_quick(self, literals: tuple[str, ...], *, modulo: bool) -> bool:
        # Calls must have short literals as arguments, because others may be slow to estimate. With ``mod`` or ``%``,
        # there must be no call, because the cost of its residue depends on the factors of the modulus.
        (text,) = literals
        loops = len(self._loop.findall(text))
        if loops > 1 or (loops and ("/" in text or self._call.search(text))):  # a body is estimated several times
            return False
        rest = text if self._modulo.search(text) else self._quick_call.sub("", text)
        return self._call.search(rest) is None

    def steps(self, args: Expression, precision: int) -> Iterator[bytes] | None:
        function = self._called(args.root)
        if function is None or not isinstance(function.operation, Stepwise):
            return None
        return self._steps_of(function, args.root, precision)

    def _steps_of(self, function: Function, root: Node, precision: int) -> Iterator[bytes]:
        values = self._settled(precision, lambda arithmetic: list(map(Evaluator(arithmetic).value, children(root))))
        yield from function.operation.steps(function.arguments(root.position, values), PRECISION) or ()

    def result(self, args: Expression, precision: int, *, exact: bool) -> Verified:
        computed = self._settled(precision, lambda arithmetic: self._computed(args.root, arithmetic))
        return self.verified(args, precision, computed.text, exact=computed.exact)

    def verified(self, args: Expression, precision: int, text: bytes, *, exact: bool) -> Verified:
        root, computed = args.root, Verified(text, exact)
        for _ in range(_PRIMES):
            with suppress(ZeroDivisionError):  # the prime divides a denominator: draw another one
                if not self._is_right(root, precision, computed, random_prime()):
                    break
                function = self._called(root)
                return Verified(text, exact and (function is None or function.operation.is_exact(text)))
        raise VerificationFailed(f"evaluate {args.text[:200]} did not agree with its residue")

    def _is_right(self, root: Node, precision: int, computed: Verified, prime: int) -> bool:
        """Return whether a text is the value of a tree. Raises ZeroDivisionError if the prime divides a denominator.

        An exact value is verified by residues modulo ``prime``. A rounded value, or an exact one with irrational parts,
        is computed again from narrower enclosures.
        """
        try:
            if computed.exact:
                return self._settled(precision, lambda arithmetic: self._agrees(root, arithmetic, computed, prime))
        except DisagreementError:
            return False
        except DomainError:
            if not precision:
                raise
            # The irrational parts of an exact value, such as 0 * 2^0.5, have no residues.
        return computed == self._settled(precision, lambda arithmetic: self._computed(root, arithmetic), narrower=True)

    def _computed(self, root: Node, arithmetic: Arithmetic) -> Verified:
        value = Evaluator(arithmetic).value(root)
        if isinstance(value, bool | bytes):
            return Verified(value if isinstance(value, bytes) else _BOOLEANS[value], True)
        if is_exact(value):
            return Verified(text_of_value(value).encode(), True)
        from pycalc.services.operations.expressions.enclosures import rounded

        number = rounded(root.position, value, arithmetic.precision, arithmetic.bits)
        return Verified(number.text().encode(), False)

    def _agrees(self, root: Node, arithmetic: Arithmetic, computed: Verified, prime: int) -> bool:
        """Return whether an exact text agrees with the tree modulo ``prime``. May raise DisagreementError instead."""
        evaluator = Evaluator(arithmetic, prime)
        residues = Residues(evaluator, prime, verifying=True)
        if not self._is_no_number(root):
            return digits_residue(computed.text, prime) == int(residues.of(root))
        # The exact operands of a comparison or a call are verified by their residues, and the text by the operands.
        operands = children(root)
        values = list(map(evaluator.value, operands))
        for operand, value in zip(operands, values, strict=True):
            if is_exact(value) and residues.of(operand) != residues.of_value(operand.position, value):
                raise DisagreementError
        function = self._called(root)
        if function is None:
            return computed.text == _BOOLEANS[arithmetic.value(root, values)]
        return function.operation.verify(function.arguments(root.position, values), PRECISION, computed.text, prime)

    def _called(self, root: Node) -> Function | None:
        return self._functions.get(root.name) if isinstance(root, nodes.Call) else None

    def _is_no_number(self, root: Node) -> bool:
        function = self._called(root)
        return isinstance(root, nodes.Comparison) or (function is not None and not function.operation.numeric)

    def _settled(self, precision: int, attempt: Callable[[Arithmetic], T], *, narrower: bool = False) -> T:
        """Call ``attempt`` with rising precisions until no enclosure is too wide; ``narrower`` means from a higher one.

        Raises DomainError, with the position, if an enclosure is too wide after several tries.
        """
        least = precision * 10 // 3 + _GUARD_BITS if precision else 0
        if narrower:
            least = 2 * least + _GUARD_BITS
        bits = least
        while True:
            arithmetic = Arithmetic(self._functions, precision, bits)
            try:
                return attempt(arithmetic)
            except UndecidedError as error:
                needed = least + min(arithmetic.needed, _MOST_NEEDED)
                if bits >= max(least << _MOST_DOUBLINGS, 2 * needed):
                    detail = (
                        f"Even with {int(bits / BITS_PER_DIGIT):,} digits of its irrational parts, this part can't be "
                        "rounded or compared. Probably parts of it cancel, as in 2^0.5 - 2^0.5: write it without them."
                    )
                    raise undefined(error.args[0], detail) from None
                bits = max(2 * bits, needed)
