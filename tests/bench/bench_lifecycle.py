"""A pod from nothing to gone: call by call with a pause between pods, and many callers at once."""

import time
from concurrent.futures import ThreadPoolExecutor

from tests.bench.client import Client, Pod
from tests.bench.report import Report

PODS, EXECS = 10, 3  # of one round
PAUSE = 0.06  # seconds of idle before a pod, as real life has it: back to back hides the kernel's waits
CALLERS, EACH = 8, 4


def pod(client: Client, report: Report) -> None:
    """Each call of a pod's life, one caller."""
    side = client.side.name
    for _ in range(PODS):
        time.sleep(PAUSE)
        one = Pod(client)
        up = {"RunPodSandbox": one.run(), "CreateContainer": one.create(), "StartContainer": one.start()}
        for _ in range(EXECS):
            report.row("ExecSync", "ms").add(side, one.exec())
        down = {
            "StopContainer": one.stop_container(),
            "StopPodSandbox": one.stop(),
            "RemoveContainer": one.remove_container(),
            "RemovePodSandbox": one.remove(),
        }
        for name, took in {**up, **down}.items():
            report.row(name, "ms").add(side, took)
        report.row("pod up (run + create + start)", "ms").add(side, sum(up.values()))
        report.row("pod down (stop + stop + remove + remove)", "ms").add(side, sum(down.values()))


def churn(client: Client, report: Report) -> None:
    """Whole lives a second, many callers at once."""

    def lives(_: int) -> None:
        for _ in range(EACH):
            Pod(client).up().down()

    start = time.perf_counter()
    with ThreadPoolExecutor(CALLERS) as callers:
        list(callers.map(lives, range(CALLERS)))
    rate = CALLERS * EACH / (time.perf_counter() - start)
    report.row(f"whole pod lives, {CALLERS} callers", "1/s", "higher").add(client.side.name, rate)
