"""Device of a training, and windows as tensors on it."""

from __future__ import annotations

import logging

import numpy as np
import torch

from model.windows import Windows

logger = logging.getLogger(__name__)


def to_tensors(windows: Windows, device: torch.device | str = "cpu") -> dict[str, torch.Tensor]:
    """Return windows as the keyword arguments of the network."""
    return {name: torch.from_numpy(np.ascontiguousarray(array)).to(device) for name, array in windows.inputs().items()}


def resolve_device(device: str) -> str:
    """Return the device to train on: the requested one, or the CPU, with a warning, if torch cannot use it."""
    if device == "cuda" and not torch.cuda.is_available():
        reason = "this build of torch has no CUDA" if torch.version.cuda is None else "torch finds no GPU"
        logger.warning('training.device is "cuda", but %s. This run trains on the CPU.', reason)
        return "cpu"
    return device
