"""Every process of the tests runs this, by their PYTHONPATH, unless it is given another."""

import once_a_session

once_a_session.install()
