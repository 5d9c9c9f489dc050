"""What became of a pod when something was killed, and many of these as a table."""

import statistics
from collections import Counter
from typing import NamedTuple

_COLUMNS = ("killed", "container", "exit code told", "lines lost", "recovered after", "calls that fail", "leaked")


class Verdict(NamedTuple):
    """One kill. `code` is (told, true), `lines` (lost, twice), `recovered` seconds until (lists, a command in
    the very container) worked, None where none ever did."""

    kind: str
    moment: str
    fate: str
    code: tuple[int, int]
    lines: tuple[int, int]
    recovered: tuple[float, float | None]
    failed: list[str] = []
    leaked: list[str] = []

    def line(self) -> str:
        """In words."""
        lists, command = self.recovered
        code = f"exit code {self.code[0]}" + ("" if self.code[0] == self.code[1] else f" (truly {self.code[1]})")
        lines = f"{self.lines[0]} lines lost" + (f", {self.lines[1]} twice" if self.lines[1] else "")
        whole = f"lists after {lists:.2f} s, exec after {command:.2f} s" if command else f"lists after {lists:.2f} s"
        more = [*(f"FAILED {one}" for one in self.failed), *(f"LEFT {one}" for one in self.leaked)]
        return "; ".join([f"{self.kind} killed, {self.moment}: the container {self.fate}", code, lines, whole, *more])


def table(found: dict[str, list[Verdict]]) -> str:
    """A row a process of each side."""
    lines = [f"| {' | '.join(_COLUMNS)} |", "| --- " * len(_COLUMNS) + "|"]
    for side, verdicts in found.items():
        for kind in dict.fromkeys(one.kind for one in verdicts):
            lines += [_row(f"{side}: {kind}", [one for one in verdicts if one.kind == kind])]
    return "\n".join(lines)


def _row(name: str, of: list[Verdict]) -> str:
    lost, twice = sum(one.lines[0] for one in of), sum(one.lines[1] for one in of)
    cells = [
        name,
        _counted([one.fate for one in of]),
        _counted([_code(one) for one in of]),
        (f"{lost}" if lost else "none") + (f", {twice} twice" if twice else ""),
        _recovered(of),
        _counted([text.partition(":")[0] for one in of for text in one.failed]) or "none",
        _counted(sorted({text.partition(" ")[0] for one in of for text in one.leaked})) or "nothing",
    ]
    return f"| {' | '.join(cells)} |"


def _code(one: Verdict) -> str:
    told, true = one.code
    if told != true:
        return f"{told}, truly {true}"
    return "the true one" if one.fate == "runs on" else f"{told}"


def _counted(words: list[str]) -> str:
    """`runs on`, or where they differ `runs on 3, is killed 4`."""
    counts = Counter(words)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{word} {count}" for word, count in counts.most_common())


def _recovered(of: list[Verdict]) -> str:
    """Median and most of the seconds until lists and a command in the container worked again."""
    times = [one.recovered[1] for one in of if one.recovered[1] is not None]
    never = len(of) - len(times)
    if not times:
        return f"never; lists after {_spread([one.recovered[0] for one in of])}"
    return _spread(times) + (f"; never in {never} of {len(of)}" if never else "")


def _spread(times: list[float]) -> str:
    return f"{statistics.median(times):.2f} s (at most {max(times):.2f})"
