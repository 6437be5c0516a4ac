"""What is known of operators decides whether they may be used, and how careful a run has to be."""

import pytest
import torch

from tensorkeep_torch.operators import of_kind, of_schema


def schema(name, overload=""):
    return str(torch._C._get_schema(name, overload))


def overloads(name):
    """Returns what is known of an operator: of each overload where they differ."""
    known = of_kind(name)
    if known is not None:
        return [known]
    return [of_schema(str(each)) for each in torch._C._jit_get_schemas_for_operator(name)]


@pytest.mark.parametrize(
    "name",
    [
        "_test::leaky_relu",
        "aten::_coalesced_",
        "aten::_make_dual",
        "aten::_mkldnn_reshape",
        "aten::_nested_view_from_buffer",
        "aten::_pin_memory",
        "aten::_print",
        "aten::_reshape_alias",
        "aten::_resize_output_",
        "aten::_sparse_coo_tensor_unsafe",
        "aten::_sparse_csr_tensor_unsafe",
        "aten::_triton_scaled_dot_attention",
        "aten::crow_indices",
        "aten::fbgemm_pack_quantized_matrix",
        "aten::from_file",
        "aten::get_gradients",
        "aten::indices",
        "aten::mkldnn_rnn_layer",
        "aten::record_stream",
        "aten::save",
        "aten::segment_reduce",
        "aten::sparse_coo_tensor",
        "aten::sparse_resize_",
        "aten::there_is_no_such_operator",
        "aten::to_here",
        "c10d::send",
        "debugprims::load_tensor",
        "image::read_file",
        "inductor::_alloc_from_pool",
        "inductor::_reinterpret_tensor",
        "inductor::resize_storage_bytes_",
        "mkldnn::data_ptr",
        "prim::FusionGroup",
        "prim::IgnoredPythonOp",
        "prim::TensorExprGroup",
        "prim::id",
        "prim::rpc_sync",
        "prims::as_strided",
        "profiler::_record_function_enter",
        "profiler::_record_function_exit",
        "quantized::linear_prepack_legacy",
        "static_runtime::create_owned_ref",
        "symm_mem::one_shot_all_reduce",
    ],
)
def test_what_takes_memory_files_or_processes_or_is_internal_is_not_allowed(name):
    assert not any(each.allowed for each in overloads(name))


def test_one_overload_may_be_allowed_and_another_not():
    assert of_kind("aten::set_") is None
    assert of_schema(schema("aten::set_", "source_Tensor")).allowed
    assert not of_schema(schema("aten::set_", "source_Storage_storage_offset")).allowed


@pytest.mark.parametrize(
    "name",
    [
        "aten::_convolution",
        "aten::_native_batch_norm_legit_no_training",
        "aten::_pack_padded_sequence",
        "aten::_softmax",
        "aten::_to_copy",
        "aten::_transformer_encoder_layer_fwd",
        "aten::_unsafe_view",
        "aten::_upsample_bilinear2d_aa",
        "aten::append",
        "aten::as_strided",
        "aten::einsum",
        "aten::embedding_bag",
        "aten::format",
        "aten::linalg_svd",
        "aten::lstm",
        "aten::quantized_lstm",
        "aten::scaled_dot_product_attention",
        "aten::scatter_reduce",
        "aten::to_mkldnn",
        "aten::warn",
        "prim::If",
        "prim::RaiseException",
        "prim::tolist",
        "quantized::linear",
        "quantized::linear_dynamic",
    ],
)
def test_what_models_are_made_of_is_allowed(name):
    assert all(each.allowed for each in overloads(name))


def test_every_operator_of_torch_has_an_answer():
    known = [of_schema(str(each)) for each in torch._C._jit_get_all_schemas()]

    allowed = sum(each.allowed for each in known)
    assert len(known) / 2 < allowed < len(known)


@pytest.mark.parametrize(
    ("name", "overload", "written"),
    [
        ("aten::add", "Tensor", set()),
        ("aten::add_", "Tensor", {0}),
        ("aten::add", "out", {3}),
        ("aten::_foreach_add_", "Scalar", {0}),
        ("aten::native_batch_norm", "", {3, 4}),
        ("aten::batch_norm_update_stats", "", {1, 2}),
        ("aten::instance_norm", "", {3, 4}),
        ("aten::_native_batch_norm_legit", "", {3, 4}),
        ("aten::_native_batch_norm_legit_no_training", "", set()),
        ("aten::_native_batch_norm_legit_functional", "", set()),
        ("aten::_no_grad_embedding_renorm_", "", {0, 1, 2, 3}),
        ("aten::__and__", "Tensor", set()),
    ],
)
def test_what_is_written_is_known_also_where_the_schema_keeps_silent(name, overload, written):
    assert of_schema(schema(name, overload)).writes == written


@pytest.mark.parametrize(
    ("name", "overload", "fills"),
    [
        ("aten::empty", "memory_format", False),
        ("aten::empty_quantized", "", False),
        ("aten::_empty_affine_quantized", "", False),
        ("aten::new_empty_strided", "", False),
        ("aten::resize_as_", "", False),
        ("aten::set_", "source_Tensor", False),
        ("aten::linalg_eig", "", False),
        ("aten::add", "out", False),
        ("aten::zeros", "", True),
        ("aten::conv2d", "", True),
        ("aten::_native_batch_norm_legit_no_training", "", True),
    ],
)
def test_what_may_leave_memory_as_it_was_is_known(name, overload, fills):
    assert of_schema(schema(name, overload)).fills is fills


@pytest.mark.parametrize(
    ("name", "overload", "aliases"),
    [
        ("aten::relu_", "", {0}),
        ("aten::view", "", {0}),
        ("aten::add", "Tensor", set()),
        ("aten::conv2d", "", set()),
        ("aten::batch_norm", "", set()),
        ("aten::dropout", "", None),  # returns its input when it is off
        ("aten::broadcast_tensors", "", None),
        ("aten::unsafe_split", "Tensor", None),
        ("aten::append", "t", None),
    ],
)
def test_what_results_share_their_memory_with_is_known(name, overload, aliases):
    assert of_schema(schema(name, overload)).aliases == aliases
