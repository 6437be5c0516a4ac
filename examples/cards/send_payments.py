"""Send the made-up payments to the running service over HTTP, and show what it caught.

Start service.py first; `--help` tells the rest. Its store must be new: what the service has seen of
these cards before counts.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from payments import shown
from rich.console import Console
from rich.progress import Progress
from verdicts import Verdict, summary

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from payments import Payment


class Refused(Exception):
    """The service did not answer with a verdict."""


def scored(
    connection: http.client.HTTPConnection, payments: Sequence[Payment], together: int
) -> Iterator[Verdict]:
    """Have payments scored, so many in a request; yield what was said of each.

    Raises:
        Refused: The service answered with another status than 200.
    """
    for first in range(0, len(payments), together):
        asked = payments[first : first + together]
        bodies = [{"card": each.card, "cents": each.cents, "time": each.time} for each in asked]
        began = time.perf_counter()
        if together == 1:
            answers = [_post(connection, "/payments", bodies[0])]
        else:
            answers = _post(connection, "/batches", {"payments": bodies})["verdicts"]
        seconds = (time.perf_counter() - began) / len(asked)
        for payment, answer in zip(asked, answers, strict=True):
            yield Verdict(payment, answer["score"], seconds)


def _post(connection: http.client.HTTPConnection, path: str, body: object) -> Any:  # noqa: ANN401 - JSON may be anything
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    text = response.read().decode()
    if response.status != http.client.OK:
        raise Refused(f"{response.status}: {text.strip()}")
    return json.loads(text)


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--together", type=int, default=1, help="so many payments in a request")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    console = Console(stderr=options.json)
    connection = http.client.HTTPConnection(options.host, options.port, timeout=30)
    made = shown()
    try:
        with Progress(console=console) as progress:
            answers = scored(connection, made, options.together)
            verdicts = list(progress.track(answers, total=len(made), description="payments"))
    except (OSError, http.client.HTTPException, Refused) as error:
        sys.exit(f"{options.host}:{options.port}: {error}")
    if options.json:
        print(json.dumps(summary(verdicts)))
        return
    for key, value in summary(verdicts).items():
        console.print(f"{key.replace('_', ' ')}: {value}", highlight=False)


if __name__ == "__main__":
    main()
