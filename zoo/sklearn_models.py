"""Classifiers, regressors and the rest of scikit-learn, LightGBM and XGBoost, as ONNX.

Converters end a classifier with `ZipMap`, which makes a map for each row: that is their default,
and a form of its own beside the one without. Models are trained on data that scikit-learn brings.
"""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

import lightgbm
import numpy as np
import xgboost
from entry import Case, Entry, Made, NotWritable, Size
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as FloatsOfTrees
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn import (
    cluster,
    datasets,
    decomposition,
    ensemble,
    linear_model,
    naive_bayes,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    svm,
    tree,
)
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from entry import Array

ZIPPED: Final = "ONNX, as converted"
PLAIN: Final = "ONNX, zipmap=False"
MAPS: Final = "probabilities, which the converter makes maps of, are a tensor of [rows, classes]"
TOLERANCE: Final = 1e-4  # single precision here, double in the framework
WORDS: Final = np.array(["setosa", "versicolor", "virginica"])

CLASSIFIERS: Final[dict[str, Callable[[], Any]]] = {
    "Logistic regression, scaled": lambda: pipeline.make_pipeline(
        preprocessing.StandardScaler(), linear_model.LogisticRegression()
    ),
    "Random forest": lambda: ensemble.RandomForestClassifier(20, random_state=0),
    "Extra trees": lambda: ensemble.ExtraTreesClassifier(20, random_state=0),
    "Gradient boosting": lambda: ensemble.GradientBoostingClassifier(n_estimators=10),
    "Histogram boosting": lambda: ensemble.HistGradientBoostingClassifier(max_iter=10),
    "AdaBoost": lambda: ensemble.AdaBoostClassifier(n_estimators=10, random_state=0),
    "Decision tree": lambda: tree.DecisionTreeClassifier(random_state=0),
    "Nearest neighbours": neighbors.KNeighborsClassifier,
    "Naive Bayes": naive_bayes.GaussianNB,
    "Multilayer perceptron": lambda: neural_network.MLPClassifier(max_iter=800, random_state=0),
    "Voting": lambda: ensemble.VotingClassifier(
        [
            ("trees", ensemble.RandomForestClassifier(5, random_state=0)),
            ("line", linear_model.LogisticRegression(max_iter=1000)),
        ],
        voting="soft",
        flatten_transform=False,
    ),
}
REGRESSORS: Final[dict[str, Callable[[], Any]]] = {
    "Linear regression": linear_model.LinearRegression,
    "Random forest, regression": lambda: ensemble.RandomForestRegressor(20, random_state=0),
    "Gradient boosting, regression": lambda: ensemble.GradientBoostingRegressor(n_estimators=10),
    "Support vectors, regression": svm.SVR,
    "Multilayer perceptron, regression": lambda: neural_network.MLPRegressor(
        max_iter=800, random_state=0
    ),
}


def entries() -> Iterator[Entry]:
    """Gives all entries."""
    for name, make in CLASSIFIERS.items():
        short = name == "Logistic regression, scaled"
        for form, note in ((ZIPPED, MAPS), (PLAIN, "")):
            made = partial(classifier, make, zipped=form == ZIPPED)
            yield Entry(name, "scikit-learn", form, "ONNX", made, note, short=short)
    made = partial(classifier, CLASSIFIERS["Random forest"], zipped=True, labels=WORDS)
    yield Entry("Classes with names", "scikit-learn", ZIPPED, "ONNX", made, MAPS)
    for name, make in REGRESSORS.items():
        yield Entry(name, "scikit-learn", ZIPPED, "ONNX", partial(regressor, make))
    yield Entry("Columns of words and numbers", "scikit-learn", ZIPPED, "ONNX", columns, MAPS)
    yield Entry("Words of texts (TF-IDF)", "scikit-learn", ZIPPED, "ONNX", texts, MAPS)
    yield Entry("Principal components", "scikit-learn", ZIPPED, "ONNX", components)
    yield Entry("K-means", "scikit-learn", ZIPPED, "ONNX", clusters)
    for kind in ("classifier", "two classes", "regression"):
        note = "" if kind == "regression" else MAPS
        made = partial(of_lightgbm, kind)
        yield Entry(f"LightGBM, {kind}", "lightgbm", ZIPPED, "ONNX", made, note, short=True)
        made = partial(of_xgboost, kind)
        yield Entry(f"XGBoost, {kind}", "xgboost-cpu", ZIPPED, "ONNX", made, short=True)


@cache
def irises() -> tuple[Any, Any]:
    """Returns 150 rows of four floats, and the class of each."""
    rows, classes = datasets.load_iris(return_X_y=True)
    return rows.astype(np.float32), classes


@cache
def patients() -> tuple[Any, Any]:
    """Returns 442 rows of ten floats, and a number for each."""
    rows, numbers = datasets.load_diabetes(return_X_y=True)
    return rows.astype(np.float32), numbers.astype(np.float32)


def shown(rows: Array) -> list[Array]:
    """Returns one row, and twenty others."""
    return [rows[:1], rows[-20:]]


def blob_of(model: Any, *arguments: Any, **options: Any) -> bytes:
    """Converts a model with skl2onnx."""
    try:
        blob: bytes = to_onnx(model, *arguments, **options).SerializeToString()
    except (NotImplementedError, RuntimeError, ValueError) as error:
        raise NotWritable(str(error).partition(" with ")[0]) from error
    return blob


def answers(model: Any, rows: Any) -> list[Array]:
    """Returns the classes of rows and their probabilities, as the converted model does."""
    labels = model.predict(rows)
    labels = labels.astype(object if labels.dtype.kind in "UO" else np.int64)
    if labels.dtype == object:
        labels = np.array([each.encode() for each in labels], object)
    return [labels, model.predict_proba(rows).astype(np.float32)]


def classifier(
    make: Callable[[], Any], _: Size, *, zipped: bool, labels: Array | None = None
) -> Made:
    """Trains a classifier of irises."""
    rows, classes = irises()
    model = make().fit(rows, classes if labels is None else labels[classes])
    options = None if zipped else {id(model): {"zipmap": False}}
    if options and isinstance(model, pipeline.Pipeline):
        options = {id(model.steps[-1][1]): {"zipmap": False}}
    blob = blob_of(model, rows[:1], options=options)
    cases = [Case({"x": each}, answers(model, each)) for each in shown(rows)]
    return Made(blob, cases, tolerance=TOLERANCE)


def regressor(make: Callable[[], Any], _: Size) -> Made:
    """Trains a regressor of patients."""
    rows, numbers = patients()
    model = make().fit(rows, numbers)
    cases = [
        Case({"x": each}, [model.predict(each).astype(np.float32).reshape(-1, 1)])
        for each in shown(rows)
    ]
    return Made(blob_of(model, rows[:1]), cases, tolerance=TOLERANCE)


def columns(_: Size) -> Made:
    """Trains a pipeline that takes a column of words and one of numbers, each an input."""
    import pandas as pd  # noqa: PLC0415 - which this one needs alone

    rows, classes = irises()
    table = pd.DataFrame({"length": rows[:, 0], "colour": np.array(["red", "blue"])[classes % 2]})
    model = pipeline.make_pipeline(
        ColumnTransformer(
            [
                ("number", preprocessing.StandardScaler(), ["length"]),
                ("word", preprocessing.OneHotEncoder(handle_unknown="ignore"), ["colour"]),
            ]
        ),
        linear_model.LogisticRegression(max_iter=1000),
    ).fit(table, classes)
    types = [("length", FloatTensorType([None, 1])), ("colour", StringTensorType([None, 1]))]
    cases = []
    for part in (table[:1], table[-20:]):
        inputs = {
            "length": part[["length"]].to_numpy(np.float32),
            "colour": part[["colour"]].to_numpy(object),
        }
        cases.append(Case(inputs, answers(model, part)))
    return Made(blob_of(model, initial_types=types), cases, tolerance=TOLERANCE)


def texts(_: Size) -> Made:
    """Trains a pipeline that takes texts."""
    given = np.array(
        ["Good fast server", "slow server", "good model", "slow bad model"] * 5, object
    )
    classes = np.array([1, 0, 1, 0] * 5)
    model = pipeline.make_pipeline(TfidfVectorizer(), linear_model.LogisticRegression())
    model.fit(given, classes)
    blob = blob_of(model, initial_types=[("texts", StringTensorType([None]))])
    cases = [Case({"texts": each}, answers(model, each)) for each in shown(given)]
    return Made(blob, cases, tolerance=TOLERANCE)


def components(_: Size) -> Made:
    """Fits a projection."""
    rows = irises()[0]
    model = decomposition.PCA(2).fit(rows)
    cases = [Case({"x": each}, [model.transform(each)]) for each in shown(rows)]
    return Made(blob_of(model, rows[:1]), cases, tolerance=TOLERANCE)


def clusters(_: Size) -> Made:
    """Finds clusters: returns the nearest one, and the distances to all."""
    rows = irises()[0]
    model = cluster.KMeans(3, random_state=0, n_init=3).fit(rows)
    cases = [
        Case({"x": each}, [model.predict(each).astype(np.int64), model.transform(each)])
        for each in shown(rows)
    ]
    return Made(blob_of(model, rows[:1]), cases, tolerance=1e-3)


def trees(kind: str, classes_of: Any, numbers_of: Any) -> tuple[Any, Array, list[Case]]:
    """Trains a model of boosted trees; returns it with the rows and what it makes of some."""
    if kind == "regression":
        rows, numbers = patients()
        model = numbers_of(n_estimators=10).fit(rows, numbers)
        cases = [
            Case({"x": each}, [model.predict(each).astype(np.float32).reshape(-1, 1)])
            for each in shown(rows)
        ]
        return model, rows, cases
    rows, classes = irises()
    if kind == "two classes":
        rows, classes = rows[classes < 2], classes[classes < 2]
    model = classes_of(n_estimators=10).fit(rows, classes)
    return model, rows, [Case({"x": each}, answers(model, each)) for each in shown(rows)]


def of_lightgbm(kind: str, _: Size) -> Made:
    """Trains a model of LightGBM."""
    quiet = {"verbose": -1}
    model, rows, cases = trees(
        kind,
        partial(lightgbm.LGBMClassifier, **quiet),
        partial(lightgbm.LGBMRegressor, **quiet),
    )
    types = [("x", FloatsOfTrees([None, rows.shape[1]]))]
    blob = convert_lightgbm(model, initial_types=types, target_opset=15).SerializeToString()
    return Made(blob, cases, tolerance=TOLERANCE)


def of_xgboost(kind: str, _: Size) -> Made:
    """Trains a model of XGBoost."""
    model, rows, cases = trees(kind, xgboost.XGBClassifier, xgboost.XGBRegressor)
    types = [("x", FloatsOfTrees([None, rows.shape[1]]))]
    blob = convert_xgboost(model, initial_types=types, target_opset=15).SerializeToString()
    return Made(blob, cases, tolerance=TOLERANCE)
