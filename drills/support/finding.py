"""What a drill found: one line for a person, and whether it is what must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one drill."""

    drill: str
    shown: str
    """What was done, in a few words."""
    figures: Mapping[str, float | int | str]
    faults: Mapping[str, float | int | str]
    """Figures that must not be there; none of them and the drill has passed."""

    @property
    def passed(self) -> bool:
        """Whether all was as it must be."""
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
    """Return those of the figures that are not zero or empty, underscores as spaces."""
    return {name.replace("_", " "): value for name, value in found.items() if value}
