#!/usr/bin/env python3
"""Generate services/cribus/gateway/cri/ from protos/: run it once after a checkout, and after a change there.

Usage: python deploy/build_protos.py [TARGET]   (needs grpcio-tools; TARGET is the folder of package `cribus`)
"""

import sys
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "protos" / "cri" / "runtime" / "v1"


def build(package: Path) -> Path:
    """Write the generated modules below `package` (the folder of `cribus`); returns their folder.

    Raises RuntimeError when protoc refuses a file.
    """
    target = package / "gateway" / "cri"
    target.mkdir(parents=True, exist_ok=True)
    (target / "__init__.py").touch()
    # The file gets a virtual path below the package, so that generated imports are absolute.
    status = protoc.main(
        [
            "protoc",
            f"-Icribus/gateway/cri={SOURCE}",
            f"--python_out={package.parent}",
            f"--grpc_python_out={package.parent}",
            "cribus/gateway/cri/api.proto",
        ]
    )
    if status:
        raise RuntimeError(f"protoc failed with status {status} on {SOURCE}")
    return target


if __name__ == "__main__":
    print(build(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "services" / "cribus").resolve()))
