"""Ask the server for digits, as any client can, and measure how long the answers take.

This file decides what is sent, what is timed and what the answers are compared with. It prints
nothing but its progress.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import redis
    from numpy.typing import NDArray
    from rich.progress import Progress
    from serving import Server

    Pictures = NDArray[np.float32]
    Answers = NDArray[np.float32]

WHITE = 16  # the largest grey value in a picture
WARM_UP = 50
ROUNDS = 5  # how often the lone client asks for each picture
CLIENTS = 4
CLIENT_SECONDS = 3.0
BATCHES = 9


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Pictures that the network has never seen (uint8, 0 to 16, [N, 8, 8]) and their digits."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def as_input(self) -> Pictures:
        """Return the pictures as the network takes them: float32, 0 to 1, [N, 1, 8, 8]."""
        return (self.pixels[:, None] / WHITE).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured. A request sets one picture, runs the model and gets the answer."""

    images: int
    accuracy: float
    largest_difference: float
    startup_seconds: float
    store_seconds: float
    lone_requests: int
    lone_p50_ms: float
    lone_p99_ms: float
    clients: int
    requests_per_second: float
    batch_p50_ms: float


def load_files(folder: Path) -> tuple[bytes, HeldOut]:
    """Read the model and the held-out pictures that train.py has written."""
    model = (folder / "digits.onnx").read_bytes()
    with np.load(folder / "heldout.npz") as arrays:
        return model, HeldOut(arrays["images"], arrays["labels"])


def measure(
    server: Server, model: bytes, held_out: HeldOut, progress: Progress
) -> tuple[Figures, Answers]:
    """Store the model, ask for all pictures in three ways, and compare every answer."""
    pictures = held_out.as_input()
    with server.client() as client:
        store_seconds = store(client, model)
        alone, lone_ms = ask_alone(client, pictures, progress)
        together, rate = ask_together(server, pictures, progress)
        batch, batch_ms = ask_in_one_batch(client, pictures)
        ask(client, pictures[:1])  # what --stay leaves under x and y is the first picture
    answers = alone[: len(pictures)]
    figures = Figures(
        images=len(pictures),
        accuracy=float((answers.argmax(axis=1) == held_out.labels).mean()),
        largest_difference=difference([alone, *together], batch, model, pictures),
        startup_seconds=server.startup_seconds,
        store_seconds=store_seconds,
        lone_requests=len(lone_ms),
        lone_p50_ms=float(np.percentile(lone_ms, 50)),
        lone_p99_ms=float(np.percentile(lone_ms, 99)),
        clients=CLIENTS,
        requests_per_second=rate,
        batch_p50_ms=median(batch_ms),
    )
    return figures, answers


def store(client: redis.Redis, model: bytes) -> float:
    """Store the model under the key `digits` and return how many seconds that took."""
    began = time.perf_counter()
    client.execute_command("AI.MODELSTORE", "digits", "ONNX", "CPU", "BLOB", model)
    return time.perf_counter() - began


def ask(client: redis.Redis, pictures: Pictures, mark: str = "") -> Answers:
    """Ask for the probabilities of `pictures` in one round trip: three commands, one pipeline."""
    x, y = f"x{mark}", f"y{mark}"
    shape, blob = pictures.shape, pictures.tobytes()
    pipeline = client.pipeline(transaction=False)
    pipeline.execute_command("AI.TENSORSET", x, "FLOAT", *shape, "BLOB", blob)
    pipeline.execute_command("AI.MODELEXECUTE", "digits", "INPUTS", 1, x, "OUTPUTS", 1, y)
    pipeline.execute_command("AI.TENSORGET", y, "BLOB")
    # redis-py would put the command, blob and all, before the server's text; raise the text alone.
    replies = pipeline.execute(raise_on_error=False)
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return np.frombuffer(replies[-1], np.float32).reshape(len(pictures), -1)


def ask_alone(
    client: redis.Redis, pictures: Pictures, progress: Progress
) -> tuple[Answers, list[float]]:
    """Ask for one picture after the other; return all answers and the milliseconds of each."""
    total = ROUNDS * len(pictures)
    bar = progress.add_task("one client, one picture at a time", total=total)
    for row in pictures[:WARM_UP]:
        ask(client, row[None])
    answers: list[Answers] = []
    times: list[float] = []
    for number in range(total):
        row = pictures[number % len(pictures)]
        began = time.perf_counter()
        answers.append(ask(client, row[None]))
        times.append((time.perf_counter() - began) * 1000)
        if number % 100 == 99:
            progress.update(bar, completed=number + 1, refresh=True)
    progress.update(bar, completed=total, refresh=True)
    return np.concatenate(answers), times


def ask_together(
    server: Server, pictures: Pictures, progress: Progress
) -> tuple[list[Answers], float]:
    """Let a few clients ask at once; return each one's answers and the requests in a second."""
    bar = progress.add_task(f"{CLIENTS} clients at the same time", total=CLIENT_SECONDS)
    began = time.perf_counter()

    def ask_until_time_is_up(mark: str) -> Answers:
        answers: list[Answers] = []
        with server.client() as client:
            while not answers or time.perf_counter() < began + CLIENT_SECONDS:
                row = pictures[len(answers) % len(pictures)]
                answers.append(ask(client, row[None], mark))
        return np.concatenate(answers)

    with ThreadPoolExecutor(CLIENTS) as threads:
        runs = [threads.submit(ask_until_time_is_up, f":{number}") for number in range(CLIENTS)]
        while wait(runs, timeout=0.25).not_done:
            passed = time.perf_counter() - began
            progress.update(bar, completed=min(passed, CLIENT_SECONDS), refresh=True)
        seconds = time.perf_counter() - began
    progress.update(bar, completed=CLIENT_SECONDS, refresh=True)
    answers = [run.result() for run in runs]
    return answers, sum(map(len, answers)) / seconds


def ask_in_one_batch(client: redis.Redis, pictures: Pictures) -> tuple[Answers, list[float]]:
    """Ask for all pictures as one tensor; return the answers and the milliseconds of each run."""
    answers = ask(client, pictures)
    times: list[float] = []
    for _ in range(BATCHES):
        began = time.perf_counter()
        ask(client, pictures)
        times.append((time.perf_counter() - began) * 1000)
    return answers, times


def difference(alone: Iterable[Answers], batch: Answers, model: bytes, pictures: Pictures) -> float:
    """Return how far any answer is from ONNX Runtime's own, called here the same way.

    Each of `alone` goes through the pictures in order, and begins again after the last one.
    """
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    one_by_one = np.concatenate([session.run(None, {"images": row[None]})[0] for row in pictures])
    in_one_batch = session.run(None, {"images": pictures})[0]
    differences = [abs(answers - np.resize(one_by_one, answers.shape)).max() for answers in alone]
    return float(np.max([*differences, abs(batch - in_one_batch).max()]))
