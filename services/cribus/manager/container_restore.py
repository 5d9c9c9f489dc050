"""CreateContainer from a checkpoint: the image that the request names is the path of an archive, or an image that
says of itself that it is one (as CRI-O and containerd have it).

Of the archive come the processes, the container's changes to its image, and which image that was. All else is the
request's, as for any container: the archive's own runtime-spec is only compared with it.
"""

import contextlib
import json
import os
import shutil
from typing import Any, NamedTuple

from cribus.api import images
from cribus.errors import FailedPrecondition, InvalidArgument, NotFound
from cribus.manager import container_checkpoint, expendable
from cribus.manager.node import Node
from cribus.manager.records import Container
from cribus.oci.runtime_spec import Spec

_MOST = 4 << 20  # bytes of a document of the archive
_PLACED = ("bind", "tmpfs")


class Checkpoint(NamedTuple):
    """An archive that was unpacked into `folder`."""

    folder: str
    image: str  # that its container was of


def home(node: Node) -> str:
    """What is unpacked of containers that have not been started."""
    return f"{node.settings.root}/restores"


async def unpack(node: Node, id: str, location: str) -> Checkpoint:
    """Raises FailedPrecondition where criu does not work, InvalidArgument for what is no checkpoint of ours,
    NotFound when its image is not here."""
    await container_checkpoint.need(node)
    folder = f"{home(node)}/{id}"
    await forget(node, id)
    os.makedirs(folder, 0o700)
    patience = container_checkpoint.PATIENCE
    await node.call(images.UNPACK, images.Unpack(location=location, folder=folder), timeout=patience)
    config = document(folder, "config.dump")
    names = [str(config.get(key) or "") for key in ("rootfsImageRef", "rootfsImageName", "rootfsImage")]
    if not any(names):
        raise InvalidArgument(f"{location} does not say of which image its container was (config.dump)")
    return Checkpoint(folder, next(filter(None, names)))


def document(folder: str, name: str) -> dict[str, Any]:
    """One of the archive's JSON documents; what is in it is anybody's word. Raises InvalidArgument."""
    try:
        with open(f"{folder}/{name}", "rb") as file:
            found = json.loads(file.read(_MOST + 1)[:_MOST])
    except FileNotFoundError as error:
        raise InvalidArgument(f"the archive has no {name}; it is no checkpoint of a container") from error
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"the archive's {name} is no JSON document") from error
    if not isinstance(found, dict):
        raise InvalidArgument(f"the archive's {name} is no JSON object")
    return found


async def prepare(node: Node, id: str, checkpoint: Checkpoint) -> images.Prepared:
    """The writable layer, with what the container had changed. Raises NotFound."""
    try:
        prepared = await node.call(images.PREPARE, images.Prepare(container=id, image=checkpoint.image))
    except NotFound as error:
        raise NotFound(f"the checkpoint is of image {checkpoint.image}, which is not here; pull it first") from error
    changes = f"{checkpoint.folder}/rootfs-diff.tar"
    if "rootfs-diff.tar" in os.listdir(checkpoint.folder):
        fill = images.Fill(container=id, path=changes)
        await node.call(images.FILL, fill, timeout=container_checkpoint.PATIENCE)
    return prepared


def check_mounts(checkpoint: Checkpoint, spec: Spec) -> None:
    """Raises InvalidArgument where the container had something mounted that the request does not give it."""
    told = document(checkpoint.folder, "spec.dump").get("mounts")
    had = [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []
    given = {one["destination"].rstrip("/") for one in spec["mounts"]}
    places = [str(one.get("destination")).rstrip("/") for one in had if one.get("type") in _PLACED]
    missing = sorted(set(places) - given)
    if missing:
        raise InvalidArgument(f"the container had mounts at {', '.join(missing[:9])}; the request must give them too")


def check_image(checkpoint: Checkpoint, prepared: images.Prepared) -> None:
    """Raises FailedPrecondition where a checkpoint is not of the image that the request names."""
    if checkpoint.image not in (prepared.image_id, prepared.image_ref):
        raise FailedPrecondition(f"the checkpoint is of image {checkpoint.image}, the request of {prepared.image_id}")


def check_process(checkpoint: Checkpoint, spec: Spec) -> None:
    """Raises FailedPrecondition where the request describes another process than was written down."""
    told = document(checkpoint.folder, "spec.dump").get("process")
    had: dict[str, Any] = told if isinstance(told, dict) else {}
    wanted: dict[str, Any] = dict(spec["process"])
    for name in ("args", "cwd", "user", "env"):
        if _plain(had.get(name)) != _plain(wanted.get(name)):
            raise FailedPrecondition(f"the request's {name} are not those of the process that was written down")


def _plain(value: Any) -> Any:
    """An environment without the name of the pod, which is the pod's."""
    return [one for one in value if not str(one).startswith("HOSTNAME=")] if isinstance(value, list) else value


async def forget(node: Node, id: str) -> None:
    """Away with what was unpacked. Content with nothing."""
    await expendable.run(lambda: _delete(f"{home(node)}/{id}"), "deleting a checkpoint's files", 120.0)


def _delete(folder: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)


async def started(node: Node, record: Container) -> None:
    """It runs: what it came from is not needed any more."""
    if record.restore:
        await forget(node, record.id)
