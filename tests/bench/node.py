"""cribus as a side of the bench: a node of its own, started as a user starts it."""

from pathlib import Path

from tests.bench.side import MARK, Side
from tests.harness import Node


class Cribus(Side):
    name = "cribus"

    def __init__(self, base: Path, settings: str = "") -> None:
        base.mkdir(parents=True)
        self.node = Node(base, settings)
        super().__init__(base, self.node.run_dir, self.node.socket)
        self.nri = self.node.nri
        self.tag = self.node.tag
        self.cgroup = f"/{self.tag}"
        self.node.env[MARK] = self.tag

    def start(self) -> None:
        self.mount_state()
        self.node.up()

    def stop(self) -> None:
        self.node.cribus("down", "--pods", timeout=90)
        self.unmount_state()
        self.node.assert_gone()
        self.node.delete_files()
        self.forget_cgroups()
