"""A forge with accounts: the local one behind git's own HTTP server, where a push takes an account's name and token.

What it knows of accounts are files in a folder, so that several processes share them, and one that is killed leaves what it made.
"""

import base64
import os
import secrets
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

from rdev_cli.adapters.local.forge import LocalForge
from rdev_cli.domain.errors import Unavailable
from rdev_cli.domain.project import Project
from rdev_cli.domain.values import Secret
from rdev_cli.ports.forge import Access, Admitted


class Accounts:
    """The folder: `url` of the server, `down` while it does not answer, and a file for each account with its token."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.account"

    def names(self) -> list[str]:
        return sorted(path.stem for path in self.folder.glob("*.account"))

    def token(self, name: str) -> str:
        return self._file(name).read_text() if self._file(name).exists() else ""

    def down(self, *, down: bool) -> None:
        mark = self.folder / "down"
        mark.touch() if down else mark.unlink(missing_ok=True)


class AccountForge(LocalForge):
    """The local forge, which also makes accounts."""

    accounts = True

    def __init__(self, folder: Path, installation: str, accounts: Accounts) -> None:
        super().__init__(folder, installation)
        self.kept = accounts

    def _answer(self) -> None:
        if (self.kept.folder / "down").exists():
            raise Unavailable("the forge does not answer", hint="try again")

    def url(self, project: str) -> str:
        return f"{(self.kept.folder / 'url').read_text()}/{project}.git"

    def admit(self, project: Project, access: Access) -> Admitted:
        self._answer()
        option = super().admit(project, access).push_option
        token = secrets.token_hex(20)
        self.kept._file(access.name).write_text(token)
        return Admitted(account=access.name, token=Secret(token), push_option=option)

    def extend(self, project: Project, access: Access) -> str:
        self._answer()
        name = super().extend(project, access)
        if access.name != name:
            os.rename(self.kept._file(access.name), self.kept._file(name))
        return name

    def dismiss(self, name: str) -> bool:
        self._answer()
        found = list(self.kept.folder.glob(f"{name.rpartition('-')[0]}-*.account"))
        for file in found:
            file.unlink(missing_ok=True)
        return super().dismiss(name) or bool(found)


class GitServer:
    """git's smart HTTP for the repositories of a folder; `asked` are (user, path) of each request."""

    def __init__(self, repositories: Path, accounts: Accounts) -> None:
        self.asked: list[tuple[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                user, _, token = _basic(self.headers.get("authorization", "")).partition(":")
                outer.asked.append((user, self.path))
                if (accounts.folder / "down").exists():
                    self.send_error(503)
                    return
                if not user or accounts.token(user) != token:
                    self.send_response(401)
                    self.send_header("www-authenticate", 'Basic realm="git"')
                    self.send_header("content-length", "0")
                    self.end_headers()
                    return
                path, _, query = self.path.partition("?")
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                env = {
                    "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(repositories), "GIT_HTTP_EXPORT_ALL": "1", "REMOTE_USER": user,
                    "PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": self.command, "CONTENT_LENGTH": str(len(body)),
                    "CONTENT_TYPE": self.headers.get("content-type", ""), "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding", ""),
                    "GIT_PROTOCOL": self.headers.get("git-protocol", ""), "HOME": "/nonexistent",
                }  # fmt: skip
                done = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True, check=False)
                head, _, rest = done.stdout.partition(b"\r\n\r\n")
                lines = [line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line]
                status = next((value for name, value in lines if name == "Status"), "200 OK")
                self.send_response(int(status.split()[0]))
                for name, value in lines:
                    if name != "Status":
                        self.send_header(name, value)
                self.send_header("content-length", str(len(rest)))
                self.end_headers()
                self.wfile.write(rest)

            do_GET = do_POST = _serve  # noqa: N815 -- the library's names

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        (accounts.folder / "url").write_text(self.url)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


def _basic(header: str) -> str:
    return base64.b64decode(header.removeprefix("Basic ")).decode() if header.startswith("Basic ") else ""
