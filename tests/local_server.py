"""A web server on this machine that can be told to misbehave."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeVar

Server = TypeVar("Server", bound=ThreadingHTTPServer)


class LocalServer(ThreadingHTTPServer):
    """Serves a folder at `address`; `requests` lists what was asked for.

    With `status` set it answers every request with that error; with `cut` set it sends half of each file and hangs up.
    """

    def __init__(self, folder: Path):
        self.folder, self.requests, self.status, self.cut = folder, [], None, False
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, request, client, server: LocalServer):
        super().__init__(request, client, server, directory=str(server.folder))

    def do_GET(self):
        self.server.requests.append(self.path)
        if self.server.status:
            self.send_error(self.server.status)
        elif self.server.cut:
            content = Path(self.translate_path(self.path)).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
        else:
            super().do_GET()

    def log_message(self, *_):
        pass


def serving(folder: Path) -> AbstractContextManager[LocalServer]:
    """Serve a folder until the block is left."""
    return running(LocalServer(folder))


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """Run a server until the block is left; after that, connections to its address are refused."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
