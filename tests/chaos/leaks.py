"""What is left on the machine: compared with what there was when the node was new and one pod ran on it."""

import os
import re
from pathlib import Path

from tests.chaos.victims import Victims
from tests.chaos.watch import Watch
from tests.harness import Node, until

_INSIDE = ("/bus/jetstream", "/images/layers/", "/log")  # nats-server's own, the only image's content, what grows
_COMES_AND_GOES = re.compile(r"\.tmp$|/cribus/lock$|/\.cribus\.sock")  # with a process that has just begun to write

_STAGING = re.compile(r"^(\.executor|\.manager)\.\d+$")  # named after the generation of who writes there


class Leaks:
    """Everything that carries the node's name: processes, files, mounts, cgroups, links, rules, records."""

    def __init__(self, node: Node, victims: Victims, watch: Watch) -> None:
        self._node = node
        self._victims = victims
        self._watch = watch

    def settle(self, ours: tuple[str, ...]) -> None:
        """Take down what there is now, when nothing is going on and only the pod with these ids runs."""
        self._processes = self._settled()
        self._files = self._names_of_files(ours)

    def _settled(self) -> list[str]:
        """The node's processes, once they have been the same for a while: some are forked ahead, at leisure."""
        seen = [[""]]

        def same() -> bool:
            seen.append(self._of_node())
            return len(seen) > 20 and all(one == seen[-1] for one in seen[-20:])

        until(same, 20, "the node's processes stay the same")
        return seen[-1]

    def _of_node(self) -> list[str]:
        """The node's processes, but for the one that looks at paths: it is started when there is a path."""
        found = self._victims.of_node()
        looks = [one for one in found if "cribus.manager.looks" in one]
        return [one for one in found if one not in looks] + looks[1:]

    def none(self, ours: tuple[str, ...]) -> None:
        """Wait for there to be no more than then, whoever has these ids apart."""

        def clean() -> bool:
            return not self._left(ours)

        try:
            until(clean, 8, "nothing is left")
        except AssertionError:
            raise AssertionError(self._left(ours)) from None

    def _left(self, ours: tuple[str, ...]) -> list[str]:
        left = [
            f"{kind}: {one}"
            for kind, found in self._node.remains().items()
            for one in found[(1 if kind in ("links", "addresses") else 0) :]
            if not _names(one, ours) and not _inside(one, ours)
        ]
        left += [f"record: {one}" for one in self._watch.records() if not _names(one, ours)]
        left += [f"file: {one}" for one in sorted(self._names_of_files(ours) ^ self._files)]
        gone = list(self._processes)
        for one in self._of_node():
            if one in gone:
                gone.remove(one)
            elif not _names(one, ours):
                left.append(f"process: {one}")
        lost = set(gone) - set(self._of_node())
        return left + [f"missing: {one}" for one in lost if not re.match("shim|keeper|python", one)]

    def _names_of_files(self, ours: tuple[str, ...]) -> set[str]:
        """Every path of the node but those with these ids."""
        found: set[str] = set()
        for top in (self._node.run_dir, self._node.root):
            for folder, names, files in os.walk(top):
                at = folder.removeprefix(str(top)) + "/"
                names[:] = [one for one in names if not (at + one).startswith(_INSIDE)]
                for one in sorted((*names, *files)):
                    place = at + _STAGING.sub(r"\1", one)  # the first is what each of them has
                    found.add(at + one if place in found else place)
        found = {one for one in found if not _COMES_AND_GOES.search(one)}
        return {one for one in found if not _names(one, ours) and not re.search(r"/addresses/cribus/[\d.]+$", one)}


def _names(text: str, ids: tuple[str, ...]) -> bool:
    """Whether the text has one of these ids, or, as the title of a keeper, the beginning that had room there."""
    cut = re.search(r"containers/([0-9a-f]+)\s*$", text)
    return any(id[:6] in text or (cut and id.startswith(cut[1])) for id in ids)


def _inside(process: str, ids: tuple[str, ...]) -> bool:
    """Whether this process, as `remains` has it, is of one of these pods."""
    number = process.split()[0]
    if not number.isdigit():
        return False
    try:
        text = Path(f"/proc/{number}/cgroup").read_text()
    except OSError:
        return True  # it is over
    return any(id in text for id in ids)
