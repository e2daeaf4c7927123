"""A typical network camera on this machine: MJPEG over HTTP, in real time."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


class MjpegServer:
    """Serves pictures in a loop; every connection starts with the first one.

    Args:
        pictures: JPEG files.
        fps: Frames per second.
        port: Port number; 0: any free port.
        once: Send all pictures only once, then keep the connection open.

    Attributes:
        sent: Times at which the frames of the newest connection were sent, by `time.time`.
    """

    def __init__(self, pictures: Sequence[bytes], fps: float, port: int = 0, *, once: bool = False) -> None:
        self.sent: list[float] = []
        self._is_up = True
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                sent: list[float] = []
                server.sent = sent
                began = time.monotonic()
                try:
                    while server._is_up:
                        if once and len(sent) == len(pictures):
                            time.sleep(0.05)
                            continue
                        picture = pictures[len(sent) % len(pictures)]
                        head = (
                            f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                        )
                        sent.append(time.time())
                        self.wfile.write(head.encode() + picture + b"\r\n")
                        time.sleep(max(0.0, began + len(sent) / fps - time.monotonic()))
                except OSError:
                    pass  # the client has disconnected
                self.close_connection = True

            def log_message(self, format: str, *arguments: object) -> None:
                """Do not log."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", port), Handler)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/video"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Close all connections and free the port."""
        self._is_up = False
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> MjpegServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
