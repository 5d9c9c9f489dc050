"""Outside runtimes that the tests run containers with. `deploy/test` brings all of them.

A command line, as a shell has it, for each: released runc, Debian's runc, and Debian's crun, which is
given a view of the host without the v2 tree where that is mounted beside v1, because it refuses both.
"""

import os
import shlex
import shutil

RUNC = shutil.which("runc") or "runc"
DEBIANS = "/usr/sbin/runc"
_V1_ALONE = 'umount /sys/fs/cgroup/unified && exec /usr/bin/crun "$@"'


def crun() -> str:
    if not os.path.ismount("/sys/fs/cgroup/unified"):
        return "/usr/bin/crun"
    return shlex.join(["unshare", "-m", "--propagation", "slave", "sh", "-c", _V1_ALONE, "crun"])
