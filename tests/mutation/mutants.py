"""The mutants of a source file: one small change each, made by Cosmic Ray's operators."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

_COMPARISONS = ("Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt", "Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt", "Eq_NotEq", "NotEq_Eq")
_IDENTITIES = ("Is_IsNot", "IsNot_Is")
_ARITHMETIC = ("Add_Sub", "Sub_Add", "Mul_Add", "Div_Mul", "FloorDiv_Mul", "Mod_Mul", "Pow_Mul")
_BITS = ("LShift_RShift", "RShift_LShift", "BitAnd_BitOr", "BitOr_BitAnd", "BitXor_BitAnd")
_OTHERS = (
    "AddNot",
    "NumberReplacer",
    "ReplaceAndWithOr",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "ReplaceFalseWithTrue",
    "ReplaceOrWithAnd",
    "ReplaceTrueWithFalse",
    "ReplaceUnaryOperator_Delete_Not",
    "ReplaceUnaryOperator_USub_UAdd",
)
OPERATORS = (
    *(f"core/ReplaceComparisonOperator_{change}" for change in (*_COMPARISONS, *_IDENTITIES)),
    *(f"core/ReplaceBinaryOperator_{change}" for change in (*_ARITHMETIC, *_BITS)),
    *(f"core/{name}" for name in _OTHERS),
)
"""Changed comparisons, arithmetic, conditions and numbers: to the opposite or a neighbour, not to all alternatives."""


class Mutant(NamedTuple):
    """One change to one file; ``line`` counts from 1."""

    file: str
    line: int
    operator: str
    occurrence: int


def mutants_of(file: Path) -> Iterator[Mutant]:
    """Yield the mutants of a file, those that change nothing but an annotation included."""
    tree = get_ast(file.read_text())
    for name in OPERATORS:
        operator = get_operator(name)()
        positions = [position for node in ast_nodes(tree) for position in operator.mutation_positions(node)]
        for occurrence, (start, _) in enumerate(positions):
            yield Mutant(str(file), start[0], name, occurrence)


def changed(mutant: Mutant) -> str | None:
    """Return the source of the file with the change, or None where the change has no effect at run time."""
    source = Path(mutant.file).read_text()
    mutated = mutate_code(source, get_operator(mutant.operator)(), mutant.occurrence)
    return None if mutated is None or _behaviour(mutated) == _behaviour(source) else str(mutated)


def _behaviour(source: str) -> str:
    """Return a form of the source without annotations, which the project's modules never evaluate."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
    return ast.dump(tree)


def sample(files: Iterable[Path], size: int, seed: int) -> list[Mutant]:
    """Return ``size`` mutants of the files, drawn uniformly and the same for the same seed; all of them for size 0."""
    drawn = [mutant for file in sorted(files) for mutant in mutants_of(file)]
    random.Random(seed).shuffle(drawn)  # noqa: S311  # a sample, not a secret
    chosen: list[Mutant] = []
    for mutant in drawn:
        if size and len(chosen) == size:
            break
        if changed(mutant) is not None:
            chosen.append(mutant)
    return chosen
