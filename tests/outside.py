"""Outside runtimes that the tests run containers with, and what does not hold with each. `deploy/test` brings
all of them.

The command is a line as a shell has it. Debian's crun refuses the v2 tree where that is mounted beside v1, and is
given a view of the host without it. Debian's gVisor, of 2022, takes every network namespace of a kernel of today
for the host's, and is told to leave networks alone.
"""

import os
import shlex
import shutil
from typing import NamedTuple

_V1_ALONE = 'umount /sys/fs/cgroup/unified && exec /usr/bin/crun "$@"'


# Of what runc alone runs, the cases beyond the usual (executor_spec.py), what was tried with the others too.
FURTHER = (
    "personality", "scheduling", "network_devices", "clocks_of_its_own", "cpus_of_an_exec", "options_of_mounts",
    "refused_options", "binds_clear_what_they_are_told_to", "owners_of_mounts",
    "sysctls_of_the_host", "limits_that_are_not_the_kernels",
)  # fmt: skip


class Outside(NamedTuple):
    """`unlike`: cases of tests/node/executor_driver.py that cannot hold, each with words of how it fails, which
    must be said: a case that holds after all is to be taken out."""

    command: str
    unlike: dict[str, str] = {}


def _crun() -> str:
    if not os.path.ismount("/sys/fs/cgroup/unified"):
        return "/usr/bin/crun"
    return shlex.join(["unshare", "-m", "--propagation", "slave", "sh", "-c", _V1_ALONE, "crun"])


# Released after these: time namespaces (crun's init dies of them), devices moved into a container, schedulers and
# memory policy, the CPUs of an exec.
_YOUNGER = {
    "scheduling": "none: prio 0",
    "network_devices": "a device that is not there",
    "clocks_of_its_own": "outside create: ",
    "cpus_of_an_exec": "may run on",
}
# A kernel of its own shows its own processes, terminals, clocks and CPUs, has no namespace of the host's to join
# but the network's, and takes its exit from no one: pausing stops that kernel, not its cgroup; a process that
# nobody waits for lives on in it.
_OWN_KERNEL = {
    "cgroups_and_queues_in_it": "/dev/mqueue: No such file",
    "exec_with_a_terminal": "not a tty",
    "terminal": "not a tty",
    "an_exec_that_nobody_waits_for": "it goes on",
    "seen_to_be_paused": "paused, it is running",
    "a_shared_bind": 'must specify private or slave: "rshared"',
    "the_score_for_the_oom_killer": "it sees 0",  # the host's killer has the right one
    "shared_pid_namespace": "('0",
    "user_namespace": "setting namespace of type user",
    "personality": "x86_64",
    "scheduling": "/proc/self/numa_maps: No such file",
    "network_devices": "a device that is not there",
    "clocks_of_its_own": "up for ",
    "cpus_of_an_exec": "may run on",
    "binds_clear_what_they_are_told_to": "AssertionError",  # its mounts have no flags of the host's
    "sysctls_of_the_host": "vm.swappiness",
    "limits_that_are_not_the_kernels": "Spec.Windows is not supported",
}
# What options of mounts mean beyond those that a kubelet uses: a bind that takes what no bind has, does not clear
# what its source has, or is not mapped without a user namespace.
_OTHER_BINDS = {
    "refused_options": "AssertionError: ['bind', 'size=4k']",
    "binds_clear_what_they_are_told_to": "AssertionError",
    "owners_of_mounts": "AssertionError: ('",
}
_SYSTRAP = ("--platform=systrap", "--oci-seccomp", "--overlay2=none")
_PTRACE = ("--platform=ptrace", "--oci-seccomp", "--network=none")

RUNC = shutil.which("runc") or "runc"
OTHERS = {
    "debian-runc": Outside(
        "/usr/sbin/runc",
        {
            **_YOUNGER,
            **_OTHER_BINDS,
            "personality": "x86_64",
            "options_of_mounts": 'flags["/deep"]',  # no rnosuid
        },
    ),
    "crun": Outside(
        _crun(),
        {
            **_YOUNGER,
            **_OTHER_BINDS,
            "read_only_with_all_below": "Not a directory",  # of a file: it opens every target as a directory
            "options_of_mounts": "set propagation for `both`: Invalid argument",
            "limits_that_are_not_the_kernels": "/sys/fs/cgroup/net_cls/",
        },
    ),
    "youki": Outside(
        shutil.which("youki") or "youki",
        {
            "a_bind_onto_a_link_that_leads_nowhere": "pathrs create_file failed",
            "a_shared_bind": "UnknownRootfsPropagation",
            "a_working_directory_that_is_not_there": "failed to chdir: ENOENT",
            **_OTHER_BINDS,
            "owners_of_mounts": "idmapped mounts are not supported",
            "options_of_mounts": "create next directory component failed",  # it cannot mount into a sealed one
            "limits_that_are_not_the_kernels": "oci spec error",
        },
    ),
    "gvisor": Outside(
        shlex.join([shutil.which("runsc") or "runsc", *_SYSTRAP]),
        {
            **_OWN_KERNEL,
            "options_of_mounts": 'mount option "rshared" is not supported',
            "read_only_with_all_below": "AssertionError: ('content', '')",  # writable, and it does not say that it can
            "user_and_limits": "Operation not permitted",  # whatever error a filter wants
        },
    ),
    "debian-gvisor": Outside(
        shlex.join(["/usr/bin/runsc", *_PTRACE]),
        {
            **_OTHER_BINDS,
            **_OWN_KERNEL,
            "options_of_mounts": "AssertionError",  # it has none of these
            "an_exec_counts_for_the_container": "counted nowhere",
            "other_limits": "outside update: ",
            "read_only_with_all_below": 'unknown mount option "rro"',
            "user_and_limits": "1000 7 8\n0022",  # no umask
            "a_hook_that_hangs": "createContainer",  # runs none
        },
    ),
}
EVERY = {"runc": Outside(RUNC), **OTHERS}
