"""Loading without the collector, behind others; in a process of its own, whose whole state this is."""

import subprocess
import sys

_SCRIPT = """
import gc, os
usual = os.getpriority(os.PRIO_PROCESS, 0)
from cribus import loading
assert not gc.isenabled()
loading.behind(7)
assert os.getpriority(os.PRIO_PROCESS, 0) == usual + 7
loading.done()
assert gc.isenabled() and gc.get_freeze_count() > 0
assert os.getpriority(os.PRIO_PROCESS, 0) == usual
"""


def test_until_it_is_done() -> None:
    subprocess.run([sys.executable, "-c", _SCRIPT], check=True)


def test_where_nobody_may_become_less_nice_again_it_goes_on() -> None:
    script = f"import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n{_SCRIPT}"
    script = script.replace("== usual + 7", "<= usual + 1").replace("== usual\n", "<= usual + 1\n")
    subprocess.run([sys.executable, "-c", script], check=True)
