"""Images as CRI names them, and the requests about them.

Field names are the wire's own (CRI runtime.v1), so that one converter serves them all. Wrapped
integers are `int | None`; what only Windows has is left out.
"""

from cribus.api.verb import Message


class ImageSpec(Message, frozen=True):
    image: str = ""
    annotations: dict[str, str] = {}
    user_specified_image: str = ""
    runtime_handler: str = ""
    image_ref: str = ""


class ImageFilter(Message, frozen=True):
    image: ImageSpec | None = None


class ListImagesRequest(Message, frozen=True):
    filter: ImageFilter | None = None


class Image(Message, frozen=True):
    id: str = ""
    repo_tags: list[str] = []
    repo_digests: list[str] = []
    size: int = 0
    uid: int | None = None
    username: str = ""
    spec: ImageSpec | None = None
    pinned: bool = False


class ListImagesResponse(Message, frozen=True):
    images: list[Image] = []


class StreamImagesRequest(Message, frozen=True):
    filter: ImageFilter | None = None


class StreamImagesResponse(Message, frozen=True):
    images: list[Image] = []


class ImageStatusRequest(Message, frozen=True):
    image: ImageSpec | None = None
    verbose: bool = False


class ImageStatusResponse(Message, frozen=True):
    image: Image | None = None
    info: dict[str, str] = {}


class AuthConfig(Message, frozen=True):
    username: str = ""
    password: str = ""
    auth: str = ""
    server_address: str = ""
    identity_token: str = ""
    registry_token: str = ""


class PullImageResponse(Message, frozen=True):
    image_ref: str = ""


class RemoveImageRequest(Message, frozen=True):
    image: ImageSpec | None = None


class RemoveImageResponse(Message, frozen=True):
    pass
