"""critest against cribus or containerd: `python -m tests.conformance --help`. Exit status 1 when a spec failed
that could have passed."""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests import registry
from tests.bench import peer
from tests.bench.node import Cribus
from tests.bench.side import Side
from tests.conformance import critest, images


def mirrors(host: str) -> str:
    """Settings of cribus: all that critest pulls comes from this registry."""
    return "".join(f'[images.mirrors."{name}"]\nurls = ["http://{host}"]\nonly = true\n' for name in images.HOSTS)


@contextmanager
def prepared(name: str, programs: Path) -> Iterator[tuple[Side, Path]]:
    """The side `name`, up, with a registry that has every image; and a folder to write into."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crbc", dir="/var/tmp")))
        folder.chmod(0o711)  # the root of a user namespace passes through
        store = stack.enter_context(registry.serve(folder / "registry"))
        images.Builder(store, folder).all()
        side: Side
        if name == "containerd":
            peer.install(programs)
            side = peer.Containerd(folder / name, programs, store.host, images.HOSTS)
        else:
            side = Cribus(folder / name, mirrors(store.host))
        stack.callback(side.stop)
        side.start()
        yield side, folder


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--side", choices=("cribus", "containerd"), default="cribus")
    parser.add_argument(
        "--programs", type=Path, default=peer.programs(), help="where critest is or will be built (%(default)s)"
    )
    parser.add_argument("--log", type=Path, help="copy the suite's own output there")
    parser.add_argument("options", nargs="*", help="handed to critest, after --: -ginkgo.focus=… for example")
    chosen = parser.parse_args()
    chosen.programs.mkdir(parents=True, exist_ok=True)
    program = critest.build(chosen.programs)
    with prepared(chosen.side, chosen.programs) as (side, folder):
        began = time.monotonic()
        results = critest.run(program, side, folder, *chosen.options)
        took = time.monotonic() - began
        if chosen.log:
            chosen.log.write_bytes((folder / "critest.log").read_bytes())
    for one in results:
        if one.state != "passed":
            print(f"{one.state}: {one.name}\n    {one.message.splitlines()[0] if one.message else ''}")
    counts = ", ".join(f"{count} {state}" for state, count in sorted(Counter(one.state for one in results).items()))
    print(f"{counts}, {took:.1f} s")
    return int(bool(critest.unexpected(results)))


if __name__ == "__main__":
    sys.exit(main())
