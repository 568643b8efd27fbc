"""provisioner.py: the modules of ``runtime/`` in one file, so that it can be read from top to bottom and needs no vmp.

Joining changes no code but imports: those of the standard library come together at the top, and those between the
modules go, as all names are then in one file. A test sees to it that no two modules use one name for two things.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

MODULES = (
    "say",
    "knobs",
    "vm_json",
    "network_records",
    "records",
    "facts",
    "programs",
    "files",
    "progress",
    "conversation",
    "virsh",
    "node",
    "libvirt",
    "storage",
    "network_facts",
    "network_xml",
    "dhcp_entries",
    "graft",
    "look",
    "snapshots",
    "nvram",
    "definition",
    "drive_changes",
    "wording",
    "record",
    "osinfo",
    "drives",
    "openpgp",
    "signature",
    "unpacking",
    "download",
    "image",
    "iso_readers",
    "members",
    "pools",
    "networks",
    "reservations",
    "users",
    "unused_networks",
    "filling",
    "volumes",
    "node_download",
    "domain",
    "domain_xml",
    "deletion",
    "address",
    "ssh",
    "console",
    "waiting",
    "making",
    "following",
    "redefinition",
    "phases",
    "installing",
    "lifecycle",
    "seen",
    "timing",
    "changes",
    "hotplug",
    "volume_changes",
    "differences",
    "applying",
    "snapshot_limits",
    "snapshot_targets",
    "status",
    "targets",
    "fleet",
    "fleet_work",
    "fleet_targets",
    "main",
)
"""The modules in the order of the file: each uses only those before it."""

_IMPORT = re.compile(r"^(?:from (\S+) )?import (\((?:[^)]*)\)|[^\n(]*)\n", re.MULTILINE)
_DOCSTRING = re.compile(r'"""(.*?)"""\n', re.DOTALL)

_ENTRY = """

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


def join(read: Callable[[str], str], version: str) -> str:
    """Return provisioner.py. ``read`` gives the text of a module by its name, ``__init__`` the page at the top."""
    imports: set[str] = set()
    parts = [_without_imports(name, read(f"{name}.py"), imports) for name in MODULES]
    head = read("__init__.py").rstrip("\n")
    rest = "\n".join([head, "", "from __future__ import annotations", "", *_sorted(imports), *parts]) + _ENTRY
    digest = hashlib.sha256(rest.encode()).hexdigest()
    return f"#!/usr/bin/env -S python3 -I -S # vmp {version} sha256:{digest}\n{rest}"


def _without_imports(name: str, text: str, imports: set[str]) -> str:
    """Return a module below a heading that says what its docstring does, with its imports moved to the others."""
    match = _DOCSTRING.match(text)
    assert match, name
    heading = [f"# {'=' * 20} {name} {'=' * 20}", *[f"# {line}".rstrip() for line in match[1].strip().split("\n")]]
    end = match.end()
    while found := re.compile(r"\n*").match(text, end):
        statement = _IMPORT.match(text, found.end())
        if not statement:
            break
        end = statement.end()
        source, names = statement[1], statement[2].strip("()")
        if source is None:
            imports.update(f"import {word.strip()}" for word in names.split(","))
        elif not source.startswith((".", "__future__")):
            imports.update(f"from {source} import {word.strip()}" for word in names.split(",") if word.strip())
    return "\n".join(["\n", *heading, "", text[end:].strip("\n")])


def _sorted(imports: set[str]) -> list[str]:
    """Return the imports, one line for each module."""
    plain = sorted(line for line in imports if line.startswith("import "))
    names: dict[str, list[str]] = {}
    for line in sorted(imports - set(plain)):
        source, _, name = line.removeprefix("from ").partition(" import ")
        names.setdefault(source, []).append(name)
    return [*plain, *[f"from {source} import {', '.join(found)}" for source, found in sorted(names.items())]]
