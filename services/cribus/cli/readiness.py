"""Waiting until a node's services answer."""

import asyncio
import socket
import time
from collections.abc import Awaitable
from typing import Any

from cribus.api.trace import going
from cribus.api.verb import Empty, Message, Verb
from cribus.bus.connection import pause
from cribus.bus.service import Bus
from cribus.cli.session import connected
from cribus.cli.supervisor import configuration, control
from cribus.config import Settings
from cribus.errors import CribusError, DeadlineExceeded, Unavailable

RETRY = 0.02  # seconds between two tries of what has no event to wait for


async def ready(settings: Settings, seconds: float) -> dict[str, float]:
    """Wait until every service answers: after how many seconds each did.

    Raises DeadlineExceeded that names those that do not, with what their logs say last.
    """
    began = time.monotonic()
    took: dict[str, float] = {}

    async def timed(name: str, wait: Awaitable[None]) -> None:
        await wait
        took[name] = round(time.monotonic() - began, 3)

    try:
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            group.create_task(_supervised(settings))
            group.create_task(timed("gateway", _accepts(settings.gateway.socket)))
            async with connected(settings, seconds) as bus:
                took["nats"] = round(time.monotonic() - began, 3)
                async with asyncio.TaskGroup() as services:
                    for name in configuration.PYTHON_SERVICES:
                        if name == "gateway":  # it is asked by its socket, above
                            continue
                        services.create_task(timed(name, answers(bus, going(name), Empty())))
    except TimeoutError as error:
        missing = [name for name in configuration.services(settings) if name not in took]
        raise DeadlineExceeded(explained(settings, missing)) from error
    except BaseExceptionGroup as group_error:
        raise _first(group_error) from group_error
    return took


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _supervised(settings: Settings) -> None:
    """Wait for supervisord, then start what was stopped by hand."""
    while not await asyncio.to_thread(control.answers, settings):
        await pause(RETRY)
    for program in control.programs(settings):
        if program.state in ("STOPPED", "FATAL", "EXITED"):
            control.ask(settings, "supervisor.startProcess", program.name, False)


async def answers(bus: Bus, verb: Verb[Any, Any], question: Message) -> None:
    """Wait until whoever has this verb answers it."""
    while True:
        try:
            await bus.call(verb, question, timeout=5.0)
        except (Unavailable, DeadlineExceeded):
            await pause(RETRY)
        except CribusError:
            return  # an error is an answer too
        else:
            return


async def _accepts(path: str) -> None:
    while True:
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            try:
                client.connect(path)
            except OSError:
                await pause(RETRY)
            else:
                return


def explained(settings: Settings, missing: list[str]) -> str:
    told = []
    for name in missing:
        path = configuration.logs(settings) / f"{name}.log"
        lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
        told.append(f"  {name}: {lines[-1] if lines else 'its log is empty'}   ({path})")
    names = ", ".join(missing)
    return f"{names or 'supervisord'} did not answer in time; the last lines of the logs:\n" + "\n".join(told)
