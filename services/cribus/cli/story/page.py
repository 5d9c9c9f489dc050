"""A pod's story as one page that people like to read. rich is loaded here only."""

import sys

from rich.console import Console
from rich.text import Text

from cribus.cli.output.table import age, short
from cribus.cli.story.causes import CAUSE, Cause, clock
from cribus.cli.story.facts import Story
from cribus.cli.story.timeline import Entry, Part

_TINY = 0.05  # ms: a step that took less is named without its time
_MOST = 60  # entries of a timeline: of a longer one the last


def show(story: Story, causes: list[Cause], entries: list[Entry]) -> None:
    """Print the page."""
    console = Console(highlight=False)
    plain = not sys.stdout.isatty()
    for line in lines(story, causes, entries):
        console.print(line, soft_wrap=plain)


def lines(story: Story, causes: list[Cause], entries: list[Entry]) -> list[Text]:
    made = [_heading(story), Text()]
    made += [line for cause in causes for line in _cause(cause)]
    if not any(cause.level == CAUSE for cause in causes):
        made.append(Text(f"· nothing is wrong as far as cribus knows: the pod is {story.state}", "green"))
    for one in story.containers:
        made.append(Text(f"  {one.name or '?'}  {short(one.id)}  {one.state}  {one.image}", "dim"))
    made.append(Text())
    if len(entries) > _MOST:
        made.append(Text(f"… {len(entries) - _MOST} earlier entries: --json has them", "dim"))
    for entry in entries[-_MOST:]:
        made += _entry(entry)
    return made


def _heading(story: Story) -> Text:
    made = Text("pod ") + Text(story.name or short(story.pod), "bold")
    where = f" in {story.namespace}" if story.namespace else ""
    old = f", {age(story.created, story.now)} old" if story.created else ""
    return made + Text(f"{where}  {short(story.pod)}  {story.state}{old}, on node {story.node}")


def _cause(cause: Cause) -> list[Text]:
    sign, style = ("✗", "bold red") if cause.level == CAUSE else ("·", "yellow")
    made = [Text(f"{sign} ", style) + Text(cause.text, "bold" if cause.level == CAUSE else "")]
    return [*made, Text(f"  → {cause.next}", "cyan")] if cause.next else made


def _entry(entry: Entry) -> list[Text]:
    took = f"{entry.took / 1e6:9.1f} ms" if entry.took else " " * 12
    stamp = f"{clock(entry.at)}.{entry.at // 10**6 % 1000:03d}"
    head = Text(f"{stamp} {took}  ") + Text(entry.what, "bold" if entry.took else "")
    made = [head + (Text(f"  {entry.detail}", "dim") if entry.detail else Text())]
    if entry.failure:
        made.append(Text(f"{' ' * 27}✗ {entry.failure}", "red"))
    return [*made, *(_part(part) for part in entry.parts)]


def _part(part: Part) -> Text:
    steps = " · ".join(f"{name} {ns / 1e6:.1f}" if ns / 1e6 >= _TINY else name for name, ns in part.steps)
    return Text(f"{'':12} {part.took / 1e6:9.1f} ms    {part.process:<9} {steps}", "dim")
