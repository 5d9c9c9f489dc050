"""A container that writes 200 MB in lines of 100 bytes as fast as it is read."""

import time
from pathlib import Path

from tests.bench.client import Client, Pod, pb
from tests.bench.report import Report
from tests.harness import until

BYTES, LINE = 200_000_000, 100
EXITED = 2  # CONTAINER_EXITED


def source(folder: Path) -> Path:
    """The file that the container copies to its standard output."""
    path = folder / "lines"
    path.write_bytes((b"x" * (LINE - 1) + b"\n") * (BYTES // LINE))
    return path


def log(client: Client, report: Report, lines: Path) -> None:
    mount = pb.Mount(host_path=str(lines), container_path="/lines", readonly=True)
    one = Pod(client, "cat", "/lines", mounts=[mount])
    one.run()
    one.create()
    used, start = client.side.cpu(), time.time()
    one.start()
    until(lambda: one.state() == EXITED, 120, "all is written")
    took = one.log.stat().st_mtime - start
    name = client.side.name
    report.row("log of 200 MB", "MB/s", "higher").add(name, BYTES / 1e6 / took)
    report.row("log of 200 MB: CPU", "s").add(name, client.side.cpu() - used)
    written = sum(1 for _ in one.log.open("rb"))
    assert written == BYTES // LINE, f"{name} wrote {written} lines of {BYTES // LINE}"
    one.down()
    one.log.unlink()
