"""A service that scores payments over HTTP, with redisai-py and a store behind it.

It stores its model and its script when it starts, and again when the store has lost them. Run it
with `python examples/cards/service.py`, and end it with Ctrl-C or SIGTERM: what has come in is
answered first. What it takes and says is in README.md.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import socket
import sys
import threading
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from payment_json import Unreadable, read_batch, read_payment, verdict
from scoring import Scorer, StoreAway, StoreRefused

if TYPE_CHECKING:
    from collections.abc import Callable

LARGEST_BODY = 256 * 1024  # bytes; a batch of the largest payments has 90,000
IDLE_LIMIT = 60.0  # seconds that a connection may be silent

log = logging.getLogger("service")


class Service(ThreadingHTTPServer):
    """The HTTP server: takes connections, a thread for each, and knows which are open."""

    request_queue_size = 128
    daemon_threads = False  # they are waited for when the service ends

    def __init__(self, address: tuple[str, int], scorer: Scorer) -> None:
        self.scorer = scorer
        self._open: set[socket.socket] = set()
        self._opening = threading.Lock()
        super().__init__(address, Handler)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as socketserver has it
        """Start a thread for a connection."""
        with self._opening:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - as socketserver has it
        """Close a connection; its thread has ended."""
        with self._opening:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as socketserver has it
        """Tell what went wrong with a connection; a client that is gone is nothing wrong."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def finish(self) -> None:
        """Take no more connections and requests; return when those that came are answered."""
        self.shutdown()
        with self._opening:
            for connection in self._open:
                with suppress(OSError):  # the client has closed it
                    connection.shutdown(socket.SHUT_RD)  # who waits for a request reads the end
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    """Serves one connection."""

    server: Service
    protocol_version = "HTTP/1.1"
    timeout = IDLE_LIMIT
    wbufsize = -1  # head and body leave together
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Say whether the store is there."""
        if self.path == "/health":
            self._answer(self._health)
        elif self.path in ("/payments", "/batches"):
            self._say(HTTPStatus.METHOD_NOT_ALLOWED, {"error": "expected POST"})
        else:
            self._nothing_here()

    def do_POST(self) -> None:
        """Score one payment, or many."""
        answers: dict[str, Callable[[bytes], object]] = {
            "/payments": self._payment,
            "/batches": self._batch,
        }
        if self.path not in answers:
            self._nothing_here()
            return
        body = self._body()
        if body is not None:
            self._answer(lambda: answers[self.path](body))

    def _health(self) -> object:
        self.server.scorer.ping()
        return {"store": "there"}

    def _payment(self, body: bytes) -> object:
        (score,) = self.server.scorer.score([read_payment(body)])
        return verdict(score)

    def _batch(self, body: bytes) -> object:
        return {
            "verdicts": [verdict(score) for score in self.server.scorer.score(read_batch(body))]
        }

    def _answer(self, answer: Callable[[], object]) -> None:
        """Say what the function returns, or in which way it failed."""
        try:
            self._say(HTTPStatus.OK, answer())
        except Unreadable as error:
            self._say(HTTPStatus.BAD_REQUEST, {"error": str(error)})
        except StoreAway as error:
            log.warning("the store is away: %s", error)
            self._say(HTTPStatus.SERVICE_UNAVAILABLE, {"error": "the store is away, try later"})
        except StoreRefused as error:
            log.warning("the store refused: %s", error)
            self._say(HTTPStatus.BAD_GATEWAY, {"error": f"the store refused: {error}"})

    def _body(self) -> bytes | None:
        """Return the request's body; None when there is none to be had, and that was answered."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "expected a Content-Length")
        elif len(length) > len(str(LARGEST_BODY)) or int(length) > LARGEST_BODY:
            self._refuse(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {LARGEST_BODY} bytes"
            )
        else:
            body = self.rfile.read(int(length))
            if len(body) == int(length):
                return body
            self.close_connection = True  # the client is gone, or the service ends
        return None

    def _nothing_here(self) -> None:
        self._refuse(HTTPStatus.NOT_FOUND, "expected /payments, /batches or /health")

    def _refuse(self, status: HTTPStatus, error: str) -> None:
        """Say what is wrong with a request whose body stays unread, and close the connection."""
        self.close_connection = True
        self._say(status, {"error": error})

    def _say(self, status: HTTPStatus, answer: object) -> None:
        body = json.dumps(answer).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "POST")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Say in JSON what http.server itself finds wrong with a request."""
        del explain
        self._refuse(HTTPStatus(code), message or HTTPStatus(code).phrase)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # as http.server has it
        """Log each request for who looks for it: a line for every payment is too much."""
        log.debug(format, *args)


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1", help="where the service listens")
    parser.add_argument("--port", type=int, default=8000, help="0: on a free port")
    parser.add_argument("--store-host", default="127.0.0.1")
    parser.add_argument("--store-port", type=int, default=6379)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    ending = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: ending.set())
    scorer = Scorer(options.store_host, options.store_port)
    try:
        service = Service((options.host, options.port), scorer)
    except OSError as error:
        sys.exit(f"cannot listen on {options.host}:{options.port}: {error}")
    try:
        scorer.store()
    except StoreAway as error:
        log.warning("the store is away, and will get model and script when it is back: %s", error)
    except StoreRefused as error:
        service.server_close()
        sys.exit(f"the store refused the model or the script: {error}")
    serving = threading.Thread(target=service.serve_forever)
    serving.start()
    print("ready on http://{}:{}".format(*service.server_address[:2]), flush=True)
    ending.wait()
    service.finish()
    serving.join()
    scorer.close()
    print("ended", flush=True)


if __name__ == "__main__":
    main()
