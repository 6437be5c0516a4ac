"""Operators of ONNX Runtime's extensions: tokenizers, and what else comes before or after a model.

They come with another distribution, `onnxruntime-extensions`, that need not be installed. Those
named here compute from their inputs and attributes alone; others may read files by name, or ask
other machines, and are refused.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from tensorkeep.errors import ModelRejected

if TYPE_CHECKING:
    from collections.abc import Collection

_DOMAINS: Final = frozenset((b"ai.onnx.contrib", b"com.microsoft.extensions"))
_HARMLESS: Final = frozenset(
    b"""
    AudioDecoder BasicTokenizer BertTokenizer BertTokenizerDecoder BlingFireSentenceBreaker
    BpeDecoder CLIPTokenizer DecodeImage DrawBoundingBoxes EncodeImage GPT2Tokenizer HfBertTokenizer
    HfJsonTokenizer ImageDecoder Inverse MaskedFill MergeSignalSegments NegPos RaggedTensorToDense
    RaggedTensorToSparse RobertaTokenizer SegmentExtraction SentencepieceDecoder
    SentencepieceTokenizer SplitSignalSegments SpmTokenizer StftNorm StringConcat
    StringECMARegexReplace StringECMARegexSplitWithOffsets StringEqual StringHash StringHashFast
    StringJoin StringLength StringLower StringMapping StringRaggedTensorToDense StringRegexReplace
    StringRegexSplitWithOffsets StringSplit StringStrip StringToHashBucket StringToHashBucketFast
    StringToVector StringUpper TrieDetokenizer TrieTokenizer VectorToString WordpieceTokenizer
    """.split()
)


def library_for(operators: Collection[tuple[bytes, bytes]]) -> str:
    """Returns the library that ONNX Runtime has to load for a model; empty when it needs none.

    Args:
        operators: Domain and name of every operator of the model.

    Raises:
        ModelRejected: The extensions are needed and not installed, or an operator is not allowed.
    """
    needed = {name for domain, name in operators if domain in _DOMAINS}
    if not needed:
        return ""
    refused = sorted(name.decode("utf-8", "replace") for name in needed - _HARMLESS)
    if refused:
        raise ModelRejected(
            f"The operator {refused[0]} of onnxruntime-extensions is not allowed: it is not known"
            " to keep to the model"
        )
    try:
        extensions = import_module("onnxruntime_extensions")
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime_extensions":
            raise
        name = min(needed).decode("utf-8", "replace")
        raise ModelRejected(
            f"The operator {name} is one of ONNX Runtime's extensions, which are not installed on"
            " the server: pip install onnxruntime-extensions"
        ) from error
    path: str = extensions.get_library_path()
    return path
