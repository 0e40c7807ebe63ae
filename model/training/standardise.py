"""Standardisation of covariates inside the network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.training.features import CLIP


class Standardise(nn.Module):
    """Standardisation of covariates, (..., F) to (..., 2F): values, 0 for NaN, then the mask of visible values."""

    location: Tensor
    scale: Tensor

    def __init__(self, location: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("location", location)
        self.register_buffer("scale", scale)

    def forward(self, values: Tensor) -> Tensor:
        visible = ~torch.isnan(values)
        scaled = (torch.where(visible, values, self.location) - self.location) / self.scale
        return torch.cat([scaled.clamp(-CLIP, CLIP), visible.to(values.dtype)], dim=-1)
