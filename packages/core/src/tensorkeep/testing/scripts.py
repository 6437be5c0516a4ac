"""The part of the conformance suite that is about scripts; `BackendContract` inherits it."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cached_property, partial
from threading import Barrier
from typing import TYPE_CHECKING, Final
from unittest import SkipTest

from tensorkeep.errors import CommandFailed
from tensorkeep.hookspecs import RunContext
from tensorkeep.testing.checks import (
    Attempt,
    check,
    check_raises,
    check_same,
    from_memory,
    memory_of,
)
from tensorkeep.testing.isolated_plugin import isolated_plugin
from tensorkeep.testing.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tensorkeep.hookspecs import CommandReply
    from tensorkeep.tensor import Tensor
    from tensorkeep.testing.examples import ScriptExample

_CALLS_PER_THREAD: Final = 20
_THREADS: Final = 4
_UNDER_WAY: Final = 0.3  # seconds after which a long call is taken to be running
_REFUSAL: Final = "WRONGTYPE of the suite"


class Requests:
    """Stands for the keyspace and models of an example, and records what is asked of them.

    Attributes:
        commands: The commands that were asked for, with their arguments.
        models: Keys of the models that were asked for.

    Args:
        example: The example.
        refuse: Whether to refuse everything.
    """

    def __init__(self, example: ScriptExample, *, refuse: bool = False) -> None:
        self.commands: list[tuple[bytes, ...]] = []
        self.models: list[str] = []
        self._example = example
        self._refuse = refuse

    def execute(self, command: str, arguments: Sequence[bytes]) -> CommandReply:
        """Returns a command."""
        if not self._example.command:
            raise NotImplementedError(f"the suite has no keyspace: {command} {arguments!r}")
        self.commands.append((command.encode(), *arguments))
        if self._refuse:
            raise CommandFailed(_REFUSAL)
        return self._example.reply

    def model_execute(self, key: str, inputs: Sequence[Tensor], outputs: int) -> Sequence[Tensor]:
        """Returns the inputs of a model."""
        example = self._example
        if not example.model:
            raise NotImplementedError(f"the suite has no models: {key} {inputs!r} {outputs}")
        self.models.append(key)
        if self._refuse:
            raise CommandFailed(_REFUSAL)
        check_same(inputs, example.tensors, example.tolerance)
        if outputs != len(inputs):
            raise CommandFailed(f"{key} has {len(inputs)} outputs, not {outputs}")
        return inputs


class ScriptContract:
    """Holds the scripts of a backend to their contract; see `BackendContract`."""

    plugin: object
    name: str
    device = "CPU"
    isolated = False
    cancel_within = 5.0

    # ------------------------------------------------------------------ what the author gives
    def script_examples(self) -> Sequence[ScriptExample]:
        """Returns scripts to call, when the backend has scripts.

        At best one that asks for a command and one that asks for a model are among them.
        """
        return ()

    def broken_scripts(self) -> Sequence[bytes]:
        """Returns sources that are no script."""
        return [b"this is (no script"]

    def long_script(self) -> ScriptExample | None:
        """Returns a script that runs for long unless it is cancelled; None when none can be."""
        return None

    # ------------------------------------------------------------------ answers
    def test_a_script_gives_the_right_answers(self) -> None:
        """Every script example gives its outputs, asks for what it says, and can be freed."""
        for example in self._script_examples():
            with self._compiled(example) as script:
                requests = Requests(example)
                self._check_call(script, example, requests)
                wanted = [example.command] if example.command else []
                check(
                    requests.commands == wanted,
                    f"{example.function} asked for {requests.commands}, not {wanted}",
                )
                models = [example.model] if example.model else []
                check(
                    requests.models == models,
                    f"{example.function} ran the models {requests.models}, not {models}",
                )

    def test_a_script_need_not_return_anything(self) -> None:
        """Where nothing is to be returned, whatever a function returns will do."""
        for example in self._script_examples():
            with self._compiled(example) as script:
                self._subject.call(script, example, Requests(example), None)

    def test_inputs_of_a_script_are_never_changed(self) -> None:
        """A call leaves the memory of its tensors as it was."""
        for example in self._script_examples():
            tensors = [from_memory(each) for each in example.tensors]
            before = [memory_of(each) for each in tensors]
            with self._compiled(example) as script:
                count = len(example.outputs)
                self._subject.call(script, example, Requests(example), count, tensors=tensors)
            for each, kept in zip(tensors, before, strict=True):
                check((memory_of(each) == kept).all(), "script_run wrote to the memory of an input")

    def test_a_script_runs_on_several_threads_at_once(self) -> None:
        """Each thread gets the answers to its own calls, and asks its own keyspace."""
        for example in self._script_examples():
            with self._compiled(example) as script:
                barrier = Barrier(_THREADS)
                everything = [Requests(example) for _ in range(_THREADS)]
                calls = [
                    partial(self._call_often, script, example, requests, barrier)
                    for requests in everything
                ]
                attempts = [Attempt(call) for call in calls]
                for attempt in attempts:
                    attempt.start()
                for attempt in attempts:
                    attempt.join()
            for attempt, requests in zip(attempts, everything, strict=True):
                if attempt.error is not None:
                    text = f"a call beside others went wrong: {attempt.error}"
                    raise AssertionError(text) from attempt.error
                asked = len(requests.commands) + len(requests.models)
                wanted = _CALLS_PER_THREAD * (bool(example.command) + bool(example.model))
                check(asked == wanted, f"a thread's calls asked {asked} times, not {wanted}")

    # ------------------------------------------------------------------ what goes wrong
    def test_a_source_that_is_no_script_is_refused(self) -> None:
        """`script_create` raises an error that people can read."""
        self._script_examples()
        for source in self.broken_scripts():
            compiled = self._subject.compiled(source, ())
            check_raises(f"script_create of {source[:40]!r}", compiled.__enter__)

    def test_a_function_that_a_script_lacks_is_refused(self) -> None:
        """`script_run` raises an error that people can read."""
        example = self._script_examples()[0]
        with self._compiled(example) as script:
            call = partial(self._call, script, example, Requests(example), "no_such_function")
            check_raises("script_run of a function that the script lacks", call)

    def test_a_wrong_number_of_outputs_is_refused(self) -> None:
        """A call for more or fewer tensors than a function returns raises."""
        for example in self._script_examples():
            with self._compiled(example) as script:
                for count in (len(example.outputs) - 1, len(example.outputs) + 1):
                    if count >= 0:
                        requests = Requests(example)
                        call = partial(self._subject.call, script, example, requests, count)
                        check_raises(f"a call for {count} outputs", call)

    def test_a_script_is_told_what_the_keyspace_refuses(self) -> None:
        """What a command or model fails with is in the text of the script's error."""
        asking = [each for each in self._script_examples() if each.command or each.model]
        if not asking:
            raise SkipTest("no script example asks for a command or a model")
        for example in asking:
            with self._compiled(example) as script:
                call = partial(self._call, script, example, Requests(example, refuse=True))
                check_raises(f"{example.function} whose request was refused", call, _REFUSAL)
                self._check_call(script, example, Requests(example))

    def test_a_script_can_be_cancelled(self) -> None:
        """A long call ends with an error soon after it is cancelled."""
        with self._long_call() as (attempt, context):
            attempt.start()
            attempt.join(_UNDER_WAY)
            check(attempt.is_alive(), f"long_script() ended by itself, with {attempt.error!r}")
            context.cancel()

    # ------------------------------------------------------------------ inside
    @cached_property
    def _subject(self) -> Subject:
        plugin = isolated_plugin(self.name) if self.isolated else self.plugin
        return Subject(plugin, self.name, self.device)

    def _script_examples(self) -> Sequence[ScriptExample]:
        if not self._subject.info().scripts:
            raise SkipTest("the backend has no scripts")
        examples = self.script_examples()
        if not examples:
            raise SkipTest("script_examples() gives none: scripts are not tested")
        return examples

    @contextmanager
    def _compiled(self, example: ScriptExample) -> Iterator[object]:
        with self._subject.compiled(example.source, example.entry_points) as script:
            yield script

    def _call(
        self,
        script: object,
        example: ScriptExample,
        requests: Requests,
        function: str | None = None,
    ) -> list[Tensor | None]:
        count = len(example.outputs)
        return self._subject.call(script, example, requests, count, function=function)

    def _check_call(self, script: object, example: ScriptExample, requests: Requests) -> None:
        outputs = self._call(script, example, requests)
        check_same(outputs, example.outputs, example.tolerance)

    def _call_often(
        self, script: object, example: ScriptExample, requests: Requests, barrier: Barrier
    ) -> None:
        barrier.wait()
        for _ in range(_CALLS_PER_THREAD):
            self._check_call(script, example, requests)

    @contextmanager
    def _long_call(self) -> Iterator[tuple[Attempt, RunContext]]:
        """Gives a call to start and to cancel, and checks that it ends."""
        self._script_examples()
        example = self.long_script()
        if example is None:
            raise SkipTest("long_script() gives no script: cancelling is not tested")
        with self._compiled(example) as script:
            context = RunContext(self._subject.device)
            requests = Requests(example)
            attempt = Attempt(
                partial(self._subject.call, script, example, requests, None, context=context)
            )
            yield attempt, context
            attempt.join(self.cancel_within)
            late = f"a cancelled call still went on after {self.cancel_within} seconds"
            check(not attempt.is_alive(), late)
            check(attempt.error is not None, "a cancelled call must raise, not return")
