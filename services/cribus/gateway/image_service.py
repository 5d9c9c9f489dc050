"""CRI's ImageService: every method is a verb of the image service."""

from cribus.api import images
from cribus.api.cri import image as i
from cribus.api.verb import Call
from cribus.gateway.method import Methods, Wire, forward, pages

PULL_PATIENCE = 2 * 3600.0  # seconds: the kubelet sets no deadline for a pull


def methods(call: Call) -> Methods:
    """All methods by their name."""
    return {
        "ListImages": forward(call, images.LIST),
        "StreamImages": pages(
            call, images.PAGE, Wire(i.ListImagesRequest, i.StreamImagesRequest, i.StreamImagesResponse)
        ),
        "ImageStatus": forward(call, images.STATUS),
        "PullImage": forward(call, images.PULL, lambda request: PULL_PATIENCE),
        "RemoveImage": forward(call, images.REMOVE),
        "ImageFsInfo": forward(call, images.FS_INFO),
    }
