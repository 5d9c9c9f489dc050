"""What the image service answers. Images are named by reference, by digest or by image id (the
config's digest, `sha256:…`)."""

from cribus.api.cri.image import (
    ImageStatusRequest,
    ImageStatusResponse,
    ListImagesRequest,
    ListImagesResponse,
    PullImageResponse,
    RemoveImageRequest,
    RemoveImageResponse,
)
from cribus.api.cri.sandbox import PullImageRequest
from cribus.api.cri.stats import FilesystemUsage, ImageFsInfoRequest, ImageFsInfoResponse
from cribus.api.paging import Page, Paged
from cribus.api.verb import Empty, Message, Verb

SERVICE = "images"


class Progress(Message, frozen=True):
    """One layer's progress, published on subject `cribus.<node>.progress.<pull id>` while a pull
    runs that was asked for with annotation `cribus.pull` = pull id. Bytes."""

    layer: str
    stage: str  # waiting, fetching, unpacking, done, present
    done: int = 0
    total: int = 0


class Prepare(Message, frozen=True):
    """Give a container its writable layer over an image. Idempotent."""

    container: str
    image: str
    below: str = ""  # a directory of the image: `lower` are then what the layers have of it


class Prepared(Message, frozen=True):
    lower: list[str] = []  # top first, as overlayfs wants lowerdir
    upper: str = ""
    work: str = ""
    image_id: str = ""
    image_ref: str = ""  # repo digest if there is one, else the image id
    config: dict[str, object] = {}  # image-spec's `config` object (Env, Entrypoint, Cmd, User, …)
    passwd: bytes = b""  # /etc/passwd and /etc/group as the image has them, at most 256 KiB each
    group: bytes = b""
    checkpoint: bool = False  # it is no image to run: a container was written down in it
    volumes: dict[str, list[str]] | None = None  # each of `config`'s Volumes → what the layers have of it, top first
    below: str = ""  # as it was asked; an older version says neither of these two, and must not be believed


class Discard(Message, frozen=True):
    """Remove a container's writable layer. Idempotent."""

    container: str


class Usage(Message, frozen=True):
    container: str


class Load(Message, frozen=True):
    """Import an OCI layout or a docker archive (a directory, or a tar file) from a path of this host."""

    path: str
    reference: str = ""  # name for an image that carries none


class Loaded(Message, frozen=True):
    references: list[str] = []


class Save(Message, frozen=True):
    """Export images to a tar file that is both an OCI layout and a docker archive."""

    references: list[str]
    path: str


class Capture(Message, frozen=True):
    """Write what a container, which must not run, has changed of its image to a new file: a layer's tar."""

    container: str
    path: str


class Pack(Message, frozen=True):
    """Make a tar archive of all that is in a folder of ours. It appears at its place as a whole."""

    folder: str
    location: str
    log: str = ""  # path of the container's log, which becomes container.log
    until: int = 0  # ns of the host's monotonic clock; it does not appear later than that. 0: whenever it is done


class PackPod(Message, frozen=True):
    """The same for each of a folder's folders, `<name>.tar` at an empty directory, and its other files as they are.
    All of it or nothing."""

    folder: str
    location: str
    logs: dict[str, str] = {}  # by name: path of that container's log
    until: int = 0  # as of Pack


class Unpack(Message, frozen=True):
    """Unpack a checkpoint into an empty folder of ours: an archive by its path, or an image that is one. It may be
    anybody's: files and folders alone are let in."""

    location: str
    folder: str


class Fill(Message, frozen=True):
    """Put what CAPTURE has written into a container's new writable layer."""

    container: str
    path: str


LIST = Verb(SERVICE, "list", ListImagesRequest, ListImagesResponse)
PAGE = Verb(SERVICE, "page", Page[ListImagesRequest], Paged[ListImagesResponse])
STATUS = Verb(SERVICE, "status", ImageStatusRequest, ImageStatusResponse)
PULL = Verb(SERVICE, "pull", PullImageRequest, PullImageResponse)
REMOVE = Verb(SERVICE, "remove", RemoveImageRequest, RemoveImageResponse)
FS_INFO = Verb(SERVICE, "fs_info", ImageFsInfoRequest, ImageFsInfoResponse)
PREPARE = Verb(SERVICE, "prepare", Prepare, Prepared)
DISCARD = Verb(SERVICE, "discard", Discard, Empty)
USAGE = Verb(SERVICE, "usage", Usage, FilesystemUsage)
LOAD = Verb(SERVICE, "load", Load, Loaded)
SAVE = Verb(SERVICE, "save", Save, Empty)
CAPTURE = Verb(SERVICE, "capture", Capture, Empty)
PACK = Verb(SERVICE, "pack", Pack, Empty)
PACK_POD = Verb(SERVICE, "pack_pod", PackPod, Empty)
UNPACK = Verb(SERVICE, "unpack", Unpack, Empty)
FILL = Verb(SERVICE, "fill", Fill, Empty)
