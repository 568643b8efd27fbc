"""The files that are the same for every VM, and those of a fleet: static text, and provisioner.py."""

from __future__ import annotations

import os
from functools import cache

import vmp
from vmp.provisioners.v1alpha1.joined import join
from vmp.provisioners.v1alpha1.runtime.knobs import COMMAND, FORCE, KNOBS, SNAPSHOT_DESCRIPTION, SNAPSHOT_NAME
from vmp.tree import File, Tree

PROGRAM = "provisioner.py"
IGNORED = ".gitignore"

STATIC_NAMES = (".gitattributes", IGNORED, "Makefile", PROGRAM)
"""The paths of a VM's, in order."""

FLEET_NAMES = (f".fleet/{IGNORED}", f".fleet/{PROGRAM}", "Makefile")
"""The paths of a fleet's, in order."""


@cache
def static_files() -> Tree:
    """Return the static files of a VM; read once, however many VMs are compiled."""
    return {
        ".gitattributes": File(_read("files", ".gitattributes").encode()),
        IGNORED: File(_read("files", ".gitignore").encode()),
        "Makefile": _makefile("files", COMMAND, FORCE, SNAPSHOT_NAME, SNAPSHOT_DESCRIPTION, "V"),
        PROGRAM: _program(),
    }


def fleet_files() -> Tree:
    """Return the static files of a fleet."""
    return {
        f".fleet/{IGNORED}": File(_read("fleet_files", "gitignore").encode()),
        f".fleet/{PROGRAM}": _program(),
        "Makefile": _makefile("fleet_files", "VMS", "JOBS", FORCE, "V"),
    }


@cache
def _program() -> File:
    text = join(lambda name: _read("runtime", name), f"v1alpha1 {vmp.__version__}")
    return File(text.encode(), 0o755)


def _makefile(directory: str, *variables: str) -> File:
    """Return a Makefile, with the knobs and the Python that finds the program filled in."""
    text = _read(directory, "Makefile").replace("@PYTHON@", _read("files", "start").strip())
    return File(text.replace("@KNOBS@", _words([*variables, *[knob.name for knob in KNOBS]])).encode())


def _words(names: list[str]) -> str:
    """Return names as make reads them, some on each line."""
    lines = [""]
    for name in names:
        if len(lines[-1]) + len(name) > 110:
            lines.append("")
        lines[-1] += f" {name}"
    return " \\\n\t".join(line.strip() for line in lines)


def _read(directory: str, name: str) -> str:
    loader = __spec__.loader  # also reads from a zip archive, without the cost of importlib.resources
    data: bytes = loader.get_data(os.path.join(os.path.dirname(__file__), directory, name))  # type: ignore[union-attr]
    return data.decode()
