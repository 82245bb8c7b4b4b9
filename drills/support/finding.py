"""The result of a drill: one readable line, and whether the drill passed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one drill."""

    drill: str
    # A short description of the drill.
    shown: str
    figures: Mapping[str, float | int | str]
    # Faults that were found; the drill passes when there is none.
    faults: Mapping[str, float | int | str]

    @property
    def passed(self) -> bool:
        """Return whether there are no faults."""
        return not self.faults

    def __str__(self) -> str:
        parts = [f"{'PASS' if self.passed else 'FAIL'}  {self.drill}: {self.shown}", _listed(self.figures)]
        if self.faults:
            parts.append(f"FAULTS: {_listed(self.faults)}")
        return "; ".join(filter(None, parts))


def _listed(figures: Mapping[str, float | int | str]) -> str:
    shown = {name: f"{value:.3g}" if isinstance(value, float) else f"{value}" for name, value in figures.items()}
    return ", ".join(f"{name} {value}" for name, value in shown.items())


def faults(**found: float | int | str) -> dict[str, float | int | str]:
    """Return the figures that are not zero or empty, by name; underscores in the names become spaces."""
    return {name.replace("_", " "): value for name, value in found.items() if value}
