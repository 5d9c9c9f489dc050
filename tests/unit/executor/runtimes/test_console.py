import asyncio
import os
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
from cribus.errors import Internal
from cribus.executor.runtimes.console import Console


def test_a_runtime_hands_over(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    with ExitStack() as stack:
        console = Console(stack, str(deep))
        assert len(console.path) < 108
        with socket.socket(socket.AF_UNIX) as runtime:
            runtime.connect(console.path)
            socket.send_fds(runtime, [b"/dev/ptmx"], [0])
            master = asyncio.run(console.master(5))
        assert os.path.sameopenfile(master, 0)
        os.close(master)
    assert list(deep.iterdir()) == []


def test_one_that_does_not(tmp_path: Path) -> None:
    with ExitStack() as stack:
        console = Console(stack, str(tmp_path))
        with pytest.raises(Internal, match="no terminal"):
            asyncio.run(console.master(0.01))
        with socket.socket(socket.AF_UNIX) as runtime:
            runtime.connect(console.path)
        with pytest.raises(Internal, match="no terminal"):
            asyncio.run(console.master(5))
