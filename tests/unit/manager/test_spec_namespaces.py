"""Which namespaces are joined, and contradictions between a container and its pod."""

from typing import Any

import msgspec
import pytest
from cribus.api.cri.security import IDMapping, LinuxContainerSecurityContext, NamespaceOption, UserNamespace
from cribus.api.cri.values import NamespaceMode
from cribus.errors import InvalidArgument
from cribus.manager.host import Host
from cribus.manager.spec_namespaces import check, for_pod, namespaces, own_users
from cribus.manager.wanted import Sources

from tests.unit.manager.test_spec_build import POD, wanted

MAPPING = IDMapping(container_id=0, host_id=1000, length=10)


def kinds(one: Any) -> dict[str, str]:
    return {namespace["type"]: namespace.get("path", "") for namespace in namespaces(one)}


def test_those_of_the_pod_are_joined() -> None:
    assert kinds(wanted()) == {
        "network": "/run/pods/p/ns/net",
        "ipc": "/run/pods/p/ns/ipc",
        "uts": "/run/pods/p/ns/uts",
        "pid": "/run/pods/p/ns/pid",
        "mount": "",
        "cgroup": "",
    }


def test_cgroup_v1_shows_the_hosts() -> None:
    assert "cgroup" not in kinds(wanted(host=Host(unified=False)))


def test_the_hosts_are_not_named() -> None:
    pod = msgspec.structs.replace(POD, namespaces={})
    assert set(kinds(wanted(pod=pod))) == {"mount", "cgroup"}


def test_pid_of_another_container() -> None:
    options = NamespaceOption(pid=NamespaceMode.TARGET, target_id="t")
    one = wanted(LinuxContainerSecurityContext(namespace_options=options), sources=Sources(target_pid=77))
    assert kinds(one)["pid"] == "/proc/77/ns/pid"


def test_what_a_pod_has() -> None:
    assert for_pod(NamespaceOption()) == ["net", "uts", "ipc", "pid"]
    node = NamespaceMode.NODE
    assert for_pod(NamespaceOption(network=node, ipc=node, pid=node)) == []
    users = UserNamespace(uids=[MAPPING], gids=[MAPPING])
    assert "user" in for_pod(NamespaceOption(userns_options=users))


@pytest.mark.parametrize(
    "modes",
    [
        NamespaceOption(network=NamespaceMode.CONTAINER),
        NamespaceOption(ipc=NamespaceMode.TARGET),
        NamespaceOption(pid=NamespaceMode.TARGET),
        NamespaceOption(userns_options=UserNamespace(mode=NamespaceMode.TARGET)),
        NamespaceOption(userns_options=UserNamespace(uids=[MAPPING, MAPPING], gids=[MAPPING])),
        NamespaceOption(userns_options=UserNamespace(uids=[IDMapping(container_id=1, length=1)], gids=[MAPPING])),
        NamespaceOption(userns_options=UserNamespace(uids=[IDMapping()], gids=[MAPPING])),
    ],
)
def test_what_a_pod_cannot_have(modes: NamespaceOption) -> None:
    with pytest.raises(InvalidArgument):
        for_pod(modes)


@pytest.mark.parametrize(
    ("container", "pod"),
    [
        (NamespaceOption(network=NamespaceMode.NODE), NamespaceOption()),
        (NamespaceOption(pid=NamespaceMode.NODE), NamespaceOption()),
        (NamespaceOption(), NamespaceOption(pid=NamespaceMode.CONTAINER)),
        (NamespaceOption(userns_options=UserNamespace(uids=[MAPPING], gids=[MAPPING])), NamespaceOption()),
    ],
)
def test_contradictions(container: NamespaceOption, pod: NamespaceOption) -> None:
    with pytest.raises(InvalidArgument):
        check(container, pod)


def test_a_users_namespace_of_the_node_is_none() -> None:
    assert own_users(NamespaceOption(userns_options=UserNamespace(mode=NamespaceMode.NODE))) is None
