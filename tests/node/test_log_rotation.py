"""ReopenContainerLog as the kubelet rotates: the log is renamed and reopened while the container floods it."""

import re
import threading
from pathlib import Path

from tests.cri import Cri
from tests.harness import Node, until

_FLOOD = "i=0; while [ ! -e /stop ]; do i=$((i+1)); echo line $i; done; exit $((i%200))"


def _lines(files: list[Path]) -> list[str]:
    """Standard output over all files, in the order in which they were rotated."""
    found = []
    for file in files:
        for line in file.read_text().splitlines():
            match = re.fullmatch(r"\S+ (stdout|stderr) F (.*)", line)
            assert match, f"{file}: {line!r}"
            if match[1] == "stdout":
                found.append(match[2])
    return found


def test_no_byte_is_lost_or_doubled_by_fifty_rotations(cri: Cri, clean: Node) -> None:
    pod = cri.pod()
    box = pod.running("sh", "-c", _FLOOD)
    log = Path(clean.status(box)["logPath"])
    files: list[Path] = []
    for number in range(50):
        until(lambda: log.exists() and log.stat().st_size > 10_000, 20, "the log grows")
        to = log.with_name(f"{log.name}.{number:03d}")
        log.rename(to)
        files.append(to)
        cri.call("ReopenContainerLog", container_id=box)
    pod.says(box, "touch", "/stop")
    code = clean.exited(box)["exitCode"]
    lines = _lines([*files, log])
    assert lines == [f"line {number}" for number in range(1, len(lines) + 1)]
    assert code == len(lines) % 200  # the writer's own count, as far as an exit code goes
    assert all(file.stat().st_size > 10_000 for file in files)


def test_two_who_reopen_at_once_and_a_log_that_was_not_moved(cri: Cri, clean: Node) -> None:
    pod = cri.pod()
    box = pod.running("sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i; done; sleep 1000")
    log = Path(clean.status(box)["logPath"])
    callers = [
        threading.Thread(target=lambda: [cri.call("ReopenContainerLog", container_id=box) for _ in range(20)])
        for _ in range(3)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    until(lambda: "line 20000" in _lines([log]), 30, "the last line")
    assert _lines([log]) == [f"line {number}" for number in range(1, 20001)]


def test_of_one_that_does_not_run(cri: Cri) -> None:
    pod = cri.pod()
    box = pod.created("true")
    assert cri.refused("ReopenContainerLog", container_id=box)[0] == "FAILED_PRECONDITION"
    assert cri.refused("ReopenContainerLog", container_id="f" * 64)[0] == "NOT_FOUND"
