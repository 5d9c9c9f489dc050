from typing import Any

from cribus.executor.runtimes import bundle

MAP = [{"containerID": 0, "hostID": 1000, "size": 10}]
OVERLAY = {"destination": "/", "type": "overlay", "options": ["lowerdir=/a:/b", "upperdir=/u", "workdir=/w"]}
BIND = {"destination": "/d", "source": "/s", "options": ["rbind"]}
PROC = {"destination": "/proc", "type": "proc", "source": "proc"}


def spec(**more: Any) -> dict[str, Any]:
    given = {"io.kubernetes.cri.container-type": "container", "dev.cribus.record": "{}", "mine": "1"}
    made = {"ociVersion": "1.3.0", "root": {"path": "rootfs", "readonly": True}, "annotations": given}
    return {**made, "mounts": [OVERLAY, PROC, BIND], "linux": {}, **more}


def test_what_the_runtime_is_given() -> None:
    made = bundle.adapted(spec(), "/run/c/rootfs")
    assert made["root"] == {"path": "/run/c/rootfs", "readonly": True}
    assert made["mounts"] == [PROC, BIND]
    assert made["annotations"] == {"io.kubernetes.cri.container-type": "sandbox", "mine": "1"}
    assert made["ociVersion"] == "1.0.2"


def test_a_root_that_is_a_directory_stays() -> None:
    made = bundle.adapted(spec(mounts=[PROC], root={"path": "/images/x"}), "/run/c/rootfs")
    assert made["root"] == {"path": "/images/x"}
    assert bundle.rootfs(spec(mounts=[PROC]), "/t")["options"] == {}


def test_what_is_mounted_before() -> None:
    made = bundle.rootfs(spec(), "/t")
    assert made["options"] == {"lowerdir": ["/a", "/b"], "upperdir": "/u", "workdir": "/w"}
    assert (made["owner"], made["users"], made["sources"]) == ([], "", ["/s"])


def test_owners_of_a_user_namespace() -> None:
    linux = {"namespaces": [{"type": "user", "path": "/ns/user"}], "uidMappings": MAP, "gidMappings": MAP}
    made = bundle.rootfs(spec(linux=linux, mounts=[{**OVERLAY, "uidMappings": MAP, "gidMappings": MAP}]), "/t")
    assert (made["owner"], made["users"]) == ([1000, 1000], "/ns/user")


def test_the_name_of_the_pod() -> None:
    uts = {"namespaces": [{"type": "uts", "path": "/ns/uts"}]}
    assert bundle.adapted(spec(linux=uts), "/r", "harbour")["hostname"] == "harbour"
    assert "hostname" not in bundle.adapted(spec(), "/r", "harbour")  # the host's own namespace
