"""One thread for products of matrices, so that their last bits do not depend on the number of threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

# The limit is one for the whole process, and the first user to end would restore it during the fit of another.
_lock = threading.Lock()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit NumPy's matrix products to one thread. One user computes at a time."""
    with _lock, threadpool_limits(1, "blas"):
        yield
