"""A pull's progress: a bar a layer on a terminal, a line a finished layer elsewhere."""

import contextlib
import sys
import uuid
from collections.abc import AsyncIterator
from typing import Any

from cribus.api.images import Progress
from cribus.bus import codec, subjects
from cribus.bus.service import Bus


class Lines:
    """For logs and pipes: says each layer once, when it is there."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def show(self, news: Progress) -> None:
        if news.stage in ("done", "present") and news.layer not in self._said:
            self._said.add(news.layer)
            print(f"{_short(news.layer)} {news.stage}", file=sys.stderr)

    def close(self) -> None:
        """Nothing is left open."""


class Bars:
    """For a terminal. rich is loaded here only: it takes longer than most commands."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
        from rich.progress import Progress as Live

        columns = (
            TextColumn("{task.description}"),
            TextColumn("{task.fields[stage]:<9}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
        )
        self._live = Live(*columns, console=Console(stderr=True))
        self._tasks: dict[str, Any] = {}
        self._live.start()

    def show(self, news: Progress) -> None:
        if news.layer not in self._tasks:
            self._tasks[news.layer] = self._live.add_task(_short(news.layer), total=None, stage=news.stage)
        done, total = news.done, news.total or None
        if news.stage in ("done", "present"):
            done = total = news.total or news.done or 1
        self._live.update(self._tasks[news.layer], completed=done, total=total, stage=news.stage)

    def close(self) -> None:
        self._live.stop()


def _short(layer: str) -> str:
    return layer.removeprefix("sha256:")[:12]


@contextlib.asynccontextmanager
async def shown(bus: Bus, *, quiet: bool) -> AsyncIterator[str]:
    """While inside, the progress of the pull with the yielded id is shown on standard error."""
    id = uuid.uuid4().hex
    if quiet:
        yield id
        return
    shown = Bars() if sys.stderr.isatty() else Lines()

    async def on_news(msg: Any) -> None:
        shown.show(codec.unpack_message(Progress, msg.data))

    subscription: Any = await bus.connection.nats.subscribe(subjects.progress(bus.node, id), cb=on_news)
    try:
        yield id
    finally:
        await subscription.drain()  # shows what has arrived first
        shown.close()
