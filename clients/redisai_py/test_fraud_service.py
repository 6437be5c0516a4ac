"""The fraud scoring service of examples/cards: redisai-py inside, asked over HTTP."""

import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

CARDS = Path(__file__).parents[2] / "examples/cards"
PAYMENT = {"card": 17, "cents": 4999, "time": 1_700_000_000}
LIMIT = 60  # seconds for an answer, or until the service has noticed something


@pytest.fixture(scope="session")
def serve_payments(running):
    """Runs the service on a store: `with serve_payments(store) as service`."""

    @contextmanager
    def serve_payments(store):
        command = (sys.executable, CARDS / "service.py", "--port", 0, "--store-port", store)
        with running(*command) as (_, service):
            yield service

    return serve_payments


@pytest.fixture(scope="module")
def shared(serve_payments, port):
    with serve_payments(port) as service:
        yield service


@pytest.fixture
def store(port):
    """A client of the store, in which nothing is left: neither keys nor model nor script."""
    with Redis(port=port) as store:
        store.flushall()
        yield store


@pytest.fixture
def service(shared, store):
    """The port of a service."""
    return shared


@pytest.fixture
def free_port():
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def ask(service, method, path, body=None, **headers):
    """Sends one request; returns status and answer."""
    connection = http.client.HTTPConnection("127.0.0.1", service, timeout=LIMIT)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, json.load(response)
    finally:
        connection.close()


def pay(service, **changes):
    return ask(service, "POST", "/payments", json.dumps({**PAYMENT, **changes}))


def pay_all(service, payments):
    return ask(service, "POST", "/batches", json.dumps({"payments": payments}))


def figures(*command):
    """Runs a program of the example as its user does; returns what it found."""
    ended = subprocess.run(
        [*map(str, command), "--json"], capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found.pop("median_ms") > 0
    return found


# ------------------------------------------------------------------ what it is for
def test_it_catches_as_many_thieves_as_the_store_asked_directly(
    service, store, port, server_python
):
    send = (sys.executable, CARDS / "send_payments.py", "--port", service)
    one_by_one = figures(*send)
    store.flushall()
    in_batches = figures(*send, "--together", 50)
    directly = figures(server_python, CARDS / "replay.py", "--port", port)
    assert one_by_one == in_batches == directly
    assert directly["stolen"] > 100
    assert directly["caught"] > 0.85 * directly["stolen"]
    assert directly["honest_but_suspected"] < 0.01 * directly["payments"]


def test_an_ordinary_payment_is_approved_and_a_row_of_large_ones_is_refused(service):
    status, first = pay(service)
    assert (status, first["decision"]) == (200, "approve")
    assert 0 <= first["score"] < 0.5
    for day in range(1, 10):
        pay(service, time=PAYMENT["time"] + day * 86_400)
    stolen = [
        pay(service, cents=40_000, time=PAYMENT["time"] + 800_000 + minute * 60)[1]
        for minute in range(5)
    ]
    assert stolen[-1]["decision"] == "refuse"
    assert stolen[-1]["score"] > 0.5


def test_a_batch_is_scored_in_its_order_as_one_by_one(service):
    row = [{**PAYMENT, "cents": 3000 + n, "time": PAYMENT["time"] + n * 900} for n in range(30)]
    status, answer = pay_all(service, row)
    assert status == 200
    others = [pay(service, **{**payment, "card": 18})[1] for payment in row]
    assert answer["verdicts"] == others


def test_payments_of_many_clients_at_once_are_each_scored_with_their_own_card(service):
    row = [{"cents": 1000 * n + 500, "time": PAYMENT["time"] + n * 500} for n in range(20)]
    found = {}

    def pay_row(card):
        found[card] = [pay(service, card=card, **payment) for payment in row]

    threads = [threading.Thread(target=pay_row, args=(card,)) for card in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0][0][0] == 200
    assert all(found[card] == found[0] for card in range(8))


def test_a_payment_that_comes_late_is_scored_and_does_not_set_the_clock_back(service, store):
    pay(service)
    status, answer = pay(service, time=PAYMENT["time"] - 86_400)
    assert status == 200
    assert 0 <= answer["score"] <= 1
    assert int(store.hget("card:17", "last")) == PAYMENT["time"]


# ------------------------------------------------------------------ what it does not take
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("", "expected JSON"),
        ("{", "expected JSON"),
        ("[" * 100_000, "expected JSON"),
        (b"\xff\xfe", "expected JSON"),
        ("[]", "payment: expected an object, got []"),
        ('{"card": 1, "cents": 2}', "payment: the field time is missing"),
        ('{"card": 1, "cents": 2, "time": 3, "limit": 4}', 'no field "limit" is expected'),
        ('{"card": "1", "cents": 2, "time": 3}', "payment: card: expected a whole number"),
        ('{"card": 1, "cents": 2.5, "time": 3}', "to 10000000, got 2.5"),
        ('{"card": 1, "cents": true, "time": 3}', "cents: expected a whole number"),
        ('{"card": 1, "cents": NaN, "time": 3}', "cents: expected a whole number"),
        ('{"card": 1, "cents": 0, "time": 3}', "cents: expected a whole number from 1"),
        ('{"card": 1, "cents": 10000001, "time": 3}', "got 10000001"),
        ('{"card": -1, "cents": 2, "time": 3}', "card: expected a whole number from 0"),
        ('{"card": 1, "cents": 2, "time": 9007199254740992}', "time: expected a whole number"),
    ],
)
def test_what_is_no_payment_is_told_so_and_counts_nowhere(service, store, body, expected):
    status, answer = ask(service, "POST", "/payments", body)
    assert status == 400
    assert expected in answer["error"]
    assert not store.keys("card:*")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ([], 'the field "payments" alone'),
        ({"payments": []}, "payments: expected a list of 1 to 1000"),
        ({"payments": [PAYMENT] * 1001}, "payments: expected a list of 1 to 1000"),
        ({"payments": [PAYMENT], "more": 1}, 'the field "payments" alone'),
        ({"payments": [PAYMENT, {**PAYMENT, "cents": "5"}]}, "payments[1]: cents: expected"),
    ],
)
def test_a_batch_with_one_bad_payment_counts_nowhere(service, store, body, expected):
    status, answer = ask(service, "POST", "/batches", json.dumps(body))
    assert status == 400
    assert expected in answer["error"]
    assert not store.keys("card:*")


def test_requests_of_other_kinds_are_told_what_is_expected(service):
    assert ask(service, "GET", "/health") == (200, {"store": "there"})
    assert ask(service, "GET", "/payments") == (405, {"error": "expected POST"})
    assert ask(service, "POST", "/cards", "{}")[0] == 404
    assert ask(service, "PUT", "/payments", "{}")[0] == 501
    large = {"Content-Length": "1000000"}
    assert ask(service, "POST", "/payments", **large)[0] == 413
    chunked = {"Transfer-Encoding": "chunked"}
    assert ask(service, "POST", "/payments", **chunked)[0] == 411


def talk(service, sent):
    """Sends bytes, and says that no more will come; returns what comes until the end."""
    with socket.create_connection(("127.0.0.1", service), timeout=LIMIT) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_what_is_no_http_or_breaks_off_harms_nobody(service, store):
    assert b'{"error": "Bad request' in talk(service, b"\x16\x03 x y z\r\n\r\n")
    body = json.dumps(PAYMENT).encode()
    asked = b"POST /payments HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    assert talk(service, asked[:-1]) == b""
    assert not store.keys("card:*")
    assert talk(service, asked * 3).count(b" 200 OK") == 3
    assert int(store.hget("card:17", "count")) == 3


def test_where_it_cannot_listen_it_says_so(service, port):
    command = (sys.executable, CARDS / "service.py", "--port", service, "--store-port", port)
    ended = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"cannot listen on 127.0.0.1:{service}: ")


def test_what_the_store_refuses_is_told_and_counts_nowhere(service, store):
    store.set("card:17", "no hash")
    status, answer = pay(service)
    assert status == 502
    assert "WRONGTYPE" in answer["error"]
    assert store.get("card:17") == b"no hash"
    assert pay(service, card=18)[0] == 200


# ------------------------------------------------------------------ when the store goes and comes
@pytest.mark.parametrize("lost", [["card"], ["cards"], ["card", "cards"]])
def test_a_model_and_a_script_that_the_store_has_lost_are_stored_again(service, store, lost):
    assert pay(service)[0] == 200
    store.delete(*lost)
    assert pay_all(service, [PAYMENT] * 3)[0] == 200
    assert int(store.hget("card:17", "count")) == 4


def test_without_its_store_it_says_so_and_it_goes_on_when_the_store_is_back(
    serve_payments, start, free_port
):
    away = (503, {"error": "the store is away, try later"})
    with serve_payments(free_port) as service:
        assert pay(service) == away
        assert ask(service, "GET", "/health")[0] == 503
        with start("--port", free_port):
            status, first = pay(service)
            assert status == 200
        assert pay(service) == away
        assert pay_all(service, [PAYMENT]) == away
        with start("--port", free_port):
            assert pay_all(service, [PAYMENT]) == (200, {"verdicts": [first]})


def test_what_has_come_in_is_answered_before_it_ends(serve_payments, store, port):
    answers = []
    with serve_payments(port) as service:
        idle = http.client.HTTPConnection("127.0.0.1", service)
        idle.request("GET", "/health")
        assert idle.getresponse().read()
        batch = [{**PAYMENT, "card": card} for card in range(1000)]
        asking = threading.Thread(target=lambda: answers.append(pay_all(service, batch)))
        asking.start()
        deadline = time.monotonic() + LIMIT
        while not store.exists("card:0"):
            assert time.monotonic() < deadline
    asking.join()
    idle.close()
    ((status, answer),) = answers
    assert status == 200
    assert len(answer["verdicts"]) == 1000
