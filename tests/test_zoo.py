"""The zoo tells what works from what does not, and its page says what was found."""

import runpy
import warnings
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

ZOO = Path(__file__).parents[1] / "zoo"
COLLECTIONS = [each.name for each in runpy.run_path(str(ZOO / "listing.py"))["COLLECTIONS"]]
X = np.array([[1, -2]], np.float32)


@pytest.fixture
def room(monkeypatch):
    """Imports one of the zoo's files, as they import each other."""
    monkeypatch.syspath_prepend(str(ZOO))
    return import_module


@pytest.fixture(scope="module")
def doubling():
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 2]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "g", [x], [y])
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


@pytest.fixture
def attempt(room, client, doubling):
    """Tries an entry whose model doubles: `attempt(outputs, blob=..., **of_the_entry)`."""

    def attempt(*outputs, blob=doubling, make=None, **options):
        entry = room("entry")
        case = entry.Case({"x": X}, outputs)
        made = make or (lambda size: entry.Made(blob, [case]))
        found = entry.Entry("Doubling", "onnx", "by hand", "ONNX", made, **options)
        return room("trial").attempt(found, client, entry.Size.SHORT)

    return attempt


def test_a_model_that_computes_what_it_should_works(attempt):
    result = attempt(X * 2)

    assert (result.outcome, result.text, result.difference) == ("works", "", 0)
    assert result.megabytes > 0


@pytest.mark.parametrize(
    ("output", "text"),
    [
        (X * 3, "differs by 0.33"),
        (X.astype(np.float64) * 2, "output 0 is float32[1, 2], not float64[1, 2]"),
        (X[0] * 2, "not float32[2]"),
        (np.array([[2, np.nan]], np.float32), "differs by nan"),
    ],
)
def test_another_output_fails_and_says_how_it_differs(attempt, output, text):
    result = attempt(output)

    assert result.outcome == "fails"
    assert text in result.text


def test_a_refusal_is_right_only_when_it_was_expected(attempt):
    assert attempt(X, blob=b"junk").outcome == "fails"
    assert attempt(X, blob=b"junk", refused="no such text").outcome == "fails"
    assert attempt(X, blob=b"junk", refused="(?i)protobuf").outcome == "refused"
    assert attempt(X * 2, refused="anything").outcome == "fails"


def test_what_the_framework_cannot_write_is_told_from_what_it_fails_at(room, attempt):
    def in_vain(error):
        def make(size):
            raise error

        return attempt(make=make)

    written = in_vain(room("entry").NotWritable("no operator for this"))
    broken = in_vain(ValueError("a slip"))

    assert (written.outcome, written.text) == ("not writable", "no operator for this")
    assert (broken.outcome, broken.text) == ("fails", "made in vain: ValueError: a slip")


def test_the_page_has_a_row_for_each_model_and_a_column_for_each_form(room):
    page, trial = room("page"), room("trial")
    works = trial.Result("A", "torch", "one", "TORCH", "", "works")
    results = [
        works,
        replace(works, form="two", note="with an option"),
        replace(works, model="B", form="two", outcome="refused", text="because `so`"),
        replace(works, model="C", size="short"),
    ]

    text = page.page_of({"Section": ("torch 1", results)})

    assert "| A | torch | works | works (1) |" in text
    assert "| B | torch |  | refused (2) |" in text
    assert "| C | torch | works (3) |" in text
    assert "1. with an option\n2. `because 'so'`\n3. with few and narrow layers\n" in text


def test_the_page_of_the_documentation_is_that_of_the_kept_results(room):
    run = room("run_zoo")

    assert run.PAGE.read_text(encoding="utf-8") == run.kept_page()


@pytest.fixture
def entries(room, request):
    """The entries of a collection whose packages are installed."""
    (collection,) = (c for c in room("listing").COLLECTIONS if c.name == request.param)
    if missing := collection.missing():
        pytest.skip(f"the zoo's {collection.name} needs {', '.join(missing)}")
    return collection.entries()


@pytest.mark.parametrize("entries", COLLECTIONS, indirect=True)
def test_every_entry_is_listed_once(entries):
    titles = [each.title for each in entries]

    assert titles
    assert len(titles) == len(set(titles))


@pytest.mark.timeout(300)  # 12 s of one core for torch's, of which most are exporters'
@pytest.mark.parametrize("entries", COLLECTIONS, indirect=True)
def test_the_short_list_of_real_models_works(room, client, entries):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporters' own
        found = [
            room("trial").attempt(each, client, room("entry").Size.SHORT)
            for each in entries
            if each.short
        ]

    wrong = [each for each in found if each.outcome not in {"works", "refused"}]
    assert wrong == []
