import os
import signal

import pytest
from cribus.cgroups.layout import Tree, open_tree
from cribus.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument

from tests.unit.cgroups.conftest import NAME, Members


def test_paths_of_the_cgroupfs_driver() -> None:
    tree = open_tree(root="node")
    assert tree.pod_path("", "p") == "/node/p"
    assert tree.pod_path("/kubepods/burstable/pod1", "p") == "/kubepods/burstable/pod1/p"
    assert tree.container_path("/node/p", "c") == "/node/p/c"
    assert tree.spec_path("/my/own", "c") == "/my/own"
    assert tree.spec_path("relative", "c") == "/node/relative"
    assert tree.spec_path("", "c") == "/node/c"


@pytest.mark.parametrize("bad", ["/../x", "/a/../../b"])
def test_paths_stay_below_the_root(bad: str) -> None:
    with pytest.raises(InvalidArgument):
        open_tree().spec_path(bad, "c")


def test_paths_of_the_systemd_driver() -> None:
    tree = open_tree("systemd", "cribus")
    pod = tree.pod_path("kubepods-besteffort.slice", "p")
    assert pod == "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podp.slice"
    assert tree.container_path(pod, "c") == pod + "/cribus-c.scope"
    assert tree.pod_path("", "p") == "/cribus.slice/cribus-podp.slice"
    assert tree.spec_path("a-b.slice:crb:c", "c") == "/a.slice/a-b.slice/crb-c.scope"
    with pytest.raises(InvalidArgument, match="slice:prefix:name"):
        tree.spec_path("/plain", "c")


def test_create_is_idempotent_and_delete_takes_the_children(tree: Tree) -> None:
    path = f"/{NAME}/pod/container"
    tree.create(path)
    tree.create(path)
    assert tree.exists(path)
    tree.delete(f"/{NAME}/pod")
    assert not tree.exists(f"/{NAME}/pod")
    tree.delete(f"/{NAME}/pod")


def test_processes_join_freeze_thaw_and_die(tree: Tree, members: Members) -> None:
    path = f"/{NAME}/pod/c"
    tree.create(path)
    shell = members.start(tree, path, "sh", "-c", "sleep 60 & sleep 60")
    assert shell.pid in tree.pids(f"/{NAME}")
    tree.freeze(path)
    assert tree.frozen(path)
    tree.kill(f"/{NAME}")  # also what is frozen, and from above
    assert shell.wait(5) == -signal.SIGKILL
    tree.delete(path)


def test_thaw_lets_them_go_on(tree: Tree, members: Members) -> None:
    path = f"/{NAME}/c"
    tree.create(path)
    child = members.start(tree, path, "cat", "/dev/zero")
    tree.freeze(path)
    assert child.stdout is not None
    os.set_blocking(child.stdout.fileno(), False)
    child.stdout.read()
    tree.thaw(path)
    assert not tree.frozen(path)
    os.set_blocking(child.stdout.fileno(), True)
    assert child.stdout.read(1 << 20)
    tree.kill(path)


def test_delete_waits_for_those_who_are_leaving(tree: Tree, members: Members) -> None:
    path = f"/{NAME}/c"
    tree.create(path)
    members.start(tree, path, "sleep", "0.2")
    tree.delete(path, seconds=5)
    assert not tree.exists(path)


def test_delete_says_who_holds_it(tree: Tree, members: Members) -> None:
    path = f"/{NAME}/c"
    tree.create(path)
    child = members.start(tree, path, "sleep", "60")
    with pytest.raises(DeadlineExceeded, match=str(child.pid)):
        tree.delete(path, seconds=0.05)


def test_what_is_gone_is_content(tree: Tree) -> None:
    tree.kill(f"/{NAME}/none")
    tree.thaw(f"/{NAME}/none")
    assert tree.pids(f"/{NAME}/none") == []
    assert not tree.frozen(f"/{NAME}/none")


def test_limits_of_a_cgroup_that_is_gone(tree: Tree) -> None:
    with pytest.raises(FailedPrecondition, match="does not exist"):
        tree.apply(f"/{NAME}/none", {"pids": {"limit": 5}})
