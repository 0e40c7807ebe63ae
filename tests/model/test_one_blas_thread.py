"""The limit of NumPy's threads, which is one for all threads of a process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.process

_SCRIPT = """
from concurrent.futures import ThreadPoolExecutor
from threadpoolctl import threadpool_info
import numpy
from model.one_blas_thread import one_blas_thread

def threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

def fit(_):
    with one_blas_thread():
        return threads(), threads()

before = threads()
with ThreadPoolExecutor(4) as pool:
    print({count for pair in pool.map(fit, range(100)) for each in pair for count in each}, threads() == before, before)
"""


def test_the_limit_holds_until_the_end_of_each_of_many_fits() -> None:
    # A process of its own, because NumPy takes the number of threads when it loads.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "2"}
    run = subprocess.run([sys.executable, "-c", _SCRIPT], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout in ("{1} True [2]\n", "{1} True [1]\n")  # one thread where there is one core
