"""The house's own rules as cases: style, types, who may import whom, and how long things may be.

Generated code (gateway/cri) is not ours to measure.
"""

import ast
import gc
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "services" / "cribus"
UNIT = ROOT / "tests" / "unit"
BIN = Path(sys.executable).parent

FILE_CEILING, FILE_MEDIAN = 500, 180
FUNCTION_CEILING, FUNCTION_P90, FUNCTION_MEDIAN = 60, 35, 10
PARAMETERS = 4
# Data only, or nothing but a start: what these hold is tested where it is used.
UNTESTED = ("api/", "gateway/cri/")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources(*folders: Path) -> list[Path]:
    found = [path for folder in folders for path in folder.rglob("*.py") if "gateway/cri/" not in str(path)]
    return sorted(path for path in found if "__pycache__" not in path.parts)


OURS = sources(PACKAGE)
EVERYTHING = sources(PACKAGE, ROOT / "deploy", ROOT / "tests")
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def length(path: Path) -> int:
    return len(path.read_text().splitlines())


def parsed(path: Path) -> ast.Module:
    """The file's tree. No garbage is collected meanwhile: Python 3.11.2 miscounts its depth then (gh-106905)."""
    gc.disable()
    try:
        return ast.parse(path.read_text())
    finally:
        gc.enable()


def functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, Function):
            yield node


def lines(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def parameters(function: Function) -> int:
    given = function.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    return len([one for one in every if one.arg not in ("self", "cls")])


def tool(*argv: str) -> None:
    """Run a tool of the environment in the project's folder; its whole output is the failure."""
    done = subprocess.run([str(BIN / argv[0]), *argv[1:]], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{' '.join(argv)}\n{done.stdout}{done.stderr}"


def none(offenders: list[str], rule: str) -> None:
    assert not offenders, f"{rule}:\n" + "\n".join(offenders)


def test_lint() -> None:
    tool("ruff", "check", "services", "tests", "deploy")


def test_format() -> None:
    tool("ruff", "format", "--check", "services", "tests", "deploy")


@pytest.mark.timeout(300)
def test_types() -> None:
    tool("mypy", "services/cribus", "tests", "deploy")


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: str(contract["id"]))
def test_imports(contract: dict[str, object]) -> None:
    argv = [str(BIN / "lint-imports"), "--contract", str(contract["id"])]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout.rpartition("Broken contracts")[2] + done.stderr


def test_every_room_has_a_contract() -> None:
    known = {str(contract["id"]) for contract in CONTRACTS}
    rooms = {path.stem for path in PACKAGE.iterdir() if path.stem not in ("__init__", "__pycache__")}
    none(sorted(rooms - known), "rooms without an import contract in pyproject.toml")


def test_only_a_start_reads_the_settings() -> None:
    def reads(path: Path) -> bool:
        nodes = list(ast.walk(parsed(path)))
        calls = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
        ours = any(
            isinstance(node, ast.ImportFrom)
            and node.module == "cribus"
            and "config" in {one.name for one in node.names}
            for node in nodes
        )
        return ours and "config.load" in calls

    allowed = [path for path in OURS if path.name == "__main__.py" or "cli" in path.parts]
    none([name(path) for path in OURS if path not in allowed and reads(path)], "only __main__ and cli read settings")


def test_the_first_page_has_what_a_newcomer_needs() -> None:
    """And no wheel that a build has left there, say."""
    found = [path.name for path in ROOT.iterdir() if path.is_file() and not path.name.startswith(".")]
    assert sorted(found) == ["README.md", "Vagrantfile", "pyproject.toml"]


def test_init_files_are_empty() -> None:
    none(
        [name(path) for path in OURS if path.name == "__init__.py" and path.read_text().strip()],
        "importing a module runs its parents",
    )


def test_files_are_short() -> None:
    long = [f"{name(path)}: {length(path)}" for path in EVERYTHING if length(path) > FILE_CEILING]
    none(long, f"files over {FILE_CEILING} lines have a second subject")


def test_the_median_file_is_short() -> None:
    median = statistics.median(length(path) for path in OURS if path.name != "__init__.py")
    assert median <= FILE_MEDIAN


def test_functions_are_short() -> None:
    long = [
        f"{name(path)}:{function.lineno} {function.name}: {lines(function)}"
        for path in EVERYTHING
        for function in functions(path)
        if lines(function) > FUNCTION_CEILING
    ]
    none(long, f"functions over {FUNCTION_CEILING} lines")


def test_most_functions_are_short() -> None:
    every = sorted(lines(function) for path in OURS for function in functions(path))
    p90 = statistics.quantiles(every, n=10)[-1]
    assert (statistics.median(every) <= FUNCTION_MEDIAN, p90 <= FUNCTION_P90) == (True, True), (
        f"median {statistics.median(every)} (at most {FUNCTION_MEDIAN}), p90 {p90} (at most {FUNCTION_P90})"
    )


def test_functions_take_few_parameters() -> None:
    many = [
        f"{name(path)}:{function.lineno} {function.name}: {parameters(function)}"
        for path in OURS
        for function in functions(path)
        if parameters(function) > PARAMETERS
    ]
    none(many, f"functions of more than {PARAMETERS} parameters want a structure")


def test_every_module_has_its_test() -> None:
    missing = []
    for path in OURS:
        inner = path.relative_to(PACKAGE)
        if path.stem in ("__init__", "__main__") or str(inner).startswith(UNTESTED):
            continue
        expected = UNIT / inner.parent / f"test_{path.stem}.py"
        if not expected.is_file():
            missing.append(f"{name(path)}: {name(expected)}")
    none(missing, "modules without a test file of their name")


def test_every_test_has_its_module() -> None:
    known = {"test_clock.py", "test_house.py", "test_imports.py", "test_versions.py"}  # of the house as a whole
    orphans = [
        name(path)
        for path in UNIT.rglob("test_*.py")
        if path.name not in known
        and not (PACKAGE / path.relative_to(UNIT).parent / f"{path.stem.removeprefix('test_')}.py").is_file()
        and not (PACKAGE / path.relative_to(UNIT).parent / path.stem.removeprefix("test_")).is_dir()
    ]
    none(orphans, "tests whose module is gone or elsewhere")
