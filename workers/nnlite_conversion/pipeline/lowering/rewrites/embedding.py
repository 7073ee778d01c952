"""Rewrites bags of embeddings, and embeddings whose norm is limited."""

import torch

from nnlite_conversion.pipeline.lowering.rewrites.graph import require_few

_SUM, _MEAN = 0, 1


def embedding_bag_by_comparison(  # noqa: PLR0917  (the parameters of the operator)
    weight: torch.Tensor,
    indices: torch.Tensor,
    offsets: torch.Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = _SUM,
    sparse: bool = False,
    per_sample_weights: torch.Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int = -1,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compute `_embedding_bag`; the three results behind the first, which only gradients need, are zeros."""
    numbers = torch.arange(indices.shape[0])
    begins = offsets[:-1] if include_last_offset else offsets
    ends = torch.cat([begins[1:], offsets[-1:] if include_last_offset else numbers.shape[0] + 0 * begins[:1]])
    inside = (numbers >= begins.unsqueeze(-1)) & (numbers < ends.unsqueeze(-1))
    if padding_idx >= 0:
        inside = inside & (indices != padding_idx)
    rows = weight[indices]
    require_few(inside.numel() * rows.shape[-1], "a bag of embeddings", "use smaller bags")
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(-1)
    if mode in (_SUM, _MEAN):
        result = torch.where(inside.unsqueeze(-1), rows, 0).sum(1)
        if mode == _MEAN:
            result = result / inside.to(weight.dtype).sum(-1, keepdim=True).clamp(min=1)
    else:
        # Within the range of the rows, which int8 depends on.
        result = torch.where(inside.unsqueeze(-1), rows, rows.amin(0)).amax(1)
        result = torch.where(inside.any(-1, keepdim=True), result, 0)
    unused = torch.zeros_like(offsets)
    return result, torch.zeros_like(indices), unused, unused


def rows_of_limited_norm(
    weight: torch.Tensor, indices: torch.Tensor, max_norm: float, norm_type: float
) -> torch.Tensor:
    """Compute `embedding_renorm`, of all rows: those that are not looked up do not matter."""
    norm = torch.linalg.vector_norm(weight, ord=norm_type, dim=-1, keepdim=True)
    return torch.where(norm > max_norm, weight * (max_norm / (norm + 1e-7)), weight)
