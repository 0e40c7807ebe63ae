"""Heads: from the hidden vector of a step to quantiles of its scaled residual, which never cross by construction.

Shapes: B windows, H horizon, Z hidden size, Q quantile levels, N bins. A scaled residual is the actual minus the base
forecast, divided by the scale of the window.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

BINS = 64


def pinball(quantiles: Tensor, levels: Tensor, actual: Tensor) -> Tensor:
    """Return the pinball loss max(q e, (q - 1) e) per level, without a factor 2, shape (B, H, Q).

    Args:
        quantiles: Quantiles, (B, H, Q).
        levels: Quantile levels q, (Q,).
        actual: Actuals, (B, H). The error e is the actual minus the quantile.
    """
    error = actual[..., None] - quantiles
    return torch.maximum(levels * error, (levels - 1) * error)


def _positive(raw: Tensor) -> Tensor:
    """Return a positive number: `exp(raw)` below zero and `1 + raw` above.

    Softplus and Log are avoided. ONNX Runtime computes the last elements of an array, which do not fill a SIMD
    register, with other rounding. So a forecast would depend on the size of its batch. Exp has no such difference.
    """
    return torch.exp(raw.clamp(max=0.0)) + raw.clamp(min=0.0)


class QuantileHead(nn.Module):
    """A head that returns the median, and positive increments away from it on either side."""

    levels: Tensor

    def __init__(self, size: int, levels: tuple[float, ...], edges: Tensor) -> None:
        super().__init__()
        self.middle = levels.index(0.5)
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        self.out = nn.Linear(size, len(levels))
        nn.init.zeros_(self.out.weight)
        # The first quantiles have about the spread of a scaled residual, so early updates do not only widen them.
        nn.init.constant_(self.out.bias, -1.5)
        nn.init.zeros_(self.out.bias[self.middle : self.middle + 1])

    def forward(self, hidden: Tensor, shift: Tensor) -> Tensor:
        """Return the raw output: the median at the middle, raw increments around it.

        Args:
            hidden: Hidden vectors, (B, H, Z).
            shift: Number added to the median, (B, H, 1).

        Returns:
            Tensor of shape (B, H, Q).
        """
        raw, m = self.out(hidden), self.middle
        return torch.cat([raw[..., :m], raw[..., m : m + 1] + shift, raw[..., m + 1 :]], dim=-1)

    def quantiles(self, raw: Tensor) -> Tensor:
        """Return the scaled quantiles, shape (B, H, Q), from the raw output."""
        m = self.middle
        median = raw[..., m : m + 1]
        above = _positive(raw[..., m + 1 :]).cumsum(dim=-1)
        below = _positive(raw[..., :m]).flip(-1).cumsum(dim=-1).flip(-1)
        return torch.cat([median - below, median, median + above], dim=-1)

    def loss(self, raw: Tensor, actual: Tensor) -> Tensor:
        """Return the mean pinball loss over the levels, (B, H), of scaled residuals (B, H)."""
        return pinball(self.quantiles(raw), self.levels, actual).mean(dim=-1)


class SoftmaxHead(nn.Module):
    """A head that returns probabilities of bins of the scaled residual, and quantiles by interpolation.

    The density is constant within a bin, so the quantile function is piecewise linear. Residuals beyond the outer edges
    count to the outer bins.

    Numbers that follow from the edges are stored beside them. If the graph computed them, the exporter would replace
    them by constants, and the graph would fit no other network's weights (see weights.py).
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
        """Return the logits of the bins, tilted by `shift`.

        The tilt is proportional to the centres of the bins, which moves the mean (Esscher 1932).

        Args:
            hidden: Hidden vectors, (B, H, Z).
            shift: Tilt per unit of the scaled residual, (B, H, 1).

        Returns:
            Tensor of shape (B, H, N).
        """
        logits: Tensor = self.out(hidden) + shift * self.centres
        return logits

    def quantiles(self, raw: Tensor) -> Tensor:
        """Return the scaled quantiles, shape (B, H, Q): the lowest edge plus the share of each bin below the level."""
        probability = torch.softmax(raw, dim=-1)
        before = probability.cumsum(dim=-1) - probability
        share = (self.levels[:, None] - before[..., None, :]) / (probability[..., None, :] + 1e-12)
        return self.low + (share.clamp(0.0, 1.0) * self.width).sum(dim=-1)

    def loss(self, raw: Tensor, actual: Tensor) -> Tensor:
        """Return the approximate continuous ranked probability score, (B, H), of scaled residuals (B, H).

        The integral of Gneiting and Raftery (2007) becomes a sum over the inner edges of the bins. Cross-entropy would
        ignore that a neighbouring bin is nearly right.
        """
        cumulative = torch.softmax(raw, dim=-1).cumsum(dim=-1)[..., :-1]
        inner = self.edges[1:-1]
        width = (self.edges[2:] - self.edges[:-2]) / 2
        below = (actual[..., None] <= inner).to(raw.dtype)
        score: Tensor = ((cumulative - below) ** 2 * width).sum(dim=-1)
        return score


Head = QuantileHead | SoftmaxHead
HEADS: dict[str, type[Head]] = {"quantile": QuantileHead, "softmax": SoftmaxHead}
