"""What single operators do: which may be used, which write, which leave memory as they found it.

torch has some 4,000 operators, and each release brings more. So an operator is allowed by what is
known of it: its namespace, whether its name is public, and the types of what it takes and returns.

What is refused would take files or memory at their word. Files are kept from a worker in a process
of its own anyway, and what merely ends that process costs one error; but the memory of a worker
holds what other clients sent. This module knows operators by their schemas; graphs are looked
through by others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from tensorkeep_torch.internals import has_composite_kernel, schemas_of

if TYPE_CHECKING:
    from tensorkeep_torch.internals import Native

# --------------------------------------------------------------------------- which may be used
_NAMESPACES: Final = frozenset(("aten", "prim", "quantized", "torchvision"))
# Nodes of structure that torch's own compilers make and no archive has, or that reach further.
_MADE_BY_COMPILERS: Final = re.compile(
    r"prim::(?:\w*(?:Graph|Group|Guard|MKLDNN\w*|Subgraph)|B(?:ail[Oo]ut\w*)|\w+Check"
    r"|IgnoredPythonOp|StaticRuntime\w+|id|mkldnn_\w+|profile\w*|rpc_\w+)"
)
# Internal operators of aten that traced, scripted or exported models have, and that look at what
# they are given as their public brothers do.
_INTERNAL: Final = re.compile(
    r"_(?:adaptive_avg_pool[23]d|add_relu_?|addmm_activation|aminmax|assert_\w+"
    r"|batch_norm_(?:impl_index|no_update|with_update|with_update_functional)|cast_[A-Z]\w+"
    r"|cdist_forward|choose_qparams_per_tensor|chunk_cat|coalesce|compute_linear_combination"
    r"|conj|conj_copy|conj_physical|conv_depthwise2d|convolution|convolution_mode|ctc_loss"
    r"|cummax_helper|cummin_helper|dim_arange|dimI|dimV|embedding_bag|embedding_bag_forward_only"
    r"|empty_affine_quantized|empty_per_channel_affine_quantized|euclidean_dist"
    r"|fake_quantize_\w+|fft_(?:c2c|c2r|r2c)|foreach_\w+|functional_assert_\w+"
    r"|functional_sym_constrain_range\w*|fused_dropout|fused_moving_avg_obs_fq_helper"
    r"|fused_moving_avg_obs_fq_helper_functional|fused_rms_norm|get_tracing_state"
    r"|grad_sum_to_size|grouped_mm|grid_sampler_2d_cpu_fallback|histogramdd_\w+|index_put_impl_?|infer_size"
    r"|int_mm|is_all_true|is_any_true|linalg_\w+|list_to_tensor|local_scalar_dense|log_softmax"
    r"|logcumsumexp|lu_with_info|make_per_channel_quantized_tensor"
    r"|make_per_tensor_quantized_tensor|masked_scale|masked_softmax"
    r"|native_batch_norm_legit\w*|native_multi_head_attention|neg_view|neg_view_copy"
    r"|nested_(?:from_padded|tensor_from_mask|tensor_from_mask_left_aligned"
    r"|tensor_from_tensor_list)|nnz|no_grad_\w+|pack_padded_sequence|pack_sequence"
    r"|pad_circular|pad_enum|pad_packed_sequence|pdist_forward|prelu_kernel|reshape_copy"
    r"|reshape_from_tensor|safe_softmax|sample_dirichlet|saturate_weight_to_fp16"
    r"|scaled_dot_product_\w+|scaled_mm|set_item|shape_as_tensor|size_if_not_equal|softmax"
    r"|sparse_(?:addmm|log_softmax|mm|softmax|sparse_matmul|sum)|stack|standard_gamma"
    r"|tensor_to_list|thnn_\w+|to_copy|to_dense|to_sparse\w*|transform_bias_rescale_qkv"
    r"|transformer_encoder_layer_fwd|trilinear|unique2?|unsafe_(?:index|index_put|view)"
    r"|unsafe_masked_index|unsafe_masked_index_put_accumulate|unwrap_optional|upsample_\w+"
    r"|values|values_copy|version|weight_int8pack_mm|weight_norm|weight_norm_interface)"
)
# Types of what is no tensor, number, text, container of those, or packed weights.
_FOREIGN: Final = re.compile(
    r"\b(?:Capsule|RRef|Storage|Stream)\b|__torch__\.torch\.classes\.(?!quantized\.|rnn\.)"
)
# Parameters that are taken at their word: where a file is, that indices lie within their tensor
# (kernels for sparse tensors do not look again), that a piece of memory holds a C++ object.
_BELIEVED: Final = frozenset(
    (
        "ccol_indices",
        "compressed_indices",
        "context_id",
        "crow_indices",
        "filename",
        "packed_ih",
        "plain_indices",
        "unsafe",
    )
)
_GIVES_INDICES: Final = re.compile(r"(?:c?col|c?row)?_?indices(?:_copy)?")  # to be written to
_BELIEVES: Final = re.compile(
    r"sparse_coo_tensor|(?:resize_as_)?sparse_(?:resize\w*)?_?|copy_sparse_to_sparse_?"
    r"|(?:cudnn|fbgemm|miopen)_\w+|mkldnn_rnn_layer\w*|\w+_legacy|slice_inverse"
)

# --------------------------------------------------------------------------- which write
_STATISTICS: Final = re.compile(r"running_\w+|q?accum")  # parameters written to without a word
_IN_TRAINING: Final = ("training", "use_input_stats")  # the parameter that says whether
_KEEP_STATISTICS: Final = re.compile(
    r"aten::(?:_native_batch_norm_legit_no_training|_batch_norm_no_update|\w+_functional"
    r"|\w+_backward)"
)

# --------------------------------------------------------------------------- which fill
_UNFILLED: Final = re.compile(
    r"\w*(?:empty|resize)\w*|set_?|set_data|geqrf|cholesky\w*|lu_\w+|linalg_\w+|_linalg_\w+"
    r"|\w+_out"
)
_GROWS: Final = re.compile(r"aten::(?:\w*resize\w*|set_?|set_data)")
_FILL: Final = re.compile(
    r"_aminmax|_batch_norm_\w+|_ctc_loss|_embedding_bag_forward_only|_fake_quantize_\w+"
    r"|_foreach_\w+|_fused_\w+|_native_\w+|_pack_padded_sequence|_pad_packed_sequence"
    r"|_scaled_dot_product_\w+|_thnn_\w+|_transform_bias_rescale_qkv|_unique2?|_unpack_\w+"
    r"|_weight_norm\w*"
)

# --------------------------------------------------------------------------- which alias
# Made of other operators, and yet always with memory of their own for what they return.
_FRESH: Final = re.compile(
    r"aten::(?:__(?:and|or|xor)__|__interpolate|__upsample\w*|_batch_norm_impl_index"
    r"|_convolution(?:_mode)?|_weight_norm|absolute|adaptive_\w+|argsort|avg_pool1d|batch_norm"
    r"|bilinear|cdist|clip|concat|concatenate|conv\w+|cosine_similarity|cross|cross_entropy_loss"
    r"|ctc_loss|divide|embedding_bag|fake_quantize_\w+|fft_\w+|float_power|greater\w*|grid_sampler"
    r"|group_norm|gru|gru_cell|index|index_put|instance_norm|isclose|isfinite|kl_div|kron|l1_loss"
    r"|layer_norm|less\w*|linalg_norm|linear|log_sigmoid|log_softmax|lstm|lstm_cell|matmul|max"
    r"|max_pool\w+|min|msort|multiply|nanmean|negative|nll_loss\w*|not_equal|one_hot|outer|pad"
    r"|pad_sequence|pairwise_distance|pdist|prelu|quantile|relu6|repeat_interleave|rms_norm|rnn_\w+"
    r"|rrelu|scaled_dot_product_attention|selu|softmax|special_\w+|square|std\w*|subtract|tensor"
    r"|tile|true_divide|upsample_\w+|var\w*|where)"
)
_VIEWS_UNMARKED: Final = re.compile(r"aten::_?unsafe_(?:view|chunk|split\w*)")


@dataclass(frozen=True, slots=True)
class Operator:
    """What is known of an operator, or of one of its overloads.

    Attributes:
        allowed: Whether models and scripts may use it.
        writes: The numbers of the parameters whose memory it writes to.
        tensors: Whether one of those is of tensors.
        training: The number of the parameter that says whether it writes at all; None if none.
        fills: Whether it fills all memory that it makes room for.
        aliases: The numbers of the parameters whose memory its results may share, None for all.
        own: Whether the lists and dicts that it returns are its own, whatever lies in them.
    """

    allowed: bool
    writes: frozenset[int]
    tensors: bool
    training: int | None
    fills: bool
    aliases: frozenset[int] | None
    own: bool


STRUCTURE: Final = Operator(
    allowed=True,
    writes=frozenset(),
    tensors=False,
    training=None,
    fills=True,
    aliases=None,
    own=False,
)
"""What nodes of structure are."""
_REFUSED: Final = Operator(
    allowed=False,
    writes=frozenset(),
    tensors=True,
    training=None,
    fills=False,
    aliases=None,
    own=False,
)


def operator_of(node: Native) -> Operator:
    """Returns what is known of the operator of a node."""
    kind: str = node.kind()
    known = of_kind(kind)
    return of_schema(node.schema()) if known is None else known


@cache
def of_kind(kind: str) -> Operator | None:
    """Returns what is known of an operator, None where that depends on the overload."""
    if kind.startswith("prim::"):
        return _REFUSED if _MADE_BY_COMPILERS.fullmatch(kind) else STRUCTURE
    schemas = schemas_of(kind)
    if not schemas:
        return _REFUSED
    first, *others = {_of_parsed(each) for each in schemas}
    return None if others else first


@cache
def of_schema(schema: str) -> Operator:
    """Returns what is known of the overload with a schema."""
    kind = re.split(r"[.(]", schema, maxsplit=1)[0]
    found = (_of_parsed(each) for each in schemas_of(kind) if str(each) == schema)
    return next(found, _REFUSED)


def grows(kind: str) -> bool:
    """Returns whether an operator may give a tensor more memory, and leave that as it was."""
    return _GROWS.fullmatch(kind) is not None


def is_class_allowed(name: str) -> bool:
    """Returns whether objects of a class may be had; of those in C++, packed weights alone."""
    return _FOREIGN.search(name) is None


def _of_parsed(schema: Native) -> Operator:
    writes, training = _writes(schema)
    return Operator(
        _is_allowed(schema),
        writes,
        any("Tensor" in schema.arguments[index].type.annotation_str for index in writes),
        training,
        _fills(schema),
        _aliases(schema),
        all(each.alias_info is None for each in schema.returns),
    )


def _is_allowed(schema: Native) -> bool:
    namespace, _, name = schema.name.partition("::")
    if namespace not in _NAMESPACES or _BELIEVES.fullmatch(name) or _GIVES_INDICES.fullmatch(name):
        return False
    internal = name.startswith("_") and not name.startswith("__")
    if internal and not (namespace == "aten" and _INTERNAL.fullmatch(name)):
        return False
    if any(each.name in _BELIEVED for each in schema.arguments):
        return False
    types = (each.type.annotation_str for each in (*schema.arguments, *schema.returns))
    return not any(_FOREIGN.search(each) for each in types)


def _writes(schema: Native) -> tuple[frozenset[int], int | None]:
    names = [each.name for each in schema.arguments]
    declared = frozenset(index for index, each in enumerate(schema.arguments) if _is_written(each))
    if _KEEP_STATISTICS.fullmatch(schema.name):
        return declared, None
    if schema.name.endswith(("_", "::backward")) and not (declared or schema.name.endswith("__")):
        return frozenset(range(len(names))), None
    silent = {index for index, name in enumerate(names) if _STATISTICS.fullmatch(name)}
    switches = [names.index(name) for name in _IN_TRAINING if name in names]
    switch = switches[0] if silent and switches and declared.issubset(silent) else None
    return declared | silent, switch


def _fills(schema: Native) -> bool:
    name = schema.name.partition("::")[2]
    if _UNFILLED.fullmatch(name) or "out" in schema.overload_name.split("_"):
        return False
    internal = name.startswith("_") and not name.startswith("__")
    tensors = sum("Tensor" in each.type.annotation_str for each in schema.returns)
    return not internal or tensors <= 1 or _FILL.fullmatch(name) is not None


def _aliases(schema: Native) -> frozenset[int] | None:
    """Returns which parameters' memory results may share: those that the schema marks alike.

    Where the schema has no marks, it is to be believed of what has a kernel of its own, for torch
    checks those, but not of what is made of other operators.
    """
    marked = [each.alias_info.before_set for each in schema.returns if each.alias_info is not None]
    if any("*" in each for each in marked) or any(
        each.alias_info is not None and "*" in each.alias_info.after_set
        for each in schema.arguments
    ):
        return None
    if marked:
        sets = frozenset().union(*marked)
        return frozenset(
            index
            for index, each in enumerate(schema.arguments)
            if each.alias_info is not None and sets.intersection(each.alias_info.before_set)
        )
    if _VIEWS_UNMARKED.fullmatch(schema.name):
        return None
    if _FRESH.fullmatch(schema.name):
        return frozenset()
    if not schema.name.startswith("aten::"):
        return frozenset() if schema.name.startswith(("quantized::", "torchvision::")) else None
    return None if has_composite_kernel(schema.name, schema.overload_name) else frozenset()


def _is_written(argument: Native) -> bool:
    return argument.alias_info is not None and argument.alias_info.is_write
