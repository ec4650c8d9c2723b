"""Finished pictures on disk: each browser session's last gallery, at an address that nobody can guess."""

import secrets
import shutil
import tempfile
import threading
from collections import OrderedDict
from pathlib import Path

from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

_ADDRESS = "drawn"
_SESSIONS = 200  # galleries kept at most; a browser that vanishes does not always say goodbye


class Shelf:
    """One folder per session. A new gallery replaces the old one; the end of the program clears all."""

    def __init__(self) -> None:
        self._place = tempfile.TemporaryDirectory(prefix="dalle-")
        self.home = Path(self._place.name).resolve()
        self._folders: OrderedDict[str, Path] = OrderedDict()
        self._lock = threading.Lock()

    def renew(self, session: str) -> Path:
        """An empty folder for a session's next gallery; the one before is deleted."""
        folder = self.home / secrets.token_urlsafe(16)
        folder.mkdir()
        with self._lock:
            old = [self._folders.pop(session)] if session in self._folders else []
            self._folders[session] = folder
            while len(self._folders) > _SESSIONS:
                old.append(self._folders.popitem(last=False)[1])
        for path in old:
            shutil.rmtree(path, ignore_errors=True)
        return folder

    def discard(self, session: str) -> None:
        """Delete what a session drew."""
        with self._lock:
            folder = self._folders.pop(session, None)
        if folder:
            shutil.rmtree(folder, ignore_errors=True)

    def address(self, path: Path) -> str:
        """Where the page finds a file of the shelf, seen from the page."""
        return f"{_ADDRESS}/{path.relative_to(self.home).as_posix()}"

    def route(self) -> Mount:
        """What the web server needs to serve the shelf."""
        return Mount(f"/{_ADDRESS}", StaticFiles(directory=self.home))
