"""What a container may do: capabilities, hidden paths, seccomp, AppArmor, SELinux. Pure."""

from cribus.api.cri.security import (
    Capability,
    LinuxContainerSecurityContext,
    SecurityProfile,
    SELinuxOption,
)
from cribus.api.cri.values import ProfileType
from cribus.errors import FailedPrecondition, InvalidArgument
from cribus.manager import seccomp_default
from cribus.manager.host import Host
from cribus.oci.runtime_spec import Capabilities, Seccomp

_DEFAULT_CAPABILITIES = """
CAP_CHOWN CAP_DAC_OVERRIDE CAP_FSETID CAP_FOWNER CAP_MKNOD CAP_NET_RAW CAP_SETGID CAP_SETUID
CAP_SETFCAP CAP_SETPCAP CAP_NET_BIND_SERVICE CAP_SYS_CHROOT CAP_KILL CAP_AUDIT_WRITE
"""
DEFAULT_CAPABILITIES = _DEFAULT_CAPABILITIES.split()
_MASKED_PATHS = """
/proc/acpi /proc/asound /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list /proc/timer_stats
/proc/sched_debug /proc/scsi /sys/firmware /sys/devices/virtual/powercap
"""
MASKED_PATHS = _MASKED_PATHS.split()
READONLY_PATHS = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def capabilities(context: LinuxContainerSecurityContext, host: Host) -> Capabilities:
    """The sets of a container's first process. Raises InvalidArgument for an unknown name."""
    if context.privileged:
        return _sets(list(host.capabilities), [])
    asked = context.capabilities or Capability()
    add = [_spelled(name) for name in asked.add_capabilities]
    drop = [_spelled(name) for name in asked.drop_capabilities]
    base = list(host.capabilities) if "CAP_ALL" in add else [] if "CAP_ALL" in drop else list(DEFAULT_CAPABILITIES)
    if "CAP_ALL" in drop and "CAP_ALL" in add:
        base = []
    ambient = [_spelled(name) for name in asked.add_ambient_capabilities]
    wanted = dict.fromkeys(base + [name for name in add + ambient if name != "CAP_ALL"])
    kept = [name for name in wanted if name not in drop]
    return _sets(kept, [name for name in ambient if name in kept])


def _sets(names: list[str], ambient: list[str]) -> Capabilities:
    sets: Capabilities = {"bounding": names, "effective": names, "permitted": names}
    if ambient:
        sets["inheritable"] = ambient
        sets["ambient"] = ambient
    return sets


def _spelled(name: str) -> str:
    """CRI leaves the prefix out; clients do and don't."""
    full = name.upper() if name.upper().startswith("CAP_") else f"CAP_{name.upper()}"
    if full != "CAP_ALL" and full not in Host().capabilities:
        raise InvalidArgument(f"there is no capability {name!r}; an example of a good one is NET_ADMIN")
    return full


def hidden_paths(context: LinuxContainerSecurityContext | None) -> tuple[list[str], list[str]]:
    """Masked and read-only paths. A client that gives a security context decides itself (an empty
    list is Kubernetes' procMount Unmasked); one that gives none gets the usual ones."""
    if context is None:
        return list(MASKED_PATHS), list(READONLY_PATHS)
    if context.privileged:
        return [], []
    return list(context.masked_paths), list(context.readonly_paths)


def seccomp_profile(context: LinuxContainerSecurityContext) -> SecurityProfile:
    """Which profile applies: the field, else the older path, else none, as containerd has it."""
    if context.privileged:
        return SecurityProfile(profile_type=ProfileType.Unconfined)
    return context.seccomp or _from_path(context.seccomp_profile_path, "seccomp_profile_path")


def seccomp(profile: SecurityProfile, local: Seccomp | None, bounding: list[str], host: Host) -> Seccomp | None:
    """The filter; `local` is the document of a Localhost profile."""
    if profile.profile_type is ProfileType.RuntimeDefault:
        return seccomp_default.profile(bounding, host.machine)
    return local if profile.profile_type is ProfileType.Localhost else None


def apparmor_profile(context: LinuxContainerSecurityContext) -> SecurityProfile | None:
    """The one that is asked for, None where nobody asks: then the default applies, as the peers have it."""
    if context.privileged:
        return SecurityProfile(profile_type=ProfileType.Unconfined)
    if context.apparmor is None and context.apparmor_profile:
        return _from_path(context.apparmor_profile, "apparmor_profile")
    return context.apparmor


def apparmor(context: LinuxContainerSecurityContext, host: Host, default: str) -> str:
    """The name of the AppArmor profile; empty for none. `default` is our own where that is loaded.

    Raises FailedPrecondition when a profile of somebody's is asked for and this host has no AppArmor, InvalidArgument
    when it has no name.
    """
    profile = apparmor_profile(context)
    if profile is None or profile.profile_type is ProfileType.RuntimeDefault:
        return default
    if profile.profile_type is ProfileType.Unconfined:
        return ""
    name = localhost(profile, "AppArmor")
    if not host.apparmor:
        raise FailedPrecondition(f"AppArmor is not enabled on this host: profile {name} cannot apply")
    return name


def localhost(profile: SecurityProfile, kind: str) -> str:
    """What a Localhost profile names. Raises InvalidArgument when that is nothing: it would be taken for none."""
    name = profile.localhost_ref.removeprefix("localhost/")
    if not name:
        raise InvalidArgument(f"the {kind} profile is of type Localhost, but localhost_ref names none")
    return name


def selinux_label(options: SELinuxOption | None, host: Host) -> str:
    """The process label; empty for none, also where the host has no SELinux: clients send the options
    of a pod to every node, and the peers ignore them there too. Raises InvalidArgument."""
    if options is None or not any((options.user, options.role, options.type, options.level)):
        return ""
    if not host.selinux:
        return ""
    if not options.type or not options.level:
        raise InvalidArgument("selinux_options need at least type and level")
    return f"{options.user or 'system_u'}:{options.role or 'system_r'}:{options.type}:{options.level}"


def _from_path(path: str, field: str) -> SecurityProfile:
    """A profile in the older spelling: "", unconfined, runtime/default, localhost/<name>."""
    if path in ("", "unconfined"):
        return SecurityProfile(profile_type=ProfileType.Unconfined)
    if path in ("runtime/default", "docker/default"):
        return SecurityProfile(profile_type=ProfileType.RuntimeDefault)
    if path.startswith("localhost/"):
        return SecurityProfile(profile_type=ProfileType.Localhost, localhost_ref=path.removeprefix("localhost/"))
    raise InvalidArgument(f"{field} {path!r} is none of unconfined, runtime/default, localhost/<name>")
