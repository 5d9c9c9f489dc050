"""The default profile's shape, and what capabilities add."""

from typing import Any

from cribus.manager.seccomp_default import profile
from cribus.manager.security import DEFAULT_CAPABILITIES


def rules(bounding: list[str], machine: str = "x86_64") -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for rule in profile(bounding, machine)["syscalls"]:
        for name in rule["names"]:
            found.setdefault(name, []).append((rule["action"], rule.get("args")))
    return found


def test_no_name_is_written_twice() -> None:
    plain = [name for name, known in rules([]).items() if len(known) > 1]
    assert sorted(plain) == ["personality", "socket"]


def test_usual_calls_are_free_and_dangerous_ones_are_not() -> None:
    known = rules(DEFAULT_CAPABILITIES)
    assert all(("SCMP_ACT_ALLOW", None) in known[name] for name in ("read", "execve", "openat2", "ptrace", "chroot"))
    assert not {"mount", "bpf", "kexec_load", "keyctl", "io_uring_setup", "userfaultfd", "reboot"} & known.keys()


def test_new_namespaces_need_sys_admin() -> None:
    known = rules(DEFAULT_CAPABILITIES)
    ((action, args),) = known["clone"]
    assert (action, args[0]["value"], args[0]["op"]) == ("SCMP_ACT_ALLOW", 0x7E020000, "SCMP_CMP_MASKED_EQ")
    assert known["clone3"] == [("SCMP_ACT_ERRNO", None)]
    admin = rules(["CAP_SYS_ADMIN"])
    assert admin["clone"] == admin["clone3"] == admin["mount"] == [("SCMP_ACT_ALLOW", None)]


def test_sockets_but_for_vsock_and_alg() -> None:
    ranges = [(args[0]["op"], args[0]["value"]) for _, args in rules([])["socket"]]
    assert ranges == [("SCMP_CMP_LT", 38), ("SCMP_CMP_EQ", 39), ("SCMP_CMP_GT", 40)]


def test_machines() -> None:
    assert "arch_prctl" in rules([])
    assert "cacheflush" in rules([], "aarch64")
    assert profile([], "riscv64")["architectures"] == []
