"""The files that stand beside the directories of VMs and manage all of them: a Makefile, and ``.fleet``.

As in the directory of a VM, all code is static: the same provisioner.py. What is generated are the names of the VMs;
all else about a VM the fleet reads from its directory, so that the two cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vmp.diagnostics import Report, Span
from vmp.document import to_json
from vmp.provisioners.v1alpha1.static import fleet_files
from vmp.tree import MANIFEST, File, Tree, with_manifest

_MAKEFILES = ("GNUmakefile", "makefile", "Makefile")
"""What make looks for beside the VMs."""


def check_fleet(places: Mapping[str, Span], report: Report) -> None:
    """Report the VMs whose directory make would take for the Makefile of the fleet; ``places`` has all names."""
    for name in _MAKEFILES:
        if name in places:
            message = f"a VM called {name!r} cannot be in a fleet: make would take its directory for the makefile"
            report.error("bad-name", message, places[name], help="give it another name, or leave --fleet out")


def render_fleet(names: Iterable[str]) -> Tree:
    """Return the files of a fleet of the VMs with these names, below the directory that holds theirs."""
    vms = {"format": 1, "vms": list(names)}
    return with_manifest({**fleet_files(), ".fleet/vms.json": File(to_json(vms).encode())}, f".fleet/{MANIFEST}")
