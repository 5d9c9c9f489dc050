"""Usage, read from files as the kernel has them."""

from pathlib import Path
from typing import Any

import pytest
from cribus.api import images
from cribus.api.cri import stats as u
from cribus.cgroups.v2 import V2
from cribus.errors import NotFound
from cribus.manager import stats

from tests.unit.manager.conftest import Run, World, failing


@pytest.fixture
def cgroups(world: World, tmp_path: Path) -> Path:
    """A cgroup2 tree in files."""
    root = tmp_path / "cgroup"
    world.node.tree = V2("cgroupfs", "cribus", str(root))
    world.answers["images.usage"] = lambda request: u.FilesystemUsage(used_bytes=4096, inodes_used=2)
    return root


def fill(root: Path, cgroup: str, usec: int) -> None:
    folder = Path(f"{root}{cgroup}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.stat").write_text(f"usage_usec {usec}\nuser_usec {usec}\n")
    (folder / "memory.current").write_text("5000\n")
    (folder / "memory.max").write_text("9000\n")
    (folder / "memory.stat").write_text("anon 1000\ninactive_file 2000\npgfault 7\npgmajfault 3\n")
    (folder / "memory.swap.current").write_text("0\n")
    (folder / "pids.current").write_text("4\n")
    (folder / "cpu.pressure").write_text("some avg10=1.50 avg60=0.00 avg300=0.00 total=12\n")


def test_of_a_container(world: World, run: Run, cgroups: Path) -> None:
    async def story() -> Any:
        id = await world.running(await world.pod())
        fill(cgroups, world.node.records.containers[id].cgroup, 1000)
        return (await stats.container(world.node, u.ContainerStatsRequest(container_id=id))).stats

    found = run(story())
    assert found.cpu.usage_core_nano_seconds == 1_000_000
    assert found.cpu.usage_nano_cores > 0
    assert found.cpu.psi.Some.Total == 12_000
    assert (found.memory.usage_bytes, found.memory.working_set_bytes) == (5000, 3000)
    assert (found.memory.rss_bytes, found.memory.available_bytes) == (1000, 6000)
    assert found.writable_layer.used_bytes == 4096
    assert found.attributes.metadata.name == "main"


def test_of_a_pod(world: World, run: Run, cgroups: Path) -> None:
    async def story() -> Any:
        pod = await world.pod()
        id = await world.running(pod)
        for cgroup in (world.node.records.sandboxes[pod].cgroup, world.node.records.containers[id].cgroup):
            fill(cgroups, cgroup, 1000)
        answer = await stats.list_sandboxes(world.node, u.ListPodSandboxStatsRequest())
        one = await stats.sandbox(world.node, u.PodSandboxStatsRequest(pod_sandbox_id=pod))
        assert one.stats is not None
        return answer.stats

    (found,) = run(story())
    assert found.linux.process.process_count == 4
    assert (found.linux.network.default_interface.name, found.linux.network.default_interface.rx_bytes) == ("eth0", 1)
    assert len(found.linux.containers) == 1


def test_lists_hold_what_runs(world: World, run: Run, cgroups: Path) -> None:
    async def story() -> None:
        pod = await world.pod()
        id, _ = await world.running(pod, labels={"a": "b"}), await world.created(pod, "idle")

        async def listed(**wanted: Any) -> list[str]:
            request = u.ListContainerStatsRequest(filter=u.ContainerStatsFilter(**wanted))
            found = (await stats.list_containers(world.node, request)).stats
            return [one.attributes.id for one in found if one.attributes]

        assert await listed() == await listed(label_selector={"a": "b"}) == await listed(pod_sandbox_id=pod) == [id]
        assert await listed(id="x") == []
        assert world.names().count("images.usage") == 1  # believed for a while

    run(story())


def test_one_that_is_over_has_no_usage(world: World, run: Run, cgroups: Path) -> None:
    async def story() -> None:
        id = await world.created(await world.pod())
        world.answers["images.usage"] = _gone
        found = (await stats.container(world.node, u.ContainerStatsRequest(container_id=id))).stats
        assert found is not None
        assert (found.cpu, found.writable_layer) == (None, None)
        request = u.ContainerStatsRequest(container_id="x")
        assert isinstance(await failing(stats.container(world.node, request)), NotFound)

    run(story())


def _gone(request: images.Usage) -> u.FilesystemUsage:
    raise NotFound("no layer")
