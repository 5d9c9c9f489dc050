"""Runtime handlers: what is refused before anything is done."""

import msgspec
import pytest
from cribus.api import executor
from cribus.api.cri import sandbox as s
from cribus.api.cri.security import IDMapping, LinuxSandboxSecurityContext, NamespaceOption, UserNamespace
from cribus.api.cri.values import NamespaceMode
from cribus.config import Handler
from cribus.errors import FailedPrecondition
from cribus.manager import handlers

from tests.unit.manager.conftest import Run, World, failing, pod_config

MAPS = [IDMapping(container_id=0, host_id=100000, length=65536)]
USERS = NamespaceOption(
    pid=NamespaceMode.CONTAINER, userns_options=UserNamespace(mode=NamespaceMode.POD, uids=MAPS, gids=MAPS)
)


def configured(world: World, features: executor.Features) -> None:
    found = {"outside": Handler(path="/usr/sbin/runc"), "ours": Handler()}
    world.node.settings = msgspec.structs.replace(world.node.settings, handlers=found)
    world.answers["executor.handlers"] = lambda _: executor.Handlers(handlers={"outside": features})


def request(handler: str, users: bool = False) -> s.RunPodSandboxRequest:
    context = LinuxSandboxSecurityContext(namespace_options=USERS)
    linux = s.LinuxPodSandboxConfig(security_context=context if users else None)
    config = msgspec.structs.replace(pod_config("p"), linux=linux)
    return s.RunPodSandboxRequest(config=config, runtime_handler=handler)


@pytest.mark.parametrize("handler", ["", "ours"])
def test_the_built_in_runtime_is_not_asked(world: World, run: Run, handler: str) -> None:
    configured(world, executor.Features())
    run(handlers.check(world.node, request(handler, users=True)))
    assert run(handlers.host(world.node, handler)) is world.node.host
    assert world.names() == []


def test_what_an_outside_one_cannot_is_refused(world: World, run: Run) -> None:
    configured(world, executor.Features())
    run(handlers.check(world.node, request("outside")))
    error = run(failing(handlers.check(world.node, request("outside", users=True))))
    assert isinstance(error, FailedPrecondition)
    assert "no user namespaces" in error.message
    seen = run(handlers.host(world.node, "outside"))
    assert (seen.recursive_readonly, seen.idmapped) == (False, False)


def test_what_it_can_is_let_through(world: World, run: Run) -> None:
    configured(world, executor.Features(recursive_readonly=True, idmapped=True))
    run(handlers.check(world.node, request("outside", users=True)))
    assert run(handlers.host(world.node, "outside")).recursive_readonly


def test_one_that_is_not_installed(world: World, run: Run) -> None:
    configured(world, executor.Features(missing="runc is no program; install it"))
    assert "install it" in run(failing(handlers.check(world.node, request("outside")))).message
    world.answers["executor.handlers"] = lambda _: executor.Handlers()
    assert "restart it" in run(failing(handlers.check(world.node, request("outside")))).message
