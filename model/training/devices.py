"""Device selection and conversion of windows to tensors."""

from __future__ import annotations

import logging

import numpy as np
import torch

from model.windows import Windows

logger = logging.getLogger(__name__)


def tensors(part: Windows, device: torch.device | str = "cpu") -> dict[str, torch.Tensor]:
    """Windows as the keyword arguments of the network."""
    return {name: torch.from_numpy(np.ascontiguousarray(array)).to(device) for name, array in part.inputs().items()}


def resolve_device(device: str) -> str:
    """The device that is wished for, or the CPU, and a warning, where torch does not see it."""
    if device == "cuda" and not torch.cuda.is_available():
        built = "this build of torch has no CUDA" if torch.version.cuda is None else "torch sees no GPU"
        logger.warning("training runs on the CPU: %s", built)
        return "cpu"
    return device
