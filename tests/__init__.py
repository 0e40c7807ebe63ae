"""Tests. They set NumPy's threads before anything loads NumPy, as the command does.

A fit limits the threads of matrix products for the whole process. Without this setting, a fit in another thread could
get them back in the middle and sum in another order.
"""

import os

from flows.stage_process.environment import SINGLE_THREAD_NUMPY

os.environ.setdefault(*SINGLE_THREAD_NUMPY)
