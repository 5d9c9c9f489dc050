"""Who runs: names and numbers of CRI and image, looked up in the image."""

import pytest
from cribus.api.cri.security import LinuxContainerSecurityContext
from cribus.api.cri.values import SupplementalGroupsPolicy
from cribus.errors import InvalidArgument
from cribus.manager.users import Files, Identity, resolve

C = LinuxContainerSecurityContext
FILES = Files(
    passwd=b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1001::/home/user:\nbroken line\n",
    group=b"root:x:0:root\nstaff:x:50:user,root\nextra:x:60:user\nbroken\n",
)


@pytest.mark.parametrize(
    ("context", "of_image", "expected"),
    [
        (C(), "", (0, 0, [0, 50])),
        (C(), "user", (1000, 1001, [50, 60, 1001])),
        (C(), "1000", (1000, 1001, [50, 60, 1001])),
        (C(), "4242", (4242, 0, [0])),
        (C(), "user:staff", (1000, 50, [50, 60])),
        (C(), "5:6", (5, 6, [6])),
        (C(run_as_user=1000), "root", (1000, 1001, [50, 60, 1001])),
        (C(run_as_username="user"), "", (1000, 1001, [50, 60, 1001])),
        (C(run_as_user=7, run_as_group=8), "user", (7, 8, [8])),
        (C(run_as_user=0), "user", (0, 0, [0, 50])),
        (C(run_as_user=1000, supplemental_groups=[9]), "", (1000, 1001, [9, 50, 60, 1001])),
        (
            C(run_as_user=1000, supplemental_groups=[9], supplemental_groups_policy=SupplementalGroupsPolicy.Strict),
            "",
            (1000, 1001, [9, 1001]),
        ),
    ],
)
def test_identities(context: C, of_image: str, expected: tuple[int, int, list[int]]) -> None:
    found = resolve(context, of_image, FILES)
    assert (found.uid, found.gid, found.groups) == expected


def test_home() -> None:
    assert resolve(C(), "user", FILES) == Identity(1000, 1001, [50, 60, 1001], "/home/user")


@pytest.mark.parametrize(
    ("context", "of_image", "sentence"),
    [
        (C(), "ghost", "user 'ghost' is not in"),
        (C(), "user:ghosts", "group 'ghosts' is not in"),
        (C(run_as_group=5), "", "run_as_group is given without"),
        (C(run_as_user=-1), "", "out of range"),
        (C(supplemental_groups=[2**32]), "", "out of range"),
    ],
)
def test_refusals(context: C, of_image: str, sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=sentence):
        resolve(context, of_image, FILES)
