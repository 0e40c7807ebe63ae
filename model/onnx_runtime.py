"""ONNX Runtime without its telemetry, which is on by default in the Linux builds since 1.29.

It would send names and hashes of models to the runtime's maker, and keep a database in the home folder of the user.
"""

from __future__ import annotations

import os

# The runtime reads the variable when it is imported. A value that the user has set stays.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

__all__ = ["ort"]
