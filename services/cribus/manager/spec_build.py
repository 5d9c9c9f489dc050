"""CRI configuration, image configuration and pod → runtime-spec. Pure: what must be looked up on the
host is in `wanted.sources`."""

from cribus.api.cri.container import ContainerConfig
from cribus.api.cri.sandbox import PodSandboxMetadata
from cribus.api.cri.security import LinuxContainerResources
from cribus.api.cri.values import NamespaceMode
from cribus.api.executor import HANDLER, POD, STDIN
from cribus.errors import InvalidArgument
from cribus.manager import security, spec_namespaces, spec_resources, users
from cribus.manager.spec_mounts import mappings, mounts, root_propagation
from cribus.manager.wanted import Wanted
from cribus.oci import runtime_spec
from cribus.oci.runtime_spec import DeviceRule, Linux, Process, Resources, Spec

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def build(wanted: Wanted, identity: users.Identity) -> Spec:
    """The document.

    Raises InvalidArgument or FailedPrecondition with what is wrong in the configuration.
    """
    spec: Spec = {
        "ociVersion": runtime_spec.VERSION,
        "root": {"path": "rootfs", "readonly": wanted.context.readonly_rootfs},
        "process": _process(wanted, identity),
        "mounts": mounts(wanted),
        "annotations": _annotations(wanted),
        "linux": _linux(wanted),
    }
    spec["linux"].update(_filter(wanted, spec["process"]["capabilities"]["bounding"]))
    return spec


def identity(wanted: Wanted) -> users.Identity:
    """As whom the container runs. Raises InvalidArgument for a user whom the image does not know."""
    files = users.Files(wanted.prepared.passwd, wanted.prepared.group)
    return users.resolve(wanted.context, wanted.image_text("User"), files)


def args(config: ContainerConfig, entrypoint: list[str], cmd: list[str]) -> list[str]:
    """CRI's command replaces the image's Entrypoint, args its Cmd; command alone drops Cmd too.

    Raises InvalidArgument when nothing is left to run.
    """
    command, rest = list(config.command), list(config.args)
    if not command:
        rest = rest or cmd
        command = [] if entrypoint == [""] else entrypoint
    if not command + rest:
        raise InvalidArgument("there is nothing to run: give a command, as the image has neither Entrypoint nor Cmd")
    return command + rest


def environment(wanted: Wanted) -> list[str]:
    """Defaults, then the image's, then CRI's; the later of one name wins, in the earlier's place."""
    merged: dict[str, str] = {}
    entries = [_PATH, *(["TERM=xterm"] if wanted.config.tty else [])]
    entries.append(f"HOSTNAME={wanted.pod.config.hostname or wanted.host.name}")
    entries += wanted.image("Env")
    entries += [f"{one.key}={one.value.decode(errors='surrogateescape')}" for one in wanted.config.envs]
    for entry in entries:
        name, equals, _ = entry.partition("=")
        if equals:
            merged[name] = entry
    return list(merged.values())


def _process(wanted: Wanted, identity: users.Identity) -> Process:
    asked = wanted.linux.resources or LinuxContainerResources()
    process: Process = {
        "terminal": wanted.config.tty,
        "user": {"uid": identity.uid, "gid": identity.gid, "additionalGids": identity.groups},
        "args": args(wanted.config, wanted.image("Entrypoint"), wanted.image("Cmd")),
        "env": environment(wanted),
        "cwd": wanted.config.working_dir or wanted.image_text("WorkingDir") or "/",
        "capabilities": security.capabilities(wanted.context, wanted.host),
        "noNewPrivileges": wanted.context.no_new_privs,
        "oomScoreAdj": spec_resources.oom_score(asked, wanted.host),
    }
    profile = security.apparmor(wanted.context, wanted.host, wanted.sources.apparmor)
    label = security.selinux_label(wanted.context.selinux_options, wanted.host)
    if profile:
        process["apparmorProfile"] = profile
    if label and not wanted.privileged:
        process["selinuxLabel"] = label
    return process


def _linux(wanted: Wanted) -> Linux:
    given = wanted.linux.security_context
    masked, readonly = security.hidden_paths(given)
    linux: Linux = {
        "namespaces": spec_namespaces.namespaces(wanted),
        "cgroupsPath": wanted.cgroups_path,
        "resources": _resources(wanted),
        "devices": wanted.sources.host_devices if wanted.privileged else wanted.sources.devices,
        "maskedPaths": masked,
        "readonlyPaths": readonly,
    }
    propagation = root_propagation(wanted)
    if propagation:
        linux["rootfsPropagation"] = propagation
    asked = wanted.modes.userns_options
    if "user" in wanted.pod.namespaces and asked is not None and asked.mode is NamespaceMode.POD:
        linux["uidMappings"] = mappings(asked.uids)
        linux["gidMappings"] = mappings(asked.gids)
    return linux


def _resources(wanted: Wanted) -> Resources:
    asked = wanted.linux.resources
    made = spec_resources.resources(asked, wanted.host) if asked else {}
    if wanted.privileged:
        rules: list[DeviceRule] = [{"allow": True, "access": "rwm"}]
    else:
        rules = [{"allow": False, "access": "rwm"}]
        for device, access in zip(wanted.sources.devices, wanted.sources.device_access, strict=True):
            numbers = {"major": device["major"], "minor": device["minor"]}
            rules.append({"allow": True, "type": device["type"], "access": access, **numbers})  # type: ignore[typeddict-item]
    return {**made, "devices": rules}


def _filter(wanted: Wanted, bounding: list[str]) -> Linux:
    profile = security.seccomp_profile(wanted.context)
    found = security.seccomp(profile, wanted.sources.seccomp, bounding, wanted.host)
    return {"seccomp": found} if found else {}


def _annotations(wanted: Wanted) -> dict[str, str]:
    """As containerd sets them: hooks and outside runtimes know them by these names."""
    pod = wanted.pod.config.metadata or PodSandboxMetadata()
    metadata, image = wanted.config.metadata, wanted.config.image
    return {
        **({STDIN: "true"} if wanted.config.stdin else {}),
        **({HANDLER: wanted.pod.handler} if wanted.pod.handler else {}),
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.container-name": metadata.name if metadata else "",
        "io.kubernetes.cri.image-name": (image.user_specified_image or image.image) if image else "",
        POD: wanted.pod.id,
        "io.kubernetes.cri.sandbox-name": pod.name,
        "io.kubernetes.cri.sandbox-namespace": pod.namespace,
        "io.kubernetes.cri.sandbox-uid": pod.uid,
    }
