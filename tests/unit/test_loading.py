"""Loading without the collector, behind others; in a process of its own, whose whole state this is."""

import subprocess
import sys

_SCRIPT = """
import gc, os
usual = os.getpriority(os.PRIO_PROCESS, 0)
from cribus import loading
loading.done()
assert gc.isenabled() and gc.get_freeze_count() == 0
loading.begin(7)
assert not gc.isenabled()
assert os.getpriority(os.PRIO_PROCESS, 0) - usual == {while_loading}
loading.done()
assert gc.isenabled() and gc.get_freeze_count() > 0
assert os.getpriority(os.PRIO_PROCESS, 0) - usual == {after}
"""


def test_until_it_is_done() -> None:
    subprocess.run([sys.executable, "-c", _SCRIPT.format(while_loading=7, after=0)], check=True)


def test_where_nobody_may_become_less_nice_again_it_stays_with_the_others() -> None:
    """A process that may not tries with one, which is no harm."""
    refused = "import os\ndef refuse(*_): raise PermissionError\nos.setpriority = refuse\n"
    script = refused + _SCRIPT.format(while_loading=1, after=1)
    subprocess.run([sys.executable, "-c", script], check=True)


def test_whoever_imports_a_service_keeps_the_collector() -> None:
    services = ", ".join(f"cribus.{one}.__main__" for one in ("manager", "executor", "shimd", "images"))
    subprocess.run([sys.executable, "-c", f"import gc, {services}; assert gc.isenabled()"], check=True)
