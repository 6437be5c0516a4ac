"""redis-py 4, 5 and 8: how clients come, are turned away, lose their connections and come back."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from redis.backoff import ConstantBackoff, ExponentialBackoff, NoBackoff
from redis.exceptions import AuthenticationError, ResponseError
from redis.retry import Retry

GREETED_FROM = 5  # the first version that tells its name
RESP3_FROM = 8  # the first version that speaks RESP3 unasked
LONELY = ("AI.MODELEXECUTE", "lonely", "INPUTS", 1, "one", "OUTPUTS", 1, "answer", "TIMEOUT")


@pytest.fixture
def lonely(client, digits):
    """A client of a server with a model that waits for a second request, which nobody sends."""
    options = ("BATCHSIZE", 2000, "MINBATCHSIZE", 1000)
    client.execute_command("AI.MODELSTORE", "lonely", "ONNX", "CPU", *options, "BLOB", digits.onnx)
    one = digits.pictures[:1]
    client.execute_command("AI.TENSORSET", "one", "FLOAT", *one.shape, "BLOB", one.tobytes())
    return client


def again(backoff):
    """Returns the options by which a client sends again what a lost connection took with it."""
    return {"retry": Retry(backoff, 3), "retry_on_error": [redis.ConnectionError]}


def about(client):
    """Returns what the server knows of a client's connection."""
    (own,) = client.client_list(client_id=[str(client.client_id())])
    return own


def text(reply):
    return reply.decode() if isinstance(reply, bytes) else reply


# ------------------------------------------------------------------ greetings
def test_a_client_introduces_itself(connect, version, protocol):
    client = connect(client_name="painter", db=3)
    own = about(client)
    assert text(client.client_getname()) == "painter"
    assert (own["name"], own["db"], own["resp"]) == ("painter", "3", str(protocol))
    known = ("redis-py", redis.__version__) if version >= GREETED_FROM else ("", "")
    assert (own["lib-name"], own["lib-ver"]) == known
    assert client.client_setname("sculptor") is True
    assert client.client_info()["name"] == "sculptor"
    if version >= GREETED_FROM:
        assert client.client_setinfo("LIB-VER", "9.9.9") is True
        assert about(client)["lib-ver"] == "9.9.9"


def test_the_newest_client_speaks_resp3_unasked(port, version):
    with redis.Redis(port=port) as client:
        assert about(client)["resp"] == ("3" if version >= RESP3_FROM else "2")
        client.execute_command("AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 1.5)
        got = client.execute_command("AI.TENSORGET", "x", "VALUES")
        assert got == ([1.5] if version >= RESP3_FROM else [b"1.5"])


def test_what_is_set_of_a_connection_shows_until_it_is_reset(connect, version):
    client = connect(client_name="a", db=3).client()  # of one connection
    assert client.client_no_evict("ON") in {True, b"OK"}
    assert about(client)["flags"] == "e"
    if version >= GREETED_FROM:
        assert client.client_no_touch("ON") in {True, b"OK"}
        assert about(client)["flags"] == "eT"
    assert client.client_reply("ON") in {True, b"OK"}
    assert client.auth("any", "default") is True
    assert text(client.reset()) == "RESET"
    own = about(client)
    assert (own["name"], own["db"], own["flags"], own["resp"]) == ("", "0", "N", "2")
    client.close()


def test_a_client_may_say_good_bye(connect):
    client = connect(**again(ConstantBackoff(0.01)))
    first = client.client_id()
    assert client.quit() in {True, b"OK"}
    assert client.client_id() != first


def test_urls_name_database_user_and_protocol(port, version, protocol):
    query = f"?protocol={protocol}&client_name=a" if version >= GREETED_FROM else "?client_name=a"
    with redis.Redis.from_url(f"redis://127.0.0.1:{port}/7{query}") as client:
        own = about(client)
        assert (own["db"], own["name"], own["resp"]) == ("7", "a", str(protocol))
    with redis.from_url(f"redis://default:any@127.0.0.1:{port}") as client:
        assert client.ping() is True
    with (
        redis.from_url(f"redis://127.0.0.1:{port}?db=99") as client,
        pytest.raises(ResponseError, match="DB index is out of range"),
    ):
        client.ping()


def test_unix_sockets_are_served(start, tmp_path, spoken):
    path = str(tmp_path / "s")
    with start("--unix-socket", path):
        with redis.Redis(unix_socket_path=path, **spoken) as client:
            assert client.execute_command("AI.TENSORSET", "x", "INT8", 1, "VALUES", 7) == b"OK"
            assert "U" in about(client)["flags"]
        with redis.from_url(f"unix://{path}?db=0") as client:
            assert client.execute_command("AI.TENSORGET", "x", "VALUES") == [7]


def test_the_default_user_is_let_in_and_nobody_else(connect, protocol):
    # The default user needs no password.
    password = {"password": "any", "retry": Retry(NoBackoff(), 0)}
    assert connect(username="default", **password).ping() is True
    with pytest.raises(AuthenticationError, match="invalid username-password pair"):
        connect(username="somebody", **password).ping()
    only_password = connect(**password)
    if protocol == 3:  # the client then says who it is: the default user
        assert only_password.ping() is True
    else:
        with pytest.raises(AuthenticationError, match="without any password configured"):
            only_password.ping()


# ------------------------------------------------------------------ pools
def test_threads_share_a_pool_that_waits(port, spoken):
    pool = redis.BlockingConnectionPool(max_connections=3, timeout=30, port=port, **spoken)

    def ask(number):
        with redis.Redis(connection_pool=pool) as client:
            key = f"pool:{number}"
            client.execute_command("AI.TENSORSET", key, "INT64", 1, "VALUES", number)
            return client.execute_command("AI.TENSORGET", key, "VALUES"), client.client_id()

    with ThreadPoolExecutor(12) as executor:
        answers = list(executor.map(ask, range(60)))
    pool.disconnect()
    assert [answer for answer, _ in answers] == [[number] for number in range(60)]
    assert len({number for _, number in answers}) <= 3


def test_an_exhausted_pool_says_so_and_goes_on(port, spoken):
    pool = redis.ConnectionPool(max_connections=1, port=port, **spoken)
    client = redis.Redis(connection_pool=pool)
    with client.pubsub() as subscriber:
        subscriber.subscribe("x")
        with pytest.raises(redis.ConnectionError, match=r"(?i)too many connections"):
            client.ping()
    assert client.ping() is True
    pool.disconnect()
    waiting = redis.BlockingConnectionPool(max_connections=1, timeout=0.05, port=port, **spoken)
    client = redis.Redis(connection_pool=waiting)
    with client.pubsub() as subscriber:
        subscriber.subscribe("x")
        with pytest.raises(redis.ConnectionError, match="No connection available"):
            client.ping()
    assert client.ping() is True
    waiting.disconnect()


def test_a_disconnected_pool_connects_again(connect, client):
    own = connect(client_name="leaver")
    first = own.client_id()
    own.connection_pool.disconnect()
    deadline = time.monotonic() + 10
    while any(each["name"] == "leaver" for each in client.client_list()):
        assert time.monotonic() < deadline, "the server keeps a connection that was closed"
    assert own.client_id() != first


def test_a_client_of_one_connection_keeps_what_it_selected(connect):
    client = connect(single_connection_client=True)
    first = client.client_id()
    assert client.select(4) is True
    client.execute_command("AI.TENSORSET", "only", "INT8", 1)
    assert (client.client_id(), about(client)["db"]) == (first, "4")
    assert client.delete("only") == 1
    client.close()


# ------------------------------------------------------------------ retries
def test_a_pool_checks_the_health_of_its_connections(connect, client):
    own = connect(health_check_interval=0.001)
    with client.monitor() as monitor:
        for _ in range(3):
            time.sleep(0.005)
            assert own.echo("well") == b"well"
        own.echo("end")
        seen = commands_until(monitor, "ECHO end")
    assert seen.count("PING") >= 3
    own.connection_pool.disconnect()
    assert own.echo("again") == b"again"


def commands_until(monitor, last):
    """Returns the commands that a monitor saw, up to one."""
    seen = [monitor.next_command()["command"]]
    while seen[-1] != last:
        seen.append(monitor.next_command()["command"])
    return seen


def test_a_killed_connection_is_replaced(connect, client):
    own = connect(**again(ExponentialBackoff(cap=0.1, base=0.001)))
    first = own.client_id()
    assert client.client_kill_filter(_id=first) == 1
    assert own.execute_command("AI.TENSORSET", "x", "INT8", 1) == b"OK"
    assert own.client_id() != first
    address = about(own)["addr"]
    assert client.client_kill(address) is True
    assert own.ping() is True
    with pytest.raises(ResponseError, match="No such client"):
        client.client_kill(address)


def test_a_command_whose_connection_is_killed_is_sent_again(lonely, connect):
    own = connect(single_connection_client=True, **again(ConstantBackoff(0.01)))
    number = own.client_id()
    replies = []
    with lonely.monitor() as monitor:
        thread = threading.Thread(target=lambda: replies.append(own.execute_command(*LONELY, 600)))
        thread.start()
        commands_until(monitor, " ".join(map(str, (*LONELY, 600))))
        assert lonely.client_kill_filter(_id=number) == 1
        commands_until(monitor, " ".join(map(str, (*LONELY, 600))))
    thread.join()
    assert replies == [b"TIMEDOUT"]
    own.close()


@pytest.mark.filterwarnings("ignore:.*retry_on_timeout")
def test_a_command_that_takes_too_long_is_sent_again_if_wanted(lonely, connect):
    own = connect(socket_timeout=0.2, retry_on_timeout=True, retry=Retry(NoBackoff(), 2))
    with lonely.monitor() as monitor:
        with pytest.raises(redis.TimeoutError):
            own.execute_command(*LONELY, 1500)
        assert own.echo("end") == b"end"  # on another connection: no late answer is taken for it
        seen = commands_until(monitor, "ECHO end")
    assert seen.count(" ".join(map(str, (*LONELY, 1500)))) == 3


def test_clients_outlive_their_server(start, spoken):
    """The server goes and comes again; the clients are the same objects."""

    def made(port, retries):
        return redis.Redis(port=port, retry=Retry(ConstantBackoff(0.01), retries), **spoken)

    with start() as port:
        idle, asking, patient = made(port, 0), made(port, 0), made(port, 1000)
        before = {client.info("server")["run_id"] for client in (idle, asking, patient)}
        assert len(before) == 1
    with pytest.raises(redis.ConnectionError):
        asking.ping()
    with start("--port", str(port)):
        with patient.pipeline() as pipe:
            assert pipe.set("a", 1).get("a").execute() == [True, b"1"]
        for client in (idle, asking, patient):
            assert client.info("server")["run_id"] not in before
            client.close()
            client.connection_pool.disconnect()
