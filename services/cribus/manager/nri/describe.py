"""Pods and containers as plugins see them. Pure: records and runtime-spec in, messages out."""

from typing import Any, TypeVar

import msgspec

from cribus.api.cri.container import ContainerConfig, ContainerMetadata
from cribus.api.cri.image import ImageSpec
from cribus.api.cri.sandbox import LinuxPodSandboxConfig, PodSandboxMetadata
from cribus.manager.nri import messages as m
from cribus.manager.nri.protobuf import Message
from cribus.manager.nri.resources import of_cri
from cribus.manager.records import Container, Sandbox, State
from cribus.oci.runtime_spec import Spec

M = TypeVar("M", bound=Message)
OURS = "dev.cribus."  # annotations that are the runtime's own
_CREATED, _RUNNING, _STOPPED = 1, 3, 4
_STATES = {
    State.CREATING: _CREATED,
    State.CREATED: _CREATED,
    State.STARTING: _CREATED,
    State.RUNNING: _RUNNING,
    State.STOPPING: _RUNNING,
}
_KINDS = {"net": "network", "ipc": "ipc", "uts": "uts", "user": "user", "pid": "pid"}


def pod(record: Sandbox) -> m.PodSandbox:
    config, linux = record.config, record.config.linux or LinuxPodSandboxConfig()
    metadata = config.metadata or PodSandboxMetadata()
    return m.PodSandbox(
        id=record.id,
        name=metadata.name,
        uid=metadata.uid,
        namespace=metadata.namespace,
        labels=config.labels,
        annotations=config.annotations,
        runtime_handler=record.handler,
        linux=m.LinuxPodSandbox(
            pod_overhead=of_cri(linux.overhead),
            pod_resources=of_cri(linux.resources),
            cgroup_parent=linux.cgroup_parent,
            cgroups_path=record.cgroup,
            namespaces=[m.Namespace(type=_KINDS[kind], path=path) for kind, path in record.namespaces.items()],
        ),
        pid=record.pid,
        ips=record.ips,
    )


def container(record: Container, spec: Spec) -> m.Container:
    """`spec` is empty for a container whose traces are gone; what its record knows remains."""
    process = spec.get("process", {})
    told = m.Container(
        id=record.id,
        pod_sandbox_id=record.pod,
        name=(record.config.metadata or ContainerMetadata()).name,
        labels=record.config.labels,
        annotations=_annotations(record.config, spec),
        args=process.get("args", []),
        env=process.get("env", []),
        mounts=_all(spec.get("mounts"), m.Mount),
        hooks=_one(spec.get("hooks"), m.Hooks),
        linux=_linux(record.config, spec),
        rlimits=_all(process.get("rlimits"), m.Rlimit),
        cdi_devices=[m.CDIDevice(name=one.name) for one in record.config.CDI_devices],
        user=_one(process.get("user"), m.User),
        image=m.Image(
            name=(record.config.image or ImageSpec()).image,
            digest=record.image_ref.rpartition("@")[2],
            config_digest=record.image_id,
        ),
    )
    _put_state(told, record)
    return told


def _put_state(told: m.Container, record: Container) -> None:
    told.state = _STATES.get(record.state, _STOPPED)
    told.pid = record.pid
    told.created_at, told.started_at, told.finished_at = record.created_at, record.started_at, record.finished_at
    told.exit_code = record.exit_code
    told.status_reason, told.status_message = record.reason, record.message


def _annotations(config: ContainerConfig, spec: Spec) -> dict[str, str]:
    known = {name: text for name, text in spec.get("annotations", {}).items() if not name.startswith(OURS)}
    return {**known, **config.annotations}


def _linux(config: ContainerConfig, spec: Spec) -> m.LinuxContainer:
    linux, process = spec.get("linux", {}), spec.get("process", {})
    context = config.linux.security_context if config.linux else None
    profile = context.seccomp if context else None
    return m.LinuxContainer(
        namespaces=_all(linux.get("namespaces"), m.Namespace),
        devices=_all(linux.get("devices"), m.Device),
        resources=_one(linux.get("resources"), m.Resources),
        oom_score_adj=process.get("oomScoreAdj"),
        cgroups_path=linux.get("cgroupsPath", ""),
        seccomp_profile=(
            m.SecurityProfile(profile_type=int(profile.profile_type), localhost_ref=profile.localhost_ref)
            if profile
            else None
        ),
        seccomp_policy=_one(linux.get("seccomp"), m.Seccomp),
        sysctl=dict(linux.get("sysctl", {})),
        net_devices={name: msgspec.convert(one, m.NetDevice) for name, one in linux.get("netDevices", {}).items()},
        io_priority=_io_priority(process.get("ioPriority")),
        scheduler=_scheduler(process.get("scheduler")),
        rdt=_one(linux.get("intelRdt"), m.Rdt),
    )


def _io_priority(given: Any) -> m.IOPriority | None:
    if not given:
        return None
    return m.IOPriority(kind=m.IO_CLASSES.index(given["class"]), priority=given.get("priority", 0))


def _scheduler(given: Any) -> m.Scheduler | None:
    if not given:
        return None
    flags = [m.SCHEDULER_FLAGS.index(one) for one in given.get("flags", [])]
    return msgspec.convert({**given, "policy": m.POLICIES.index(given["policy"]), "flags": flags}, m.Scheduler)


def _one(given: Any, kind: type[M]) -> M | None:
    return msgspec.convert(given, kind) if given else None


def _all(given: Any, kind: type[M]) -> list[M]:
    return [msgspec.convert(one, kind) for one in given or []]
