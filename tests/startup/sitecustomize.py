"""Every process of the tests runs this, by their PYTHONPATH, unless it is given another."""

import shared_exports

shared_exports.install()
