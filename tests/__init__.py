"""Tests. They set NumPy's threads before anything loads NumPy, as the command does."""

import os

from flows.stage_process.environment import SINGLE_THREAD_NUMPY

os.environ.setdefault(*SINGLE_THREAD_NUMPY)
