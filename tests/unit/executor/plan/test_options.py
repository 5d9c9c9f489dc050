import pytest
from cribus.executor.plan import options
from cribus.linux import mount

# runtime-spec 1.3, config.md, "Linux mount options"
SPEC = """
async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime nodev nodiratime noexec
noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime rbind rdev rdiratime relatime
remount rexec rnoatime rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime rro
rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared silent slave strictatime suid symfollow sync
tmpcopyup unbindable idmap ridmap
"""


def test_every_option_of_the_runtime_spec_is_known() -> None:
    assert set(SPEC.split()) <= set(options.known())
    assert options.sort(SPEC.split()).data == []


def test_they_are_sorted() -> None:
    given = ["rbind", "ro", "rslave", "shared", "rnosuid", "size=4k", "idmap", "relatime"]
    found = options.sort(given)
    assert (found.words, found.deep, found.data) == (["ro", "relatime"], ["nosuid"], ["size=4k"])
    assert found.propagation == [(mount.MS_SLAVE, True), (mount.MS_SHARED, False)]
    assert (found.others, found.recursive) == (["rbind", "idmap"], True)


def test_the_later_word_wins() -> None:
    assert options.flags(["ro", "nosuid", "rw", "sync", "async"]) == mount.MS_NOSUID
    assert options.attributes(["ro", "nosuid", "rw"]) == [mount.MOUNT_ATTR_NOSUID, mount.MOUNT_ATTR_RDONLY]
    assert options.attributes(["rw", "ro"]) == [mount.MOUNT_ATTR_RDONLY, 0]


@pytest.mark.parametrize(
    ("words", "on"),
    [
        (["noatime"], mount.MOUNT_ATTR_NOATIME),
        (["noatime", "strictatime"], mount.MOUNT_ATTR_STRICTATIME),
        (["strictatime", "noatime"], mount.MOUNT_ATTR_NOATIME),
        (["noatime", "atime"], 0),
        (["relatime"], 0),
    ],
)
def test_times_of_access_are_one_choice(words: list[str], on: int) -> None:
    assert options.attributes(words) == [on, mount.MOUNT_ATTR__ATIME]


def test_no_word_is_left_without_an_effect() -> None:
    """On a bind each is an attribute, or is said to be the file system's."""
    for word in options.sort(options.known()).words:
        if word not in ("defaults", "silent", "loud", "remount"):
            assert any(options.attributes([word])) or options.of_superblock([word]), word
    for word in options.sort(options.known()).deep:
        assert any(options.attributes([word])), word
