"""Start of every Python process of a test session: it shares the session's exported graphs."""

import runpy
from pathlib import Path

# This is no import of tests.support, because the path of the process may lack the project's root.
runpy.run_path(str(Path(__file__).parent.parent / "session.py"))["share_exports"]()
