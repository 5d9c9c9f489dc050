"""Who is at the other end of our sockets, and what a request is about."""

import os
import socket
from pathlib import Path

import pytest
from cribus.api.cri import container as c
from cribus.api.cri import image as i
from cribus.api.cri import sandbox as s
from cribus.gateway.callers import Callers, about, id_of


def test_only_those_who_came_by_our_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "cribus.sock")
    callers = Callers(path)
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(f"{tmp_path}/.cribus.sock.{os.getpid()}")
        os.rename(f"{tmp_path}/.cribus.sock.{os.getpid()}", path)
        listener.listen()
        assert callers.now() == ""
        client.connect(path)
        server, _ = listener.accept()
        with server:
            comm = Path("/proc/self/comm").read_text().strip()
            assert callers.now() == f"{comm} (pid {os.getpid()})"
            assert callers.now() == f"{comm} (pid {os.getpid()})"
        left, right = socket.socketpair()
        with left, right:
            assert callers.now() == ""


def test_what_a_request_is_about() -> None:
    pod = s.PodSandboxConfig(metadata=s.PodSandboxMetadata(name="web", namespace="shop"))
    assert about(s.RunPodSandboxRequest(config=pod)) == ("", {"name": "web", "pod_name": "web", "namespace": "shop"})
    container = c.ContainerConfig(metadata=c.ContainerMetadata(name="app"), image=i.ImageSpec(image="a/b:7"))
    id, told = about(c.CreateContainerRequest(pod_sandbox_id="p", config=container, sandbox_config=pod))
    assert (id, told) == ("p", {"name": "app", "pod_name": "web", "namespace": "shop", "image": "a/b:7", "pod": "p"})
    assert about(c.StopContainerRequest(container_id="c", timeout=7)) == ("c", {"timeout": "7 s"})
    assert about(c.ExecSyncRequest(container_id="c", cmd=["ls", "-l"])) == ("c", {"cmd": "ls -l"})
    auth = i.AuthConfig(username="me", password="secret")
    id, told = about(s.PullImageRequest(image=i.ImageSpec(image="a/b"), auth=auth, sandbox_config=pod))
    assert told == {"pod_name": "web", "namespace": "shop", "image": "a/b"}


def test_ids_of_answers() -> None:
    assert id_of(s.RunPodSandboxResponse(pod_sandbox_id="p")) == "p"
    assert id_of(c.StopContainerResponse()) == ""


def test_without_a_descriptor_to_look_with_nobody_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(_: str) -> list[str]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "listdir", none_left)
    assert Callers(str(tmp_path / "x.sock")).now() == "unknown (Too many open files)"
