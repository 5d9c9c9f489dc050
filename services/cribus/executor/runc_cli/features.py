"""features: what can be asked for. Source: runtime-spec features.md."""

import json
import sys

from cribus.executor.plan import options, process, seccomp
from cribus.linux import scheduling
from cribus.oci import validate


def features() -> int:
    """Printed as JSON."""
    document = {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.3.0",
        "hooks": list(validate.HOOKS),
        "mountOptions": options.known(),
        "linux": {
            "namespaces": list(validate.NAMESPACES),
            "capabilities": process.known(),
            "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": False},
            "seccomp": {"enabled": True, "actions": seccomp.known()},
            "mountExtensions": {"idmap": {"enabled": True}},
            "memoryPolicy": {
                "modes": [f"MPOL_{name}" for name in scheduling.MEMORY_MODES],
                "flags": [f"MPOL_F_{name}" for name in scheduling.MEMORY_FLAGS],
            },
            "netDevices": {"enabled": True},
        },
    }
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    return 0
