"""Measured numbers, side by side, as a Markdown table."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Row:
    """One thing measured. `values` by the side's name; `better` says which way is good."""

    what: str
    unit: str
    better: str = "lower"
    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, side: str, *values: float) -> None:
        self.values.setdefault(side, []).extend(values)


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _cell(values: list[float]) -> str:
    """The median, and the 95th percentile in brackets where there are enough to have one."""
    if not values:
        return "-"
    middle = _number(statistics.median(values))
    if len(values) < 10:
        return middle if len(values) < 2 else f"{middle} [{_number(min(values))} - {_number(max(values))}]"
    return f"{middle} ({_number(statistics.quantiles(values, n=20)[-1])})"


def _ratio(row: Row, sides: list[str]) -> str:
    """How many times better the last side is than the first."""
    if len(sides) < 2 or not all(row.values.get(side) for side in sides):
        return "-"
    first, last = (statistics.median(row.values[side]) for side in sides)
    if not first or not last:
        return "-"
    return f"{first / last if row.better == 'lower' else last / first:.2f}x"


class Report:
    """Rows in the order in which they were first asked for."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}

    def row(self, what: str, unit: str, better: str = "lower") -> Row:
        return self._rows.setdefault(what, Row(what, unit, better))

    def rows(self) -> Iterable[Row]:
        return self._rows.values()

    def table(self, sides: list[str]) -> str:
        lines = [
            "| what | unit | " + " | ".join(sides) + " | better by | n |",
            "| --- | --- | " + "--- | " * len(sides) + "--- | --- |",
        ]
        for row in self.rows():
            cells = " | ".join(_cell(row.values.get(side, [])) for side in sides)
            count = max((len(values) for values in row.values.values()), default=0)
            lines.append(f"| {row.what} | {row.unit} | {cells} | {_ratio(row, sides)} | {count} |")
        return "\n".join(lines)
