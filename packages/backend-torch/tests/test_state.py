"""Programs that change what their next run finds: known when they are built, one run at a time."""

import threading
import time

import pytest
import torch

from tensorkeep.device import CPU
from tensorkeep.errors import RunFailed
from tensorkeep.hookspecs import RunContext

COUNTS = "    self.n += 1\n    return x + self.n\n"


@pytest.mark.parametrize(
    "body",
    [
        COUNTS,
        "    self.w.add_(x)\n    return self.w\n",
        "    self.w[0] = 1\n    return self.w\n",
        "    self.w = x\n    return self.w\n",
        "    y = self.w.view(-1)\n    y.mul_(2)\n    return y\n",
        "    z = x\n    if bool(x[0] > 0):\n        z = self.w\n    z.mul_(2)\n    return z\n",
        "    y = x\n    for i in range(3):\n        y.mul_(2)\n        y = self.w\n    return y\n",
        "    for each in [x, self.w]:\n        each.mul_(2)\n    return x\n",
        "    self.w.resize_([1])\n    return x\n",
        "    torch.add(x, x, out=self.w)\n    return x\n",
        "    y = torch.dropout(self.w, 0.5, False)\n    y.mul_(2)\n    return y\n",
        "    torch.broadcast_tensors([self.w])[0].mul_(2)\n    return x\n",
        "    self.past.append(x)\n    return torch.stack(self.past)\n",
        "    self.past[0] = x\n    return x\n",
        "    self.named['a'] = x\n    return x\n",
        "    self.past.clear()\n    return x\n",
        "    self.past.copy()[0].mul_(2)\n    return x\n",
        "    self.past[:1][0].mul_(2)\n    return x\n",
        "    self.sizes.append(1)\n    return x\n",
        "    y = self.past\n    y += [x]\n    return x\n",
        "    return torch.batch_norm(x, None, None, self.w, self.w, True, 0.1, 1e-5, False)\n",
        "    return torch.native_batch_norm(x, None, None, self.w, self.w, True, 0.1, 1e-5)[0]\n",
        "    return torch.instance_norm(x, None, None, self.w, self.w, True, 0.1, 1e-5, False)\n",
        "    y = [(self.w, x)]\n    y[0][0].mul_(2)\n    return x\n",
        "    y = torch.jit.fork(torch.neg, x)\n    self.w.mul_(torch.jit.wait(y))\n    return x\n",
    ],
)
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_what_a_run_may_change_for_the_next_is_seen(archives, load, body):
    source = f"def forward(self, x):\n{body}"
    blob = archives.scripted(
        source, n=0, w=torch.ones(1), past=[torch.ones(1)], named={"a": torch.ones(1)}, sizes=[1]
    )
    model = load(blob)

    assert model.native.program.state
    assert not model.steady


@pytest.mark.parametrize(
    "body",
    [
        "    return x + self.w\n",
        "    y = x + self.w\n    y.mul_(2)\n    return y\n",
        "    y = x.clone()\n    y.add_(self.w)\n    return y\n",
        "    y = torch.relu(x * self.w)\n    y += self.w\n    return y\n",
        "    y = [x]\n    y.append(x)\n    return torch.stack(y)\n",
        "    y = torch.zeros(3)\n    y[0] = self.w[0]\n    return y\n",
        "    return torch.batch_norm(x, None, None, self.w, self.w, False, 0.1, 1e-5, False)\n",
        "    x.mul_(2)\n    return x\n",
        "    y = torch.stack([self.w, x])\n    y.mul_(2)\n    return y\n",
        "    y = self.sizes.copy()\n    y[0] = 3\n    return x * y[0]\n",
        "    y = self.sizes[:1]\n    y.append(3)\n    return x * y[1]\n",
    ],
)
def test_what_a_run_does_to_what_is_its_own_is_no_state(archives, load, body):
    source = f"def forward(self, x):\n{body}"

    blob = archives.scripted(source, w=torch.ones(1), sizes=[1, 2])

    assert not load(blob).native.program.state


def block(inplace):
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.ReLU(inplace=inplace)
    )


def test_networks_that_write_in_place_are_known_to_keep_nothing(archives, load):
    picture = torch.ones(1, 1, 4, 4)
    network = torch.nn.Sequential(block(inplace=True), torch.nn.Hardswish(inplace=True)).eval()

    for blob in (
        archives.saved(network),
        archives.saved(network, (picture,)),
        archives.exported(network, (picture,)),
    ):
        assert not load(blob).native.program.state


def test_a_network_that_trains_keeps_its_statistics(archives, load, run):
    model = load(archives.saved(torch.nn.BatchNorm1d(1).train()))

    assert model.native.program.state


def test_an_exported_program_with_a_buffer_that_changes_keeps_it(archives, load, run):
    class Sums(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("sum", torch.zeros(1))

        def forward(self, x):
            self.sum += x
            return self.sum * 1

    model = load(archives.exported(Sums(), (torch.ones(1),)))

    assert model.native.program.state
    assert not model.steady
    assert [run(model, [2])[0].values() for _ in range(3)] == [[2], [4], [6]]


RACES = [
    COUNTS.replace("self.n += 1\n", "for i in range(200):\n        self.n += 1\n"),
    "    for i in range(99):\n        self.past.append(x)\n        self.past.pop()\n    return x\n",
    "    for i in range(200):\n        self.w = self.w + x\n    return self.w\n",
    "    for i in range(99):\n        self.named['a'] = x\n        self.named = {}\n    return x\n",
    "    for i in range(200):\n        self.w.resize_([i + 1])\n    return x\n",
]


@pytest.mark.parametrize("body", RACES)
def test_runs_on_several_threads_come_one_after_another(archives, load, run, body):
    blob = archives.scripted(
        f"def forward(self, x):\n{body}",
        n=0,
        w=torch.ones(1),
        past=[torch.ones(1)],
        named={"a": torch.ones(1)},
    )
    model = load(blob)
    failures = []

    def work():
        try:
            for _ in range(50):
                run(model, [1])
        except RunFailed as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not failures
    if body == RACES[0]:
        assert run(model, [0])[0].values() == [4 * 50 * 200 + 200]


def test_a_run_that_waits_for_its_turn_can_be_cancelled(archives, load, run):
    model = load(archives.scripted("def forward(self, x):\n    self.n += 1\n    return x\n", n=0))
    context = RunContext(CPU)
    ended = []

    def attempt():
        with pytest.raises(RunFailed, match="The run was ended"):
            run(model, [1], context=context)
        ended.append(context)

    waiting = threading.Thread(target=attempt)
    with model.native.program.turn:
        waiting.start()
        time.sleep(0.05)
        context.cancel()
        waiting.join(10)

    assert ended == [context]
    assert run(model, [-1])[0].values() == [-1]


def test_a_run_that_fails_leaves_the_turn_to_the_next(archives, load, run):
    model = load(
        archives.scripted("def forward(self, x):\n    self.n += 1\n    return x.view(2)\n", n=0)
    )

    with pytest.raises(RunFailed):
        run(model, [1])
    assert run(model, [1, 2])[0].values() == [1, 2]
