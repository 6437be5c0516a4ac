"""Which operators are taken, and with which options, as far as LiteRT does not look itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorkeep_tflite.operators import COUNTS, DETECTION, LARGEST_SIZE, LAST_KNOWN, SIZES, Op

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorkeep_tflite.modelfile import Operator

# Operators that are not taken: LiteRT was seen to end the process for numbers among their options
# or in what they are given at run time, and checking those here would be to run them.
UNCHECKED: Final = frozenset(
    (
        Op.EMBEDDING_LOOKUP_SPARSE,
        Op.RANDOM_STANDARD_NORMAL,
        Op.RANDOM_UNIFORM,
        Op.REVERSE_SEQUENCE,
        Op.STABLEHLO_SCATTER,
        Op.STABLEHLO_REDUCE_WINDOW,
        Op.STABLEHLO_GATHER,
        Op.DILATE,
        Op.REDUCE_WINDOW,
        Op.STABLEHLO_CASE,
    )
)
# Operators that keep something from one run to the next. One interpreter's variables are another's,
# so runs would not be independent; and LiteRT writes beyond the memory of a variable that grows.
VARIABLES: Final = frozenset((Op.VAR_HANDLE, Op.READ_VARIABLE, Op.ASSIGN_VARIABLE))
# What the custom operator that is taken must be told, and between what.
_DETECTION: Final = {
    "max_detections": (1, 10_000),
    "max_classes_per_detection": (1, 10_000),
    "num_classes": (1, 10_000),
    "nms_score_threshold": (-1e9, 1e9),
    "nms_iou_threshold": (0, 1),
    "y_scale": (1e-9, 1e9),
    "x_scale": (1e-9, 1e9),
    "h_scale": (1e-9, 1e9),
    "w_scale": (1e-9, 1e9),
}
_DETECTION_MORE: Final = {"detections_per_class": (1, 10_000), "use_regular_nms": (0, 1)}


def refusal(operator: Operator) -> str:
    """Returns why an operator is not taken at all; nothing if it is."""
    if operator.code in VARIABLES:
        return "keeps a variable from one run to the next, which is not supported"
    if operator.code in UNCHECKED or operator.code > LAST_KNOWN:
        return "is not supported: what LiteRT does with it is not safe, or not known here"
    if operator.custom.startswith("Flex"):
        return f"is {operator.custom} of TensorFlow: convert the model with builtin operators only"
    if operator.code == Op.CUSTOM and operator.custom != DETECTION:
        return f"is {operator.custom!r}: no such custom operator is supported"
    return ""


def fault_of_options(operator: Operator) -> str:
    """Returns what is wrong with the options of an operator; nothing if they suit."""
    code, numbers = operator.code, operator.numbers
    if operator.custom:
        return _fault_of_settings(operator.settings)
    if numbers is None:
        return "lacks its options"
    if code in COUNTS and numbers != (len(operator.outputs),):
        return "has another number of outputs than its options say"
    if code in SIZES and not 0 < min(numbers) <= max(numbers) <= LARGEST_SIZE:
        return "has a size among its options that makes no sense"
    return ""


def _fault_of_settings(settings: Mapping[str, float] | None) -> str:
    if settings is None or not _DETECTION.keys() <= settings.keys():
        return "lacks its options"
    for name, (least, largest) in (_DETECTION | _DETECTION_MORE).items():
        if not least <= settings.get(name, largest) <= largest:
            return f"has a {name} that makes no sense"
    return ""
