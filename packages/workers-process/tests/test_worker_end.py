"""The program of a worker ends quietly with its connection."""

import os
import socket

from tensorkeep.testing.fake_backend import FakeBackend
from tensorkeep_workers_process import messages
from tensorkeep_workers_process.cancellation import Cancellation
from tensorkeep_workers_process.channel import Channel
from tensorkeep_workers_process.messages import encode
from tensorkeep_workers_process.worker import Worker


def test_a_worker_whose_server_closes_the_connection_while_it_works_ends_without_an_error():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reading, writing = os.pipe()
    worker = Worker("ONNX", FakeBackend(), Channel(theirs), Cancellation(reading), 0)
    Channel(ours).send(encode(messages.Describe(1)))
    ours.close()

    worker.serve()

    theirs.close()
    os.close(writing)
