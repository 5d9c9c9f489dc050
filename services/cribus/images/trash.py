"""Deleting at leisure: what is deleted is renamed into one directory at once, and emptied from there. A
few entries, as a container's writable layer has, are deleted here; a larger tree by a process of low
priority, which no depth and no number of files troubles.
"""

import logging
import os
import secrets
import subprocess
import threading
from pathlib import Path

_FEW = 64  # entries of a tree that is deleted here
_logger = logging.getLogger(__name__)


class Trash:
    """One directory on the file system of what is thrown into it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._waiting: list[threading.Event | None] = []  # one a wish that is not yet being granted
        self._at_work = False  # a thread, which ends when nobody wishes anything

    def take(self, path: Path) -> bool:
        """Away with a file or a tree; whether there was one. Raises OSError."""
        try:
            os.rename(path, self._folder / secrets.token_hex(8))
        except FileNotFoundError:
            return False
        self.empty()
        return True

    def empty(self, done: threading.Event | None = None) -> None:
        """Have everything in it deleted, some time; `done` is set then."""
        with self._lock:
            self._waiting.append(done)
            if self._at_work:
                return
            self._at_work = True
        try:
            threading.Thread(target=self._run, name="trash", daemon=True).start()
        except RuntimeError as error:  # the host has no room for a thread: tried again with the next
            _logger.warning("trash is not empty", extra={"cause": str(error)})
            with self._lock:
                self._at_work = False

    def _run(self) -> None:
        while waiting := self._wished():
            try:
                self._delete()
            except OSError as error:  # no descriptors, say: tried again with the next that is thrown away
                _logger.warning("trash is not empty", extra={"cause": str(error)})
            for done in filter(None, waiting):
                done.set()

    def _wished(self) -> list[threading.Event | None]:
        with self._lock:
            waiting, self._waiting = self._waiting, []
            self._at_work = bool(waiting)
            return waiting

    def _delete(self) -> None:
        names = [name for name in os.listdir(self._folder) if not _deleted(self._folder / name)]
        if names:
            argv = ["nice", "-n", "19", "rm", "-rf", "--one-file-system", "--", *names[:1000]]
            ended = subprocess.run(argv, cwd=self._folder, stdin=subprocess.DEVNULL, capture_output=True)
            if ended.returncode:  # a mount in it, or a broken file system: tried again at the next start
                _logger.warning("trash is not empty", extra={"cause": ended.stderr.decode(errors="replace")[:500]})
            elif len(names) > 1000:
                self._delete()


def _deleted(path: Path) -> bool:
    """Whether this file or tree is gone; one of more than a few entries, or with a mount in it, is not touched."""
    folders, files = [], []
    try:
        device = os.lstat(path).st_dev
        for folder, below, names in os.walk(path):
            links = [name for name in below if os.path.islink(f"{folder}/{name}")]
            folders.append(folder)
            files += [f"{folder}/{name}" for name in (*names, *links)]
            if len(folders) + len(files) > _FEW or os.lstat(folder).st_dev != device:
                return False
        if not folders:
            files.append(str(path))
        for file in files:
            os.unlink(file)
        for folder in reversed(folders):
            os.rmdir(folder)
    except OSError:  # the process says it, if it cannot do it either
        return False
    return True
