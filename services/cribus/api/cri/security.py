"""Security context, namespaces and resources: the parts of CRI that a sandbox and a container share.

Field names are the wire's own (CRI runtime.v1), so that one converter serves them all. Wrapped
integers are `int | None`; what only Windows has is left out.
"""

from cribus.api.cri.values import NamespaceMode, ProfileType, SupplementalGroupsPolicy
from cribus.api.verb import Message


class IDMapping(Message, frozen=True):
    host_id: int = 0
    container_id: int = 0
    length: int = 0


class UserNamespace(Message, frozen=True):
    mode: NamespaceMode = NamespaceMode.POD
    uids: list[IDMapping] = []
    gids: list[IDMapping] = []


class NamespaceOption(Message, frozen=True):
    network: NamespaceMode = NamespaceMode.POD
    pid: NamespaceMode = NamespaceMode.POD
    ipc: NamespaceMode = NamespaceMode.POD
    target_id: str = ""
    userns_options: UserNamespace | None = None


class SELinuxOption(Message, frozen=True):
    user: str = ""
    role: str = ""
    type: str = ""
    level: str = ""


class SecurityProfile(Message, frozen=True):
    profile_type: ProfileType = ProfileType.RuntimeDefault
    localhost_ref: str = ""


class LinuxSandboxSecurityContext(Message, frozen=True):
    namespace_options: NamespaceOption | None = None
    selinux_options: SELinuxOption | None = None
    run_as_user: int | None = None
    readonly_rootfs: bool = False
    supplemental_groups: list[int] = []
    privileged: bool = False
    seccomp_profile_path: str = ""
    run_as_group: int | None = None
    seccomp: SecurityProfile | None = None
    apparmor: SecurityProfile | None = None
    supplemental_groups_policy: SupplementalGroupsPolicy = SupplementalGroupsPolicy.Merge


class HugepageLimit(Message, frozen=True):
    page_size: str = ""
    limit: int = 0


class LinuxContainerResources(Message, frozen=True):
    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_shares: int = 0
    memory_limit_in_bytes: int = 0
    oom_score_adj: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    hugepage_limits: list[HugepageLimit] = []
    unified: dict[str, str] = {}
    memory_swap_limit_in_bytes: int = 0


class Capability(Message, frozen=True):
    add_capabilities: list[str] = []
    drop_capabilities: list[str] = []
    add_ambient_capabilities: list[str] = []


class LinuxContainerSecurityContext(Message, frozen=True):
    capabilities: Capability | None = None
    privileged: bool = False
    namespace_options: NamespaceOption | None = None
    selinux_options: SELinuxOption | None = None
    run_as_user: int | None = None
    run_as_username: str = ""
    readonly_rootfs: bool = False
    supplemental_groups: list[int] = []
    apparmor_profile: str = ""
    seccomp_profile_path: str = ""
    no_new_privs: bool = False
    run_as_group: int | None = None
    masked_paths: list[str] = []
    readonly_paths: list[str] = []
    seccomp: SecurityProfile | None = None
    apparmor: SecurityProfile | None = None
    supplemental_groups_policy: SupplementalGroupsPolicy = SupplementalGroupsPolicy.Merge
