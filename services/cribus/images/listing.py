"""What CRI asks about images: list, status, remove, file system."""

import json
import time

from cribus.api.cri.image import (
    Image as CriImage,
)
from cribus.api.cri.image import (
    ImageSpec,
    ImageStatusRequest,
    ImageStatusResponse,
    ListImagesRequest,
    ListImagesResponse,
    RemoveImageRequest,
    RemoveImageResponse,
)
from cribus.api.cri.stats import FilesystemIdentifier, FilesystemUsage, ImageFsInfoRequest, ImageFsInfoResponse
from cribus.api.paging import Page, Paged
from cribus.errors import InvalidArgument
from cribus.images import mend
from cribus.images.content import digest_of
from cribus.images.node import Node
from cribus.images.store import Image


def config_of(node: Node, image: Image) -> dict[str, object]:
    """The image's whole config document."""
    found: dict[str, object] = json.loads(node.content.read(image.id))
    return found


def described(node: Node, image: Image) -> CriImage:
    """The image in CRI's words."""
    names = node.store.names(image.id)
    inner = config_of(node, image).get("config")
    user = str(inner.get("User") or "") if isinstance(inner, dict) else ""
    name = user.partition(":")[0]
    return CriImage(
        id=image.id,
        repo_tags=[one for one in names if "@" not in one],
        repo_digests=[one for one in names if "@" in one],
        size=image.size,
        uid=int(name) if name.isdigit() else None,
        username="" if name.isdigit() else name,
        spec=ImageSpec(image=image.id),
        pinned=any(node.store.find(one) is image for one in node.settings.pinned),
    )


async def list_images(node: Node, request: ListImagesRequest) -> ListImagesResponse:
    """CRI ListImages; with a filter the one image that it names, or none."""
    return ListImagesResponse(images=[described(node, image) for image in _fitting(node, request)])


async def page(node: Node, request: Page[ListImagesRequest]) -> Paged[ListImagesResponse]:
    """The same in pages: only what a page shows is read."""
    behind = [one for one in _fitting(node, request.asked) if one.id > request.after]
    part = behind[: max(1, request.most)]
    told = ListImagesResponse(images=[described(node, image) for image in part])
    return Paged(part=told, next=part[-1].id if len(part) < len(behind) else "")


def _fitting(node: Node, request: ListImagesRequest) -> list[Image]:
    """By id, so that a place in the list stays one."""
    wanted = request.filter.image.image if request.filter and request.filter.image else ""
    if wanted:
        one = node.store.find(wanted)
        return [one] if one else []
    told = [one for one in node.store.images.values() if node.content.has(one.id)]  # else mend.py is about to remove it
    return sorted(told, key=lambda one: one.id)


async def status(node: Node, request: ImageStatusRequest) -> ImageStatusResponse:
    """CRI ImageStatus: an image that is not here is an empty answer, not an error."""
    if request.image is None or not request.image.image:
        raise InvalidArgument("no image is named; give a reference or an image id")
    image = node.store.find(request.image.image)
    if image is None:
        return ImageStatusResponse()
    info = {}
    if request.verbose:
        chain = _chain_id([layer.diff_id for layer in image.layers])
        info["info"] = json.dumps({"chainID": chain, "imageSpec": config_of(node, image)})
    return ImageStatusResponse(image=described(node, image), info=info)


def _chain_id(diff_ids: list[str]) -> str:
    """One name for a stack of layers (image-spec, config.md, "Layer ChainID")."""
    chain = diff_ids[0] if diff_ids else ""
    for one in diff_ids[1:]:
        chain = digest_of(f"{chain} {one}".encode())
    return chain


async def remove(node: Node, request: RemoveImageRequest) -> RemoveImageResponse:
    """CRI RemoveImage: the image with every name it has. One that is not here is removed already."""
    if request.image is None or not request.image.image:
        raise InvalidArgument("no image is named; give a reference or an image id")
    image = node.store.find(request.image.image)
    if image is not None:
        await mend.until_whole(node, image.id)
        await node.remove(image)
    return RemoveImageResponse()


async def fs_info(node: Node, request: ImageFsInfoRequest) -> ImageFsInfoResponse:
    """CRI ImageFsInfo. What images take is counted as they come and go; what containers have written is
    looked at now and then, as their writable layers must be walked for it."""
    written = await node.written()
    described = [
        FilesystemUsage(
            timestamp=at,
            fs_id=FilesystemIdentifier(mountpoint=str(node.root)),
            used_bytes=used.bytes,
            inodes_used=used.inodes,
        )
        for used, at in ((node.usage(), time.time_ns()), written)
    ]
    return ImageFsInfoResponse(image_filesystems=described[:1], container_filesystems=described[1:])
