"""What users read when something fails."""

import pytest

from tensorkeep_tflite.messages import NO_INVOKE, because

NONE = "LiteRT gives no reason, as when there is not enough memory"


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (
            "tflite/kernels/pad.cc:177 2 != 3Node number 0 (PAD) failed to invoke.",
            "Failed to invoke TfLite: 2 != 3 Node number 0 (PAD) failed to invoke.",
        ),
        (
            "Node number 7 (FILL) failed to invoke.",
            f"Failed to invoke TfLite: Node number 7 (FILL) failed to invoke. {NONE}",
        ),
        (
            "",
            f"Failed to invoke TfLite: {NONE}",
        ),
    ],
)
def test_reasons_are_made_fit_to_be_read_and_none_is_said(reason, text):
    assert because(NO_INVOKE, RuntimeError(reason)) == text
