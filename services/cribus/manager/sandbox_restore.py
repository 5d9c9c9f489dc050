"""RestorePod: a pod and its containers from what CheckpointPod wrote, up to where StartContainer lets them go on.

The request says all that a pod and containers are made of, and the checkpoint what was in them. What the request
says of images and processes must be what the checkpoint has; the rest applies as for any container.
"""

import json
import logging
import os
import re
from typing import Any

import msgspec

from cribus.api.cri.container import ContainerConfig, CreateContainerRequest
from cribus.api.cri.container import RestorePodRequest as Request
from cribus.api.cri.sandbox import (
    PodSandboxConfig,
    RemovePodSandboxRequest,
    RestoredContainer,
    RestorePodResponse,
    RunPodSandboxRequest,
)
from cribus.errors import CribusError, FailedPrecondition, InvalidArgument
from cribus.manager import (
    container_checkpoint,
    container_create,
    sandbox_checkpoint,
    sandbox_remove,
    sandbox_run,
)
from cribus.manager.node import Node

_logger = logging.getLogger(__name__)


async def restore(node: Node, request: Request) -> RestorePodResponse:
    """Make them. After an error nothing of it is left.

    Raises InvalidArgument for a wrong request and for what is no checkpoint of a pod, FailedPrecondition where the
    request is not about what was written down and for a host without a working criu.
    """
    sandbox_checkpoint.no_options(request.options)
    if not request.checkpoint_path.startswith("/"):
        raise InvalidArgument(f"checkpoint_path {request.checkpoint_path!r} must be an absolute path")
    configs = _named(request.container_configs)
    await container_checkpoint.need(node)
    files = await _files(node, request.checkpoint_path)
    if set(files) != set(configs):
        both = f"{', '.join(sorted(configs))}; the checkpoint has {', '.join(sorted(files))}"
        raise FailedPrecondition(f"container_configs are of {both}"[:500])
    work = _made(node, request, [(configs[name], files[name]) for name in configs])
    return await container_checkpoint.within(work, sandbox_checkpoint.seconds())


def _named(configs: list[ContainerConfig]) -> dict[str, ContainerConfig]:
    names = [one.metadata.name if one.metadata else "" for one in configs]
    if not names or not all(names) or len(set(names)) != len(names):
        raise InvalidArgument("container_configs must have one entry with a name of its own for each container")
    return dict(zip(names, configs, strict=True))


async def _files(node: Node, folder: str) -> dict[str, str]:
    """Each container's archive, by its name; what is said there is anybody's word."""
    try:
        told: Any = json.loads(await node.look("text", f"{folder}/{sandbox_checkpoint.OPTIONS}"))
    except OSError as error:
        raise InvalidArgument(f"{folder} is no checkpoint of a pod: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"{folder} is no checkpoint of a pod: {sandbox_checkpoint.OPTIONS} is no JSON") from error
    found = told.get("containers") if isinstance(told, dict) and told.get("version") == 1 else None
    if not isinstance(found, dict) or not found:
        raise InvalidArgument(f"{folder} is no checkpoint of a pod that this version knows")
    if not all(isinstance(one, str) and re.fullmatch(r"container-\d{1,4}", one) for one in found.values()):
        raise InvalidArgument(f"{folder} names archives that are not in it")
    return {name: os.path.join(folder, f"{one}.tar") for name, one in found.items()}


async def _made(node: Node, request: Request, wanted: list[tuple[ContainerConfig, str]]) -> RestorePodResponse:
    config = request.config or PodSandboxConfig()
    run = RunPodSandboxRequest(config=config, runtime_handler=request.runtime_handler)
    pod = (await sandbox_run.run(node, run)).pod_sandbox_id
    try:
        made = [await _container(node, pod, (config, *one)) for one in wanted]
    except BaseException:
        try:
            await sandbox_remove.remove(node, RemovePodSandboxRequest(pod_sandbox_id=pod))
        except (CribusError, OSError) as error:  # what is told is why it failed in the first place
            _logger.error("a pod is left that was restored in part", extra={"pod": pod, "cause": str(error)})
        raise
    return RestorePodResponse(pod_sandbox_id=pod, restored_containers=made)


async def _container(node: Node, pod: str, what: tuple[PodSandboxConfig, ContainerConfig, str]) -> RestoredContainer:
    sandbox, config, archive = what
    asked = CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=sandbox)
    made = await container_create.create(node, asked, archive)
    name = msgspec.structs.asdict(config)["metadata"].name
    return RestoredContainer(name=name, container_id=made.container_id)
