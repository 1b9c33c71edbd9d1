"""A stand-in of the Hugging Face hub on this machine: the part of its protocol by which a model's files are found and downloaded."""

import hashlib
import json
import re
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from local_server import running

COMMIT = "c0ffee" + "0" * 34
REVISIONS = ("main", "v1", COMMIT)
FILE = re.compile(r"/(?P<repository>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
ABOUT = re.compile(r"/api/models/(?P<repository>[^/]+/[^/]+)(/(revision|tree)/(?P<revision>[^/]+)(?P<below>/.*)?)?")


class LocalHub(ThreadingHTTPServer):
    """Serves the folders `<folder>/<owner>/<name>` as repositories with one commit; `requests` lists the files that were sent.

    Repositories in `gated` need a permission that nobody has. While `cuts` is above 0, half of a file of weights is sent, and one cut is
    left less.
    """

    def __init__(self, folder: Path, gated: tuple = ()):
        self.folder, self.gated, self.cuts, self.requests = folder, gated, 0, []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self._answer(send=False)

    def do_GET(self):
        self._answer(send=True)

    def _answer(self, send: bool):
        path = self.path.partition("?")[0]
        asked = FILE.fullmatch(path) or ABOUT.fullmatch(path)
        repository = self.server.folder / (asked["repository"] if asked else "-")
        if not repository.is_dir():
            return self._refuse(401, "RepoNotFound")
        if asked["repository"] in self.server.gated:
            return self._refuse(403, "GatedRepo")
        if (asked["revision"] or "main") not in REVISIONS:
            return self._refuse(404, "RevisionNotFound")
        if asked.re is ABOUT:
            if asked["below"]:  # of a tree
                return self._refuse(404, "EntryNotFound")
            names = [{"rfilename": path.name} for path in sorted(repository.iterdir())]
            about = {"id": asked["repository"], "sha": COMMIT, "siblings": names}
            return self._send(json.dumps(about).encode(), {"Content-Type": "application/json"}, send)
        file = repository / asked["file"]
        return self._send_file(file, send) if file.is_file() else self._refuse(404, "EntryNotFound")

    def _refuse(self, status: int, code: str):
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        if code == "EntryNotFound":
            self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send_file(self, file: Path, send: bool):
        content = file.read_bytes()
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        start = int(re.fullmatch(r"bytes=(\d+)-.*", self.headers.get("Range", "bytes=0-"))[1])
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if send:
            self.server.requests.append(file.name)
        cut = send and file.suffix == ".safetensors" and self.server.cuts > 0
        self.server.cuts -= cut
        self._send(content[start:], headers, send, 206 if start else 200, sent=len(content) // 2 if cut else None)
        self.close_connection = True

    def _send(self, content: bytes, headers: dict, send: bool, status: int = 200, sent: int | None = None):
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if send:
            self.wfile.write(content[:sent])

    def log_message(self, *_):
        pass


def hub(folder: Path, **settings) -> AbstractContextManager[LocalHub]:
    """Serve a folder of repositories until the block is left."""
    return running(LocalHub(folder, **settings))
