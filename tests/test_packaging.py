"""The distributions carry one version, pin each other by it, and bring what they promise."""

import re
import sys
import tomllib
from importlib.metadata import distribution, version
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYPROJECTS = [tomllib.loads(path.read_text()) for path in ROOT.glob("packages/*/pyproject.toml")]
# TORCH is installed where it is tested, on one Python; the noxfile says why.
LEFT_OUT = set() if sys.version_info[:2] == (3, 11) else {"tensorkeep-torch"}
PROJECTS = {
    pyproject["project"]["name"]: pyproject["project"]
    for pyproject in PYPROJECTS
    if pyproject["project"]["name"] not in LEFT_OUT
}
VERSION = PROJECTS["tensorkeep"]["version"]
IMPORT_NAMES = [name.replace("-", "_") for name in PROJECTS]


def requirements(project: dict) -> list[str]:
    extras = project.get("optional-dependencies", {}).values()
    return [*project["dependencies"], *(line for extra in extras for line in extra)]


@pytest.mark.parametrize("name", PROJECTS)
def test_every_distribution_has_the_version_of_the_core(name):
    assert PROJECTS[name]["version"] == VERSION


@pytest.mark.parametrize("name", PROJECTS)
def test_what_is_installed_is_the_version_of_the_checkout(name):
    assert version(name) == VERSION


@pytest.mark.parametrize("name", PROJECTS)
def test_every_requirement_within_the_house_is_pinned_to_that_version(name):
    own = [line for line in requirements(PROJECTS[name]) if line.startswith("tensorkeep")]

    assert own, f"{name} does not name the other distributions"
    assert [line.partition("==")[2] for line in own] == [VERSION] * len(own)


@pytest.mark.parametrize("name", set(PROJECTS) - {"tensorkeep"})
def test_an_extra_of_the_core_brings_each_of_the_others(name):
    brought = name.removeprefix("tensorkeep-")
    extra = "server" if brought in {"memory", "workers-process"} else brought

    lines = PROJECTS["tensorkeep"]["optional-dependencies"][extra]
    # perhaps with an extra of its own
    assert f"{name}=={VERSION}" in [re.sub(r"\[.*\]", "", line) for line in lines]


@pytest.mark.parametrize("name", PROJECTS)
def test_constraints_name_a_version_of_everything_required(name):
    pins = re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    pinned = {re.sub(r"[-_.]+", "-", pin).lower() for pin in pins}
    required = {re.split(r"[^\w.-]", line)[0] for line in requirements(PROJECTS[name])}
    ours = {pyproject["project"]["name"] for pyproject in PYPROJECTS}

    assert required - ours <= pinned


@pytest.mark.parametrize("name", PROJECTS)
def test_what_is_installed_carries_the_licence(name):
    assert distribution(name).metadata["License-Expression"] == "Apache-2.0"
    assert any(path.name == "LICENSE" for path in distribution(name).files or ())


@pytest.mark.parametrize("name", IMPORT_NAMES)
def test_type_checkers_find_that_the_installed_package_is_typed(name):
    assert (files(name) / "py.typed").is_file()


def test_what_is_said_of_a_store_that_is_missing_is_what_brings_it():
    def points(project: dict, group: str) -> set[tuple[str, str]]:
        return {*project.get("entry-points", {}).get(group, {}).items()}

    core = PROJECTS["tensorkeep"]
    said = {
        (scheme, *value.removesuffix("]").split(" ["))
        for scheme, value in points(core, "tensorkeep.stores_of_extras")
    }
    brought = {
        (scheme, value, extra)
        for extra, lines in core["optional-dependencies"].items()
        for line in lines
        if (name := re.split(r"[=\[]", line)[0]) in PROJECTS
        for scheme, value in points(PROJECTS[name], "tensorkeep.stores")
    }
    assert said == brought
    assert ("memory", "tensorkeep_memory.store:open_store", "server") in said
