"""The generated CRI code must be there before any module of the gateway is imported."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def _build() -> None:
    spec = importlib.util.spec_from_file_location("build_protos", ROOT / "deploy" / "build_protos.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.build(ROOT / "services" / "cribus")


if not (ROOT / "services" / "cribus" / "gateway" / "cri" / "api_pb2.py").exists():
    _build()
