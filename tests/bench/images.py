"""The images that both sides of a comparison run."""

import subprocess
from pathlib import Path

from tests import registry
from tests.registry import Entry, Image, Registry

_PAUSE = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n"


def images(store: Registry, folder: Path) -> str:
    """Push the pause image and one with a static busybox; returns the latter's name."""
    source, program = folder / "pause.c", folder / "pause"
    source.write_text(_PAUSE)
    subprocess.run(["gcc", "-static", "-Os", "-s", "-o", str(program), str(source)], check=True)
    pause = registry.layer(folder, registry.tar([Entry("pause", program.read_bytes(), 0o755)]))
    store.push("pause", Image([pause], {"Entrypoint": ["/pause"]}), "bench")
    applets = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    entries = [Entry("bin", folder=True, mode=0o755), Entry("bin/busybox", Path("/bin/busybox").read_bytes(), 0o755)]
    entries += [Entry(f"bin/{name}", link="bin/busybox", mode=0o755) for name in applets if name != "busybox"]
    busybox = registry.layer(folder, registry.tar(entries))
    store.push("busybox", Image([busybox], {"Cmd": ["sh"], "Env": ["PATH=/bin"]}), "bench")
    return f"{store.host}/busybox:bench"
