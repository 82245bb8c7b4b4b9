"""PARI/GP as an independent calculator for random expressions."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from fractions import Fraction

from tests.harness.expressions import Drawn

# Rounding half to even, as in Python, and powers with exact roots, for which PARI's own operator returns floats.
_DEFINITIONS = """\
rounded(x) = my(f = floor(x), d = x - f); if(d < 1/2, f, if(d > 1/2, f + 1, f + f % 2));
power(b, e) = {
  my(q = denominator(e), root);
  if(q == 1, return(b^e)); if(b == 0, return(0)); if(abs(b) == 1, return(b^numerator(e)));
  if(!ispower(abs(b), q, &root), error("irrational"));
  return((sign(b) * root)^numerator(e));
};
"""
_FORMS = {
    "//": "floor(({0}) / ({1}))",
    "%": "(({0}) - ({1}) * floor(({0}) / ({1})))",
    "^": "power({0}, {1})",
    "mod": "lift(Mod({0}, {1}))",
    "neg": "(-({0}))",
    "round": "rounded({0})",
    "factorial": "(({0})!)",
}


def values(trees: Sequence[Drawn]) -> list[str]:
    """Return the values of trees as PARI prints them: integers, fractions, and 1 or 0 for a comparison."""
    lines = [_DEFINITIONS, *(f"print({pari_text(tree)})" for tree in trees)]
    command = ["gp", "--quiet", "--fast", "--stacksize", "200M"]
    done = subprocess.run(
        command, input="\n".join([*lines, ""]), capture_output=True, text=True, timeout=300, check=True
    )
    return done.stdout.splitlines()


def pari_text(tree: Drawn) -> str:
    """Return a tree as text in PARI's language."""
    if tree.kind == "variable":
        return tree.text
    if tree.kind == "number":
        text = tree.text.replace("_", "")
        value = Fraction(int(text, 0)) if text[:2] in ("0x", "0b") else Fraction(text)
        return f"({value})"
    parts = [pari_text(operand) for operand in tree.operands]
    if tree.kind in ("sum", "prod"):
        return f"{tree.kind}({tree.text} = {parts[0]}, {parts[1]}, {parts[2]})"
    if tree.kind in _FORMS:
        return _FORMS[tree.kind].format(*parts)
    if tree.kind.isalpha():
        return f"{tree.kind}({', '.join(parts)})"
    return f"({parts[0]} {tree.kind} {parts[1]})"
