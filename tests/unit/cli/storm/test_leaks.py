"""Whatever is left of an id is found, and nothing of another's."""

import os
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cribus.bus import service
from cribus.cli.storm import leaks
from cribus.config import Network, Settings
from cribus.linux import mount

OURS, THEIRS = secrets.token_hex(32), secrets.token_hex(32)  # of no other test that runs beside this one


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    (tmp_path / "cgroup").mkdir()
    monkeypatch.setattr(leaks, "_CGROUPS", str(tmp_path / "cgroup"))
    return Settings(run=str(tmp_path / "run"), root=str(tmp_path / "root"), network=Network(bridge="crbnone"))


def test_nothing(host: Settings) -> None:
    assert leaks.left(host, {OURS}) == []
    assert leaks.orphans(host) == set()


@pytest.mark.parametrize(
    ("place", "word"),
    [
        ("run/pods/{}/x", "file"),
        ("run/containers/{}/x", "file"),
        ("run/records/sandboxes.{}.json", "file"),
        ("root/images/containers/{}/x", "file"),
        ("root/images/images/{}.json", "file"),
        ("root/images/layers/{}/x", "file"),
        ("root/images/blobs/sha256/{}", "file"),
        ("root/images/partial/{}", "file"),
        ("root/network/attached/{}.json", "file"),
        ("cgroup/memory/cribus/{}/x", "cgroup"),
        ("root/network/addresses/cribus0/10.88.0.2", "address"),
    ],
)
def test_files(host: Settings, tmp_path: Path, place: str, word: str) -> None:
    for id in (THEIRS, OURS):
        file = tmp_path / place.format(id)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{id}\r\neth0")
    (found,) = leaks.left(host, {OURS})
    assert found.startswith(word)
    assert leaks.left(host, {"c" * 64}) == []


def test_a_mount(host: Settings, tmp_path: Path) -> None:
    places = [tmp_path / id for id in (OURS, THEIRS)]
    for one in places:
        one.mkdir()
        mount.bind(str(one), str(one))
    try:
        assert leaks.left(host, {OURS}) == [f"mount {places[0]}"]
    finally:
        for one in places:
            mount.umount(str(one))


@pytest.mark.parametrize(
    ("name", "title"),
    [(f"shim:{OURS[:10]}", "shim"), ("keeper", f"keeper: /run/cribus/containers/{OURS[:20]}")],
    ids=["shim", "keeper"],
)
def test_processes(host: Settings, tmp_path: Path, name: str, title: str) -> None:
    program = tmp_path / name
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([str(program), "1000"]) as one:
        found = leaks.left(host, {OURS})
        one.kill()
    wanted = [f"process {one.pid} {name}"] if name != "keeper" else []
    assert found == wanted
    assert leaks._cut(title, {OURS}) == (name == "keeper")
    assert not leaks._cut(title, {THEIRS})


def test_a_port_that_no_pod_has(host: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = tmp_path / "root" / "network" / "attached"
    notes.mkdir(parents=True)
    (notes / f"{OURS}.json").write_text('{"host_link": "crb1"}')
    listed = leaks._listed
    monkeypatch.setattr(leaks, "_listed", lambda path: ["crb1", "crb2"] if path.endswith("brif") else listed(path))
    assert leaks.orphans(host) == {"link crb2"}


def test_records_in_the_kv(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        async with service.connect(server.settings, "manager") as bus:
            await bus.kv.ensure()
            for id in (OURS, THEIRS):
                await bus.kv.put(f"sandboxes.{id}", b"x")
            assert await leaks.keys(server.settings, {OURS}) == [f"record sandboxes.{OURS} in the KV"]
            assert await leaks.keys(server.settings, set()) == []

    with_server(scenario)


def test_a_dead_child_that_nobody_reaps(host: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["true"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        monkeypatch.setattr(leaks, "_node", lambda _: [child.pid])
        assert leaks.left(host, set()) == [f"process {child.pid} is dead and not reaped"]
