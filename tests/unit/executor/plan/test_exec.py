from cribus.executor.plan import exec as planned
from cribus.executor.plan.host import Host
from cribus.linux import namespaces

ASKED = {"args": ["x"], "cwd": "/", "terminal": True}


def test_what_the_child_is_asked() -> None:
    spec = {"linux": {"namespaces": [{"type": "mount"}, {"type": "user", "path": "/ns"}, {"type": "cgroup"}]}}
    made = planned.plan(ASKED, spec, (["/tasks"], Host()))
    assert made["flags"] & namespaces.CLONE_NEWCGROUP
    assert made["flags"] & namespaces.CLONE_NEWNS
    assert not made["flags"] & namespaces.CLONE_NEWPID  # it is born there
    assert (made["users"], made["cgroups"]) == (True, ["/tasks"])
    assert made["process"]["args"] == ["x"]


def test_a_container_with_the_hosts_cgroups() -> None:
    made = planned.plan(ASKED, {"linux": {}}, ([], Host()))
    assert not made["flags"] & namespaces.CLONE_NEWCGROUP
    assert made["users"] is False
