"""Heads: from the hidden vector of a step to quantiles of its scaled residual, never crossing by construction.

Shapes: B windows, H horizon, Z hidden size, Q quantile levels, N bins.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

BINS = 64


def pinball(quantiles: Tensor, levels: Tensor, actual: Tensor) -> Tensor:
    """max(q e, (q - 1) e) per level, no factor 2: (B, H, Q) from `actual` (B, H)."""
    error = actual[..., None] - quantiles
    return torch.maximum(levels * error, (levels - 1) * error)


def _positive(raw: Tensor) -> Tensor:
    """`exp(raw)` below zero and `1 + raw` above.

    Not softplus: ONNX Runtime computes Softplus and Log with other last bits in the tail of a vector than within
    it, so that a series' forecast would depend on how many others share its batch. Exp does not.
    """
    return torch.exp(raw.clamp(max=0.0)) + raw.clamp(min=0.0)


class QuantileHead(nn.Module):
    """The median, and positive increments away from it on either side."""

    levels: Tensor

    def __init__(self, size: int, levels: tuple[float, ...], edges: Tensor) -> None:
        super().__init__()
        self.middle = levels.index(0.5)
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        self.out = nn.Linear(size, len(levels))
        nn.init.zeros_(self.out.weight)
        # Start near the spread of a standard residual, not at one that is far too wide or nil.
        nn.init.constant_(self.out.bias, -1.5)
        nn.init.zeros_(self.out.bias[self.middle : self.middle + 1])

    def forward(self, hidden: Tensor, shift: Tensor) -> Tensor:
        """(B, H, Z) -> (B, H, Q): median at the middle, moved by `shift` (B, H, 1), raw increments around it."""
        raw, m = self.out(hidden), self.middle
        return torch.cat([raw[..., :m], raw[..., m : m + 1] + shift, raw[..., m + 1 :]], dim=-1)

    def quantiles(self, raw: Tensor) -> Tensor:
        """(B, H, Q) scaled quantiles."""
        m = self.middle
        median = raw[..., m : m + 1]
        above = _positive(raw[..., m + 1 :]).cumsum(dim=-1)
        below = _positive(raw[..., :m]).flip(-1).cumsum(dim=-1).flip(-1)
        return torch.cat([median - below, median, median + above], dim=-1)

    def loss(self, raw: Tensor, actual: Tensor) -> Tensor:
        """(B, H) pinball loss of scaled residuals (B, H)."""
        return pinball(self.quantiles(raw), self.levels, actual).mean(dim=-1)


class SoftmaxHead(nn.Module):
    """Probabilities over bins of the scaled residual; quantiles by interpolating their cumulative sum.

    The density is constant within a bin, so its quantile function is piecewise linear. Residuals beyond the
    outer edges count with the outer bins.

    What follows from the edges is held beside them, so that the exported graph computes nothing with fitted numbers
    alone: the exporter would fold that, and the graph would fit no other network's weights (see weights.py).
    """

    levels: Tensor
    edges: Tensor
    low: Tensor
    width: Tensor
    centres: Tensor

    def __init__(self, size: int, levels: tuple[float, ...], edges: Tensor) -> None:
        super().__init__()
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        self.register_buffer("edges", edges)
        self.register_buffer("low", edges[:1].clone())
        self.register_buffer("width", edges[1:] - edges[:-1])
        self.register_buffer("centres", (edges[1:] + edges[:-1]) / 2)
        self.out = nn.Linear(size, len(edges) - 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, hidden: Tensor, shift: Tensor) -> Tensor:
        """(B, H, Z) -> (B, H, N) logits, tilted towards where `shift` (B, H, 1) points.

        A tilt by the bins' centres moves the mean (Esscher 1932); a number for every bin does not shift the bins.
        """
        return self.out(hidden) + shift * self.centres

    def quantiles(self, raw: Tensor) -> Tensor:
        """(B, H, Q): the edge below plus the share of each bin's width that a level has passed."""
        probability = torch.softmax(raw, dim=-1)
        before = probability.cumsum(dim=-1) - probability
        passed = (self.levels[:, None] - before[..., None, :]) / (probability[..., None, :] + 1e-12)
        return self.low + (passed.clamp(0.0, 1.0) * self.width).sum(dim=-1)

    def loss(self, raw: Tensor, actual: Tensor) -> Tensor:
        """(B, H) continuous ranked probability score of scaled residuals (B, H) (Gneiting and Raftery 2007).

        Not cross-entropy, which does not know that a neighbouring bin is nearly right.
        """
        cumulative = torch.softmax(raw, dim=-1).cumsum(dim=-1)[..., :-1]
        inner = self.edges[1:-1]
        width = (self.edges[2:] - self.edges[:-2]) / 2
        below = (actual[..., None] <= inner).to(raw.dtype)
        return ((cumulative - below) ** 2 * width).sum(dim=-1)


Head = QuantileHead | SoftmaxHead
HEADS: dict[str, type[Head]] = {"quantile": QuantileHead, "softmax": SoftmaxHead}
