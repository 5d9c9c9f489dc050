"""What a spec is built from: CRI's words, what the pod and the image are, and what was looked up on
the host beforehand."""

import msgspec

from cribus.api.cri.container import ContainerConfig, LinuxContainerConfig, Mount
from cribus.api.cri.security import LinuxContainerSecurityContext, NamespaceOption
from cribus.api.images import Prepared
from cribus.manager.host import Host
from cribus.manager.records import Sandbox
from cribus.oci.runtime_spec import Device, Seccomp


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """What was found on the host."""

    paths: dict[str, str] = {}  # host_path of a mount → the path behind its symbolic links
    devices: list[Device] = []  # those of the configuration, at their container_path
    device_access: list[str] = []  # for each of them
    host_devices: list[Device] = []  # of a privileged container: all
    seccomp: Seccomp | None = None  # the document of a Localhost profile
    apparmor: str = ""  # our own profile, where it is loaded for this container
    target_pid: int = 0  # init of the container whose PID namespace is shared
    image_volumes: dict[str, list[str]] = {}  # container_path → lower directories, top first
    volume_refs: dict[str, str] = {}  # container_path → id of that image
    pod_files: dict[str, str] = {}  # /etc/hosts → file of the pod


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A container that is to be."""

    id: str
    config: ContainerConfig
    pod: Sandbox
    prepared: Prepared
    sources: Sources = Sources()
    host: Host = Host()
    cgroups_path: str = ""
    volumes_dir: str = ""

    @property
    def linux(self) -> LinuxContainerConfig:
        return self.config.linux or LinuxContainerConfig()

    @property
    def context(self) -> LinuxContainerSecurityContext:
        return self.linux.security_context or LinuxContainerSecurityContext()

    @property
    def privileged(self) -> bool:
        return self.context.privileged

    @property
    def modes(self) -> NamespaceOption:
        """The container's namespace modes; one that says nothing has its pod's."""
        return self.context.namespace_options or pod_modes(self.pod)

    def image(self, name: str) -> list[str]:
        """A list of the image's configuration (Env, Entrypoint, Cmd)."""
        value = self.prepared.config.get(name)
        return [str(item) for item in value] if isinstance(value, list) else []

    def image_text(self, name: str) -> str:
        """A string of the image's configuration (User, WorkingDir)."""
        return str(self.prepared.config.get(name) or "")

    def image_volumes(self) -> list[str]:
        """Where the image declares volumes, but for those that the configuration mounts itself."""
        declared = self.prepared.config.get("Volumes")
        names = declared if isinstance(declared, dict) else {}
        taken = {clean(mount.container_path) for mount in self.config.mounts}
        return [path for path in (clean(f"/{name}") for name in names) if path not in taken]


def pod_modes(pod: Sandbox) -> NamespaceOption:
    """The namespace modes of a pod; CRI's default is POD for each."""
    linux = pod.config.linux
    context = linux.security_context if linux else None
    return (context.namespace_options if context else None) or NamespaceOption()


def clean(path: str) -> str:
    """A path without doubled or trailing slashes and without dots."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def is_image(mount: Mount) -> bool:
    return mount.image is not None and bool(mount.image.image)
