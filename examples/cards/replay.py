"""Score a stream of payments with a running server, one request each, and show what was caught.

Start `tensorkeep serve` first; `--help` tells the rest. README.md is the tutorial.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import redis
from payments import Payment, shown
from rich.console import Console
from rich.progress import track
from rich.table import Table
from verdicts import SUSPICIOUS, Verdict, summary

FOLDER = Path(__file__).resolve().parent
SHOWN = 12


def prepare(client: redis.Redis) -> None:
    """Store the script and the model, and forget all cards of an earlier run."""
    source = (FOLDER / "card.torchscript").read_bytes()
    model = (FOLDER / "cards.onnx").read_bytes()
    entry = ("ENTRY_POINTS", 1, "score")
    client.execute_command("AI.SCRIPTSTORE", "card", "CPU", *entry, "SOURCE", source)
    client.execute_command("AI.MODELSTORE", "cards", "ONNX", "CPU", "BLOB", model)
    for key in client.scan_iter("card:*"):
        client.delete(key)


def score(client: redis.Redis, payment: Payment) -> Verdict:
    """Have one payment scored: one request, and the answer read beside it."""
    began = time.perf_counter()
    with client.pipeline(transaction=False) as pipe:
        pipe.execute_command(
            *("AI.SCRIPTEXECUTE", "card", "score", "KEYS", 2, f"card:{payment.card}", "cards"),
            *("ARGS", 2, payment.cents, payment.time, "OUTPUTS", 2, "score", "features"),
        )
        pipe.execute_command("AI.TENSORGET", "score", "BLOB")
        _, answer = pipe.execute()
    seconds = time.perf_counter() - began
    return Verdict(payment, float(np.frombuffer(answer, np.float32)[0]), seconds)


def show(verdicts: list[Verdict], console: Console) -> None:
    """Show the last suspicious payments, and how many of each kind there were."""
    table = Table("card", "amount", "score", "truth")
    suspicious = [verdict for verdict in verdicts if verdict.score >= SUSPICIOUS]
    for payment, chance, _ in suspicious[-SHOWN:]:
        truth = "stolen" if payment.stolen else "honest"
        table.add_row(str(payment.card), f"{payment.cents / 100:.2f}", f"{chance:.0%}", truth)
    console.print(table)
    for key, value in summary(verdicts).items():
        console.print(f"{key.replace('_', ' ')}: {value}", highlight=False)


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=6379)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    console = Console(stderr=options.json)
    client = redis.Redis(options.host, options.port)
    try:
        prepare(client)
        made = track(shown(), "payments", console=console)
        verdicts = [score(client, each) for each in made]
    except redis.RedisError as error:
        sys.exit(f"{options.host}:{options.port}: {error}")
    if options.json:
        print(json.dumps(summary(verdicts)))
    else:
        show(verdicts, console)


if __name__ == "__main__":
    main()
