import os

from cribus.linux import namespaces


def test_a_child_is_pid_one_of_a_new_namespace() -> None:
    read, write = os.pipe()
    pid, pidfd = namespaces.clone3(namespaces.CLONE_NEWPID | namespaces.CLONE_NEWUTS)
    if pid == 0:
        os.write(write, str(os.getpid()).encode())
        os._exit(0)
    os.close(write)
    assert os.read(read, 9) == b"1"
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert not os.get_inheritable(pidfd)
    os.close(pidfd)
    os.close(read)


def test_unshare_and_back() -> None:
    pid = os.fork()
    if pid == 0:
        before = os.open("/proc/self/ns/uts", os.O_RDONLY)
        inode = os.fstat(before).st_ino
        namespaces.unshare(namespaces.CLONE_NEWUTS)
        other = os.stat("/proc/self/ns/uts").st_ino
        namespaces.setns(before, namespaces.CLONE_NEWUTS)
        os._exit(0 if other != inode == os.stat("/proc/self/ns/uts").st_ino else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_they_are_kept_as_long_as_somebody_is_inside() -> None:
    with namespaces.kept(namespaces.CLONE_NEWUTS) as (pid, pidfd):
        assert os.stat(f"/proc/{pid}/ns/uts").st_ino != os.stat("/proc/self/ns/uts").st_ino
        assert not os.get_inheritable(pidfd)
    assert not os.path.exists(f"/proc/{pid}")
