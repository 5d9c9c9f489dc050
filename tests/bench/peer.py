"""The runtime that cribus is measured against, built from its released source and started aside of
whatever the machine runs: containerd with runc and the reference CNI plugins."""

import json
import os
import shlex
import signal
import subprocess
from pathlib import Path

import grpc

from tests.bench.side import MARK, Side

CONTAINERD, RUNC, PLUGINS, CRI_TOOLS = "v2.4.2", "v1.5.2", "v1.9.1", "v1.37.0"
BRIDGE, SUBNET = "crbbench0", "10.213.0.0/16"

_BUILDS = [
    ("runc", f"github.com/opencontainers/runc@{RUNC}", "seccomp"),
    *(
        (name, f"github.com/containerd/containerd/v2/cmd/{name}@{CONTAINERD}", "no_btrfs,no_zfs,no_devmapper")
        for name in ("containerd", "containerd-shim-runc-v2", "ctr")
    ),
    *(
        (name, f"github.com/containernetworking/plugins/plugins/{kind}/{name}@{PLUGINS}", "")
        for kind, name in (("main", "bridge"), ("main", "loopback"), ("ipam", "host-local"), ("meta", "portmap"))
    ),
    ("crictl", f"sigs.k8s.io/cri-tools/cmd/crictl@{CRI_TOOLS}", ""),
]

_CONFIG = """
version = 4
root = '{base}/root'
state = '{state}/containerd'
imports = []
disabled_plugins = ['io.containerd.internal.v1.tracing']
[plugins.'io.containerd.server.v1.grpc']
  address = '{state}/containerd.sock'
[plugins.'io.containerd.server.v1.ttrpc']
  address = '{state}/containerd.sock.ttrpc'
[plugins.'io.containerd.internal.v1.opt']
  path = '{base}/opt'
[plugins.'io.containerd.shim.v1.manager']
  socket_dir = '{state}/s'
[plugins.'io.containerd.nri.v1.nri']
  socket_path = '{base}/nri.sock'
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = '{pause}'
[plugins.'io.containerd.cri.v1.images'.registry]
  config_path = '{base}/certs.d'
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  Root = '{state}/runc'
  BinaryName = '{runtime}'
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ['{programs}']
  conf_dir = '{base}/cni'
"""

_HOST = """
[host."http://{registry}"]
  capabilities = ["pull", "resolve"]
"""


def programs() -> Path:
    """Where the peer's programs are kept: $CRIBUS_PEER, else in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("CRIBUS_PEER") or cache / "cribus-peer")


def install(programs: Path) -> None:
    """Build what is missing in `programs` (needs go, gcc and libseccomp-dev).

    Raises CalledProcessError when a build fails; go says why on standard error.
    """
    programs.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "GOBIN": str(programs), "GOFLAGS": "-p=1 -buildvcs=false"}
    for name, package, tags in _BUILDS:
        if not (programs / name).exists():
            subprocess.run(["go", "install", "-tags", tags, package], env=env, check=True)


def _chains() -> list[str]:
    """Lines of `iptables-save` that the portmap plugin leaves when its last port is gone."""
    saved = subprocess.run(["iptables-save", "-t", "nat"], capture_output=True, text=True, check=True).stdout
    return [line for line in saved.splitlines() if "CNI-HOSTPORT-" in line]


def _drop_chains() -> None:
    lines = _chains()
    rules = [["-D", *shlex.split(line)[1:]] for line in lines if line.startswith("-A")]
    chains = [["-X", line[1:].split()[0]] for line in lines if line.startswith(":")]
    for words in rules + chains:
        subprocess.run(["iptables", "-t", "nat", *words], check=True)


class Containerd(Side):
    """containerd in folders, a bridge and sockets of its own. `mirrors` are hosts that the loopback registry plays;
    `runtime` is what makes its containers, a program with runc's command line."""

    name = "containerd"
    runtime = "runc"

    def __init__(self, base: Path, programs: Path, registry: str, mirrors: tuple[str, ...] = ()) -> None:
        super().__init__(base, base / "run", base / "run" / "containerd.sock")
        self.programs = programs
        self.registry = registry
        self.mirrors = mirrors
        self.pause = f"{registry}/pause:bench"
        self._had_chains = True
        self._daemon: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._had_chains = bool(_chains())
        self.mount_state()
        self._write()
        self.launch()
        with grpc.insecure_channel(self.endpoint) as channel:
            grpc.channel_ready_future(channel).result(timeout=30)

    @property
    def pid(self) -> int:
        return self._daemon.pid if self._daemon else 0

    def launch(self) -> None:
        """Start the daemon, also once more."""
        if self._daemon:
            self._daemon.wait(30)
        path = f"{self.programs}:{os.environ['PATH']}"
        with (self.base / "containerd.log").open("ab") as log:
            self._daemon = subprocess.Popen(
                [str(self.programs / "containerd"), "--config", str(self.base / "config.toml")],
                env={**os.environ, "PATH": path, MARK: self.tag},
                stdout=log,
                stderr=log,
            )

    def stop(self) -> None:
        """End the daemon and its shims and take away all that they made. The pods must be gone."""
        if self._daemon:
            self._daemon.terminate()
            self._daemon.wait(30)
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        subprocess.run(["ip", "link", "delete", BRIDGE], check=False, capture_output=True)
        if not self._had_chains:
            _drop_chains()
        self.forget_cgroups()
        self.unmount_state()

    def _write(self) -> None:
        text = _CONFIG.format(
            base=self.base, state=self.state, pause=self.pause, programs=self.programs, runtime=self.runtime
        )
        (self.base / "config.toml").write_text(text)
        plugins: list[dict[str, object]] = [
            {
                "type": "bridge",
                "bridge": BRIDGE,
                "isGateway": True,
                "ipMasq": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(self.base / "addresses"),
                    "ranges": [[{"subnet": SUBNET}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ]
        (self.base / "cni").mkdir()
        network = {"cniVersion": "1.0.0", "name": BRIDGE, "plugins": plugins}
        (self.base / "cni" / "10-bench.conflist").write_text(json.dumps(network))
        for host in (self.registry, *self.mirrors):
            folder = self.base / "certs.d" / host
            folder.mkdir(parents=True)
            (folder / "hosts.toml").write_text(_HOST.format(registry=self.registry))
