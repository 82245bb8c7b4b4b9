"""Mutants of a file, made by cosmic-ray: copies with one small change each."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

_COMPARISONS = [
    *("Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt", "Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt"),
    *("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is"),
]
_BINARY = [
    *("Add_Sub", "Sub_Add", "Mul_Add", "Div_Mul", "FloorDiv_Mul", "Mod_FloorDiv", "Pow_Mul"),
    *("LShift_RShift", "RShift_LShift", "BitOr_BitAnd", "BitAnd_BitOr", "BitXor_BitOr"),
]
# cosmic-ray replaces each operator by every other one, up to eleven. One or two replacements show as much in a tenth of
# the time.
_OPERATORS = [
    *(f"core/ReplaceComparisonOperator_{pair}" for pair in _COMPARISONS),
    *(f"core/ReplaceBinaryOperator_{pair}" for pair in _BINARY),
    *("core/ReplaceUnaryOperator_USub_UAdd", "core/ReplaceUnaryOperator_Delete_Not"),
    *("core/ReplaceTrueWithFalse", "core/ReplaceFalseWithTrue", "core/ReplaceAndWithOr", "core/ReplaceOrWithAnd"),
    *("core/ReplaceBreakWithContinue", "core/ReplaceContinueWithBreak"),
    *("core/AddNot", "core/NumberReplacer", "core/ZeroIterationForLoop"),
]


@dataclass(frozen=True)
class Mutant:
    """A change at one place, and the changed source."""

    path: str
    line: int
    before: str
    after: str
    source: str

    @property
    def package(self) -> str:
        return str(Path(self.path).parent)

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.before}  ->  {self.after}"


def sample(root: Path, only: list[str], size: int | None, seed: int) -> Iterator[Mutant]:
    """Yield the mutants of the files and folders ``only`` in random order, at most ``size`` of each folder."""
    packages: dict[Path, list[Path]] = {}
    for name in only:
        found = root / name
        for file in [found] if found.is_file() else sorted(found.rglob("*.py")):
            packages.setdefault(file.parent, []).append(file)
    for folder, files in sorted(packages.items()):
        chances = [(file, *place) for file in sorted(set(files)) for place in _places(file.read_text())]
        random.Random(f"{seed} {folder.relative_to(root)}").shuffle(chances)  # noqa: S311 - a sample, not a secret
        made = 0
        for file, operator, occurrence, line in chances:
            if made == size:
                break
            if mutant := _mutant(root, file, operator, occurrence, line):
                made += 1
                yield mutant


def _places(source: str) -> Iterator[tuple[str, int, int]]:
    """Yield cosmic-ray's operator, its occurrence and the line of each possible change outside annotations."""
    annotated = _annotations(ast.parse(source))
    nodes = list(ast_nodes(get_ast(source)))
    for name in _OPERATORS:
        operator = get_operator(name)()
        positions = [start for node in nodes for start, _ in operator.mutation_positions(node)]
        for occurrence, start in enumerate(positions):
            if not any(first <= start < last for first, last in annotated):
                yield name, occurrence, start[0]


def _annotations(tree: ast.Module) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return the beginning and end of each annotation."""
    found = [
        annotation
        for node in ast.walk(tree)
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if isinstance(annotation, ast.expr)
    ]
    return [((a.lineno, a.col_offset), (a.end_lineno or 0, a.end_col_offset or 0)) for a in found]


def _mutant(root: Path, file: Path, operator: str, occurrence: int, line: int) -> Mutant | None:
    """Return a mutant, or None if it is not valid Python, or if no test is expected to notice it."""
    source = file.read_text()
    mutated = mutate_code(source, get_operator(operator)(), occurrence)
    try:
        ast.parse(mutated)
    except SyntaxError:
        return None
    before, after = (" ".join(text.splitlines()[line - 1].split()) for text in (source, mutated))
    # Two negations cancel out. Options of a dataclass, and imports for the type checker, are not tested.
    if "not not" in after or before.startswith(("@dataclass", "if TYPE_CHECKING")):
        return None
    return Mutant(str(file.relative_to(root)), line, before, after, mutated)
