"""`tensorkeep store-model`: uploads a model to a running server, and shows how far it is.

The bytes go to the socket as they are read, a piece at a time, so that a model of any size takes
little memory here and the bar moves with what was sent.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Final

import typer

from tensorkeep.errors import InvalidModelFile
from tensorkeep.model_files import files_of
from tensorkeep_server.cli.client import (
    DEFAULT_URL,
    CaCert,
    Cert,
    CertKey,
    Host,
    Identity,
    Password,
    Port,
    UnixSocket,
    Url,
    User,
    UseTls,
    client_of,
)
from tensorkeep_server.cli.model_archive import ModelContent
from tensorkeep_server.errors import NOT_LOADED, how_to_install

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from redis import Redis

_PIECE: Final = 1024 * 1024  # bytes read and sent at a time


def store_model(  # noqa: PLR0913 - one parameter for each option
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="The model.")
    ],
    *,
    key: Annotated[str, typer.Option(help="Key to store it under.")],
    backend: Annotated[str, typer.Option(help="Backend that runs it, such as ONNX.")],
    device: Annotated[str, typer.Option(help="Device that it runs on.")] = "CPU",
    tag: Annotated[str | None, typer.Option(help="Text to know it by, such as a version.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=0, help="Most rows that are run as one batch.")
    ] = None,
    min_batch_size: Annotated[
        int | None, typer.Option(min=0, help="Rows to wait for before a batch is run.")
    ] = None,
    min_batch_timeout: Annotated[
        int | None, typer.Option(min=0, help="Milliseconds to wait for them at most.")
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(metavar="<name>", help="Name of an input; may be given several times."),
    ] = None,
    outputs: Annotated[
        list[str] | None,
        typer.Option(metavar="<name>", help="Name of an output; may be given several times."),
    ] = None,
    signature: Annotated[
        str | None, typer.Option(help="Which of the model's signatures to run, if it has several.")
    ] = None,
    url: Url = DEFAULT_URL,
    host: Host = None,
    port: Port = None,
    unix_socket: UnixSocket = None,
    user: User = None,
    password: Password = None,
    tls: UseTls = False,
    cacert: CaCert = None,
    cert: Cert = None,
    cert_key: CertKey = None,
) -> None:
    """Store a model that lies in a file, and in files beside it that hold its weights."""
    head = ["AI.MODELSTORE", key, backend, device]
    for word, value in (
        ("TAG", tag),
        ("BATCHSIZE", batch_size),
        ("MINBATCHSIZE", min_batch_size),
        ("MINBATCHTIMEOUT", min_batch_timeout),
        ("SIGNATURE", signature),
    ):
        if value is not None:
            head += [word, str(value)]
    for word, names in (("INPUTS", inputs), ("OUTPUTS", outputs)):
        if names:
            head += [word, str(len(names)), *names]
    try:
        content = ModelContent(files_of(backend, file))
    except InvalidModelFile as error:
        raise typer.BadParameter(f"{file}: {error}", param_hint="FILE") from error
    identity = Identity(user, password, tls, cacert, cert, cert_key)
    with content, client_of(url, host, port, unix_socket, identity, patience=None) as client:
        reply = _upload(client, [*head, "BLOB"], file.name, content)
    typer.echo(f"{file} is stored under {key}: {reply}")


def _upload(client: Redis, head: Sequence[str], name: str, content: ModelContent) -> str:
    """Sends the request and returns the reply."""
    from redis import ResponseError  # noqa: PLC0415 - the server starts without it
    from rich.console import Console  # noqa: PLC0415 - the server starts without it
    from rich.progress import (  # noqa: PLC0415 - the server starts without it
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TransferSpeedColumn,
    )

    chunk_size = int(client.execute_command("AI.CONFIG", "GET", "MODEL_CHUNK_SIZE"))
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(name, total=content.size)
        connection = client.connection_pool.get_connection()
        request = packed(head, content, chunk_size, lambda sent: progress.advance(task, sent))
        connection.send_packed_command(request)
        progress.update(task, description="the server builds the model")
        try:
            return str(connection.read_response(), "utf-8")
        except ResponseError as error:
            raise ResponseError(f"{error}{_hint(str(error), head)}") from error


def _hint(error: str, head: Sequence[str]) -> str:
    """Returns what to do about an error, as far as it can be known here."""
    if NOT_LOADED not in error:
        return ""
    how = how_to_install(head[2].upper())
    return ". The server's log says why" + (f"; if it is not installed there: {how}" if how else "")


def packed(
    head: Sequence[str],
    content: ModelContent,
    chunk_size: int,
    sent: Callable[[int], None] = lambda _: None,
) -> Iterator[bytes]:
    """Packs a request whose last arguments are a model in chunks.

    Args:
        head: The arguments before the model.
        content: The model.
        chunk_size: Bytes of one argument at most.
        sent: Called with the bytes of the model in each piece once the next one is asked for.

    Yields:
        The request in pieces, small enough to see them go.

    Raises:
        OSError: A file became shorter meanwhile.
    """
    size = content.size
    chunks = [min(chunk_size, size - start) for start in range(0, size, chunk_size)] or [0]
    yield b"*%d\r\n" % (len(head) + len(chunks))
    for argument in head:
        text = argument.encode("utf-8", "surrogateescape")
        yield b"$%d\r\n%b\r\n" % (len(text), text)
    for chunk in chunks:
        yield b"$%d\r\n" % chunk
        left = chunk
        while left:
            piece = content.read(min(left, _PIECE))
            yield piece
            left -= len(piece)
            sent(len(piece))
        yield b"\r\n"
