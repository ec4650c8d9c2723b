"""Finished pictures on disk: each browser session's last gallery, at an address that nobody can guess."""

import io
import mimetypes
import secrets
import shutil
import tempfile
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
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
    """One folder per session. A new gallery replaces the old one; the end of the program clears all.

    `makers` are files that a folder can have without anybody having written them: they are made when one is asked for.
    """

    def __init__(self, makers: Mapping[str, Callable[[Path], bytes]] | None = None) -> None:
        self._makers = {_ARCHIVE: _packed, **(makers or {})}
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

    def path(self, address: str) -> Path:
        """The file at such an address."""
        return self.home / address.partition("/")[2]

    def all_of(self, folder: Path) -> str:
        """Where the page finds the pictures of a folder in one file."""
        return self.address(folder / _ARCHIVE)

    def routes(self) -> list[BaseRoute]:
        """What the web server needs to serve the shelf."""
        made = [Route(f"/{_ADDRESS}/{{folder}}/{name}", self._serve(make)) for name, make in self._makers.items()]
        return [*made, Mount(f"/{_ADDRESS}", StaticFiles(directory=self.home))]

    def _serve(self, make: Callable[[Path], bytes]) -> Callable[[Request], Response]:
        def serve(asked: Request) -> Response:
            name = asked.path_params["folder"]
            folder = next((folder for folder in list(self._folders.values()) if folder.name == name), None)
            if folder is None:
                raise HTTPException(404)
            try:
                made = make(folder)
            except FileNotFoundError:
                raise HTTPException(404) from None
            return Response(made, media_type=mimetypes.guess_type(asked.url.path)[0])

        return serve


def _packed(folder: Path) -> bytes:
    """The pictures of a folder, in one file. Raises FileNotFoundError where there are none."""
    files = [file for file in sorted(folder.rglob("*-*")) if file.suffix != ".npy"]
    if not files:
        raise FileNotFoundError
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:  # stored: pictures do not shrink
        for file in files:
            archive.write(file, file.relative_to(folder))
    return packed.getvalue()
