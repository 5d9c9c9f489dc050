"""A container that is over before the executor that starts it has said so, and that executor is killed."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from tests import harness
from tests.chaos.faults import Faults
from tests.harness import Node, until


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Faults]]:
    base = tmp_path_factory.mktemp("short")
    faults = Faults(base / "faults")
    with harness.node(base, before=faults.laid_for) as one:
        yield one, faults


@pytest.mark.parametrize("keeper", [False, True], ids=["", "keeper"])
@pytest.mark.parametrize("step", ["marked", "let-go", "executed", "noted"])
def test_it_runs_once(stage: tuple[Node, Faults], step: str, keeper: bool) -> None:
    node, faults = stage
    name = f"{step}-{keeper}".lower()
    pod = node.pod(name)
    config = node.container_config(name, "sh", "-c", "echo once; exit 3")
    container = node.crictl("create", pod, str(config), str(node.base / f"{name}-pod.json"))
    log = node.logs / name / f"{name}.log"

    def strike(_: int) -> str:
        """It has run by now, unless it could not yet."""
        if step != "marked":
            until(lambda: log.exists() and log.read_text().endswith("once\n"), 10, "it runs")
            if keeper:
                until(lambda: (node.run_dir / "containers" / container / "exit.json").exists(), 5, "its exit is noted")
                os.kill(node.keeper(container), signal.SIGKILL)
        return "9 0\n"

    said: list[str] = []
    starting = threading.Thread(target=lambda: said.append(node.crictl("start", container)))
    with faults.halt(f"executor.start.{step}", strike) as struck:
        starting.start()
        assert struck.wait(20)
        starting.join(30)
    assert said == [container]
    assert node.exited(container)["exitCode"] == 3
    assert node.log_lines(container) == ["once"]
    told = [line for line in node.cribus("events", "--kind", "exited").splitlines() if container in line]
    assert len(told) == 1
    node.crictl("rmp", "-f", pod)
    node.assert_clean()
