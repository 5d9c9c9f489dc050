"""What many pods cost that do nothing: memory, idle CPU, and how long the lists take."""

import time

from tests.bench.client import Client, Pod, pb
from tests.bench.report import Report

PODS, LISTS = 60, 20
MEMORY, IDLE = f"memory a pod (PSS, of {PODS})", f"CPU of {PODS} idle pods"


class Crowd:
    """PODS pods that sleep, on one side."""

    def __init__(self, client: Client, report: Report) -> None:
        self.client, self.report = client, report
        self.empty = client.side.pss()
        self.pods = [Pod(client).up() for _ in range(PODS)]

    def memory(self) -> None:
        side = self.client.side
        self.report.row(MEMORY, "MiB").add(side.name, (side.pss() - self.empty) / PODS / 2**20)
        self.report.row("memory of the runtime without pods (PSS)", "MiB").add(side.name, self.empty / 2**20)

    def lists(self) -> None:
        requests = {
            "ListPodSandbox": pb.ListPodSandboxRequest(),
            "ListContainers": pb.ListContainersRequest(),
            "ListContainerStats": pb.ListContainerStatsRequest(),
            "ListPodSandboxStats": pb.ListPodSandboxStatsRequest(),
        }
        for name, request in requests.items():
            row = self.report.row(f"{name}, {PODS} pods", "ms")
            row.add(self.client.side.name, *(self.client.timed(name, request)[0] for _ in range(LISTS)))

    def down(self) -> None:
        for one in self.pods:
            one.down()


def idle(crowds: list[Crowd], report: Report, seconds: float) -> None:
    """CPU that both sides use in the same time while nobody asks for anything, as seconds a minute."""
    before = [crowd.client.side.cpu() for crowd in crowds]
    time.sleep(seconds)
    for crowd, used in zip(crowds, before, strict=True):
        name = crowd.client.side.name
        report.row(IDLE, "CPU s/min").add(name, (crowd.client.side.cpu() - used) / seconds * 60)
