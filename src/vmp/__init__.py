"""vmp compiles a YAML registry of virtual machines into one provisioner directory per VM."""

import sys

__version__ = "0.1.0"

# Every way into vmp comes by here first, and any Python can read these lines.
if sys.version_info < (3, 10):  # noqa: UP036
    sys.exit("vmp needs Python 3.10 or later, and this is Python %d.%d" % sys.version_info[:2])  # noqa: UP031
