"""Execs a second, several callers, each in a container of its own."""

import time
from concurrent.futures import ThreadPoolExecutor

from tests.bench.client import Client, Pod
from tests.bench.report import Report

CALLERS, EACH = 4, 25


def execs(client: Client, report: Report) -> None:
    pods = [Pod(client).up() for _ in range(CALLERS)]

    def work(one: Pod) -> None:
        for _ in range(EACH):
            one.exec()

    start = time.perf_counter()
    with ThreadPoolExecutor(CALLERS) as callers:
        list(callers.map(work, pods))
    rate = CALLERS * EACH / (time.perf_counter() - start)
    report.row(f"ExecSync, {CALLERS} callers", "1/s", "higher").add(client.side.name, rate)
    for one in pods:
        one.down()
