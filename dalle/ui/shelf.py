"""Finished pictures on disk: each browser session's last gallery, at an address that nobody can guess."""

import io
import secrets
import shutil
import tempfile
import threading
import zipfile
from collections import OrderedDict
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

_ADDRESS = "drawn"
_ARCHIVE = "pictures.zip"
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

    def folder(self, session: str) -> Path | None:
        """Where a session's last gallery lies."""
        return self._folders.get(session)

    def address(self, path: Path) -> str:
        """Where the page finds a file of the shelf, seen from the page."""
        return f"{_ADDRESS}/{path.relative_to(self.home).as_posix()}"

    def all_of(self, folder: Path) -> str:
        """Where the page finds the pictures of a folder in one file."""
        return f"{self.address(folder)}/{_ARCHIVE}"

    def routes(self) -> list[BaseRoute]:
        """What the web server needs to serve the shelf."""
        archive = Route(f"/{_ADDRESS}/{{folder}}/{_ARCHIVE}", self._archive)
        return [archive, Mount(f"/{_ADDRESS}", StaticFiles(directory=self.home))]

    def _archive(self, asked: Request) -> Response:
        """The pictures of a folder, packed when somebody asks for them."""
        folder = self.home / asked.path_params["folder"]
        files = sorted(file for file in folder.glob("*-*") if file.suffix != ".npy")
        if not files:
            raise HTTPException(404)
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:  # stored: pictures do not shrink
            for file in files:
                archive.write(file, file.name)
        return Response(packed.getvalue(), media_type="application/zip")
