import resource

import pytest
from cribus.errors import FailedPrecondition, InvalidArgument
from cribus.executor.plan import process
from cribus.executor.plan.host import Host

HOST = Host(capabilities=0b111111, last_capability=40)


def test_defaults() -> None:
    made = process.plan({"args": ["sh"]}, {}, HOST)
    assert (made["cwd"], made["uid"], made["umask"], made["seccomp"], made["oom"]) == ("/", 0, 0o022, b"", None)
    assert made["capabilities"]["all"] == (1 << 41) - 1


def test_everything() -> None:
    made = process.plan(
        {
            "args": ["sh"],
            "terminal": True,
            "consoleSize": {"height": 24, "width": 80},
            "capabilities": {"bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_CHOWN"]},
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 2**64 - 1}],
            "apparmorProfile": "cri",
            "selinuxLabel": "a:b:c:s0",
        },
        {},
        HOST._replace(apparmor=True, selinux=True),
    )
    assert made["capabilities"]["bounding"] == 1 | 1 << 5
    assert made["rlimits"] == [[resource.RLIMIT_NOFILE, 10, resource.RLIM_INFINITY]]
    assert (made["size"], [text for _, text in made["labels"]]) == ([24, 80], ["exec cri", "a:b:c:s0"])


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"args": []}, "args is empty"),
        ({"args": ["a"], "rlimits": [{"type": "RLIMIT_X", "soft": 1, "hard": 1}]}, "RLIMIT_X"),
    ],
)
def test_what_does_not_exist(given: dict[str, object], text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        process.plan(given, {}, HOST)


@pytest.mark.parametrize("field", ["apparmorProfile", "selinuxLabel"])
def test_labels_need_their_module(field: str) -> None:
    with pytest.raises(FailedPrecondition, match=f"process.{field}: this host has no"):
        process.plan({"args": ["a"], field: "x"}, {}, HOST)


def test_capabilities_that_it_will_not_have_are_told() -> None:
    """The runtime-spec: logged, and no reason to fail."""
    sets = {
        "bounding": ["CAP_CHOWN", "CAP_FLY", "CAP_SYS_ADMIN"],
        "permitted": ["CAP_CHOWN", "CAP_KILL"],
        "effective": ["CAP_CHOWN", "CAP_FOWNER"],
        "ambient": ["CAP_KILL"],
    }
    assert process.plan({"args": ["a"], "capabilities": sets}, {}, HOST)["capabilities"]["bounding"] == 1 | 1 << 21
    absent = "process.capabilities: CAP_FLY, CAP_SYS_ADMIN cannot be given on this host and is left out"
    told = process.ignored({"capabilities": sets}, HOST, users=False)
    assert told[0] == absent
    assert [text.split()[:2] for text in told[1:]] == [
        ["process.capabilities.effective:", "CAP_FOWNER"],
        ["process.capabilities.ambient:", "CAP_KILL"],
    ]
    assert "CAP_SYS_ADMIN" not in process.ignored({"capabilities": sets}, HOST, users=True)[0]
    assert process.ignored({}, HOST, users=False) == []


def test_the_owner_of_the_streams_is_the_hosts_user() -> None:
    maps = {"uidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}]}
    assert process.plan({"args": ["a"], "user": {"uid": 7}}, maps, HOST)["owner"] == 100007
    assert process.plan({"args": ["a"], "user": {"uid": 7}}, {}, HOST)["owner"] == 7
