"""critest, the suite of the Kubernetes node group, built from its released source and run against a socket."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.bench.peer import CRI_TOOLS
from tests.bench.side import Side

# The bytes of this public image cannot be made from anything but itself.
IMPOSSIBLE = ("public image with digest should be pulled and removed",)


@dataclass(frozen=True)
class Result:
    """One spec: its full text, its state in ginkgo's words, and why it failed."""

    name: str
    state: str
    message: str = ""


def build(programs: Path) -> Path:
    """The suite's program in `programs`, built there if it is missing (needs go).

    The module has no main package: the program is its test, compiled.
    """
    program = programs / "critest"
    if not program.exists():
        module = f"sigs.k8s.io/cri-tools@{CRI_TOOLS}"
        done = subprocess.run(["go", "mod", "download", "-json", module], capture_output=True, text=True, check=True)
        copy = programs / "cri-tools"
        shutil.copytree(json.loads(done.stdout)["Dir"], copy)
        for path in [copy, *copy.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)  # the module cache is read-only
        subprocess.run(
            ["go", "test", "-c", "-o", str(program), "./cmd/critest"],
            cwd=copy,
            env={**os.environ, "GOFLAGS": "-p=1 -buildvcs=false"},
            check=True,
        )
        shutil.rmtree(copy)
    return program


def run(program: Path, side: Side, folder: Path, *options: str) -> list[Result]:
    """Every spec's result. The suite's own words are in `folder`/critest.log."""
    report = folder / "report.json"
    command = [
        str(program),
        f"-runtime-endpoint={side.endpoint}",
        f"-image-endpoint={side.endpoint}",
        f"-nri-socket={side.nri}",
        "-ginkgo.no-color",
        f"-ginkgo.json-report={report}",
        "-ginkgo.poll-progress-after=180s",
        *options,
    ]
    with (folder / "critest.log").open("wb") as log:
        subprocess.run(command, stdout=log, stderr=log, cwd=folder, check=False, timeout=1500)
    specs = [spec for suite in json.loads(report.read_text()) for spec in suite["SpecReports"] or []]
    results = [_result(spec) for spec in specs if spec["LeafNodeType"] == "It"]
    # What the options did not select is "skipped" too, but nothing says why.
    return [one for one in results if one.state != "skipped" or one.message]


def unexpected(results: list[Result]) -> list[Result]:
    """The specs that failed and could have passed."""
    failed = [one for one in results if one.state not in ("passed", "skipped")]
    return [one for one in failed if not any(text in one.name for text in IMPOSSIBLE)]


def _result(spec: dict[str, object]) -> Result:
    texts = spec.get("ContainerHierarchyTexts") or []
    assert isinstance(texts, list)
    failure = spec.get("Failure")
    message = str(failure.get("Message", "")) if isinstance(failure, dict) else ""
    return Result(" ".join([*texts, str(spec["LeafNodeText"])]), str(spec["State"]), message)
