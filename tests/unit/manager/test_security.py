"""Capabilities, hidden paths and profiles."""

import pytest
from cribus.api.cri.security import (
    Capability,
    LinuxContainerSecurityContext,
    SecurityProfile,
    SELinuxOption,
)
from cribus.api.cri.values import ProfileType
from cribus.errors import FailedPrecondition, InvalidArgument
from cribus.manager import security
from cribus.manager.host import CAPABILITIES, Host

C = LinuxContainerSecurityContext
HOST = Host()


def bounding(**given: list[str]) -> set[str]:
    return set(security.capabilities(C(capabilities=Capability(**given)), HOST)["bounding"])


DEFAULT = set(security.DEFAULT_CAPABILITIES)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, DEFAULT),
        ({"add_capabilities": ["NET_ADMIN"]}, DEFAULT | {"CAP_NET_ADMIN"}),
        ({"add_capabilities": ["cap_net_admin"]}, DEFAULT | {"CAP_NET_ADMIN"}),
        ({"drop_capabilities": ["CHOWN"]}, DEFAULT - {"CAP_CHOWN"}),
        ({"drop_capabilities": ["ALL"]}, set()),
        ({"drop_capabilities": ["ALL"], "add_capabilities": ["KILL"]}, {"CAP_KILL"}),
        ({"add_capabilities": ["ALL"], "drop_capabilities": ["CHOWN"]}, set(CAPABILITIES) - {"CAP_CHOWN"}),
    ],
)
def test_capabilities(given: dict[str, list[str]], expected: set[str]) -> None:
    assert bounding(**given) == expected


def test_ambient_ones_are_inheritable() -> None:
    sets = security.capabilities(C(capabilities=Capability(add_ambient_capabilities=["NET_BIND_SERVICE"])), HOST)
    assert sets["ambient"] == sets["inheritable"] == ["CAP_NET_BIND_SERVICE"]
    assert "ambient" not in security.capabilities(C(), HOST)


def test_an_unknown_capability() -> None:
    with pytest.raises(InvalidArgument, match="FLY"):
        bounding(add_capabilities=["FLY"])


def test_hidden_paths() -> None:
    assert security.hidden_paths(None) == (security.MASKED_PATHS, security.READONLY_PATHS)
    assert security.hidden_paths(C()) == ([], [])
    assert security.hidden_paths(C(masked_paths=["/a"], readonly_paths=["/b"])) == (["/a"], ["/b"])
    assert security.hidden_paths(C(masked_paths=["/a"], privileged=True)) == ([], [])


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (C(), ProfileType.Unconfined),
        (C(seccomp=SecurityProfile()), ProfileType.RuntimeDefault),
        (C(seccomp_profile_path="runtime/default"), ProfileType.RuntimeDefault),
        (C(seccomp_profile_path="localhost//a.json"), ProfileType.Localhost),
        (C(seccomp=SecurityProfile(), privileged=True), ProfileType.Unconfined),
    ],
)
def test_which_seccomp_profile(context: C, expected: ProfileType) -> None:
    assert security.seccomp_profile(context).profile_type is expected


def test_an_unknown_spelling_of_a_profile() -> None:
    with pytest.raises(InvalidArgument, match="nonsense"):
        security.seccomp_profile(C(seccomp_profile_path="nonsense"))


def test_seccomp_documents() -> None:
    local = {"defaultAction": "SCMP_ACT_ALLOW"}
    profile = SecurityProfile(profile_type=ProfileType.Localhost)
    assert security.seccomp(profile, local, [], HOST) is local  # type: ignore[arg-type]
    assert security.seccomp(SecurityProfile(profile_type=ProfileType.Unconfined), None, [], HOST) is None


def test_apparmor_of_somebody_only_where_it_is() -> None:
    profile = SecurityProfile(profile_type=ProfileType.Localhost, localhost_ref="mine")
    with pytest.raises(FailedPrecondition, match="not enabled"):
        security.apparmor(C(apparmor=profile), HOST, "")
    assert security.apparmor(C(apparmor=profile), Host(apparmor=True), "ours") == "mine"
    assert security.apparmor(C(apparmor_profile="localhost/mine"), Host(apparmor=True), "ours") == "mine"


@pytest.mark.parametrize(
    "context",
    [
        C(apparmor=SecurityProfile(profile_type=ProfileType.Localhost)),
        C(apparmor=SecurityProfile(profile_type=ProfileType.Localhost, localhost_ref="localhost/")),
        C(apparmor_profile="localhost/"),
    ],
)
@pytest.mark.parametrize("active", [False, True])
def test_apparmor_of_nobody_is_not_none(context: C, active: bool) -> None:
    with pytest.raises(InvalidArgument, match="names none"):
        security.apparmor(context, Host(apparmor=active), "ours")


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (C(), "ours"),
        (C(apparmor=SecurityProfile()), "ours"),
        (C(apparmor_profile="runtime/default"), "ours"),
        (C(apparmor=SecurityProfile(profile_type=ProfileType.Unconfined)), ""),
        (C(apparmor_profile="unconfined"), ""),
        (C(privileged=True, apparmor=SecurityProfile()), ""),
    ],
)
def test_the_default_of_apparmor(context: C, expected: str) -> None:
    assert security.apparmor(context, Host(apparmor=True), "ours") == expected


def test_selinux_only_where_it_is() -> None:
    options = SELinuxOption(type="container_t", level="s0")
    assert security.selinux_label(options, HOST) == ""
    assert security.selinux_label(options, Host(selinux=True)) == "system_u:system_r:container_t:s0"
    assert security.selinux_label(None, Host(selinux=True)) == ""
    with pytest.raises(InvalidArgument):
        security.selinux_label(SELinuxOption(user="u"), Host(selinux=True))
