import resource

import pytest
from cribus.errors import InvalidArgument
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
        },
        {},
        HOST,
    )
    assert made["capabilities"]["bounding"] == 1 | 1 << 5
    assert made["rlimits"] == [[resource.RLIMIT_NOFILE, 10, resource.RLIM_INFINITY]]
    assert (made["size"], made["label"][1]) == ([24, 80], "exec cri")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"args": []}, "args is empty"),
        ({"args": ["a"], "capabilities": {"bounding": ["CAP_FLY"]}}, "CAP_FLY"),
        ({"args": ["a"], "rlimits": [{"type": "RLIMIT_X", "soft": 1, "hard": 1}]}, "RLIMIT_X"),
    ],
)
def test_what_does_not_exist(given: dict[str, object], text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        process.plan(given, {}, HOST)


def test_the_owner_of_the_streams_is_the_hosts_user() -> None:
    maps = {"uidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}]}
    assert process.plan({"args": ["a"], "user": {"uid": 7}}, maps, HOST)["owner"] == 100007
    assert process.plan({"args": ["a"], "user": {"uid": 7}}, {}, HOST)["owner"] == 7
