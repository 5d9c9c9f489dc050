"""docs/architecture.md draws the code as it is; README and docs link to what exists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_drawings_are_of_today() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "deploy" / "draw.py"), "--check"], timeout=60)
    assert done.returncode == 0, "run `python deploy/draw.py`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", page.read_text())]
    missing = [link for link in links if link and "://" not in link and not (page.parent / link).exists()]
    assert not missing
