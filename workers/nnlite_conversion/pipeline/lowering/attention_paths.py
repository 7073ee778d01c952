"""Follows PyTorch's own attention layers to the kernels that they take outside of a trace.

torch.export traces `nn.MultiheadAttention` and `nn.TransformerEncoder` as they compute in training. At
inference they may take kernels, which return NaN for rows whose mask excludes every place, and zeros for what
`src_key_padding_mask` excludes where the padding is at the end.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any
from unittest.mock import patch

import torch
from torch.fx import traceback

#: Marks the nodes of a layer that PyTorch computes by a kernel, in their `meta["custom"]`.
_KERNEL = "attention_kernel"
_Forward = Callable[..., Any]


@contextmanager
def as_kernels_compute() -> Iterator[None]:
    """Trace attention layers inside the block so that it is known what their kernels return."""
    attention, layer, encoder = (
        torch.nn.MultiheadAttention,
        torch.nn.TransformerEncoderLayer,
        torch.nn.TransformerEncoder,
    )
    with (
        patch.object(attention, "forward", _marked(attention.forward, _attention_takes_kernel)),
        patch.object(layer, "forward", _marked(layer.forward, _layer_takes_kernel)),
        patch.object(encoder, "forward", _with_zeros_for_padding(encoder.forward)),
    ):
        yield


def is_of_kernel(node: torch.fx.Node) -> bool:
    """Whether PyTorch computes a node of the exported graph by an attention layer's kernel."""
    return _KERNEL in node.meta.get("custom", {})


def _marked(forward: _Forward, takes_kernel: Callable[..., bool]) -> _Forward:
    """Return a `forward` that marks what it computes where a layer's kernel would compute it."""
    signature = inspect.signature(forward)

    @wraps(forward)
    def marked(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        if not takes_kernel(**given.arguments):
            return forward(*args, **kwargs)
        with traceback.preserve_node_meta(), traceback.annotate({_KERNEL: True}):
            return forward(*args, **kwargs)

    return marked


def _attention_takes_kernel(
    self: Any,
    *,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    key_padding_mask: torch.Tensor | None,
    attn_mask: torch.Tensor | None,
    **_: bool,
) -> bool:
    """Whether `MultiheadAttention.forward` takes its kernel; its conditions in PyTorch 2.13."""
    masks = [mask for mask in (key_padding_mask, attn_mask) if mask is not None]
    return (
        bool(masks)
        and _allows_kernels(self, query)
        and query is key is value
        and not any(mask.is_floating_point() for mask in masks)
        and _projects_at_once(self)
        and query.dtype == self.in_proj_weight.dtype == self.in_proj_bias.dtype
        and self.bias_k is self.bias_v is None
        and not self.add_zero_attn
    )


def _layer_takes_kernel(
    self: Any,
    *,
    src: torch.Tensor,
    src_mask: torch.Tensor | None,
    src_key_padding_mask: torch.Tensor | None,
    **_: bool,
) -> bool:
    """Whether `TransformerEncoderLayer.forward` takes its kernel; its conditions in PyTorch 2.13."""
    return (
        not (src_mask is src_key_padding_mask is None)
        and _allows_kernels(self, src)
        and _projects_at_once(self.self_attn)
        and bool(self.activation_relu_or_gelu)
        and self.norm1.eps == self.norm2.eps
        and not any(each._forward_hooks or each._forward_pre_hooks for each in self.modules())
    )


def _allows_kernels(layer: torch.nn.Module, x: torch.Tensor) -> bool:
    enabled = torch.backends.mha.get_fastpath_enabled() and not torch.is_autocast_enabled()
    for_gradients = torch.is_grad_enabled() and any(each.requires_grad for each in layer.parameters())
    return enabled and not for_gradients and not layer.training and x.dim() == 3


def _projects_at_once(attention: Any) -> bool:
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    return (
        weight is not None
        and bias is not None
        and bool(attention.batch_first)
        and attention.num_heads % 2 == 0
    )


def _with_zeros_for_padding(forward: _Forward) -> _Forward:
    """Return a `forward` of encoders that gives zeros for padding where a nested tensor leaves it out."""

    @wraps(forward)
    def with_zeros(
        encoder: Any,
        src: torch.Tensor,
        mask: torch.Tensor | None = None,
        src_key_padding_mask: torch.Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Any:
        leaves_out = (
            src_key_padding_mask is not None
            and mask is None
            and _allows_kernels(encoder.layers[0], src)
            and getattr(encoder, "use_nested_tensor", False)
        )
        if not leaves_out:
            return forward(encoder, src, mask, src_key_padding_mask, is_causal)
        norm, encoder.norm = encoder.norm, None
        try:
            output = forward(encoder, src, mask, src_key_padding_mask, is_causal)
        finally:
            encoder.norm = norm
        left_out = _left_out(src_key_padding_mask, checked=getattr(encoder, "mask_check", True))
        output = output.masked_fill(left_out.unsqueeze(-1), 0.0)
        return output if norm is None else norm(output)

    return with_zeros


def _left_out(mask: Any, *, checked: bool) -> torch.Tensor:
    """Return which places of sequences a nested tensor leaves out: all padding, if it is all at the ends.

    Args:
        checked: whether the encoder looks; otherwise it takes for granted that they are at the ends.
    """
    padding = mask if mask.dtype is torch.bool else mask != 0
    if not checked:
        return padding
    at_end = (padding[:, 1:] | ~padding[:, :-1]).all()
    return padding & at_end
