"""Whether virt-install knows the operating system: asked before anything is made, and not after the uploads.

What it knows depends on the age of the libosinfo database of this host: Debian 11 has no `linux2022`.
"""

from __future__ import annotations

import functools
import os
import re

from .facts import Vm
from .files import read_text
from .programs import run_program
from .say import Problem

_DATABASES = ("/usr/share/osinfo/os", "/usr/local/share/osinfo/os", "/etc/osinfo/os")


def check_osinfo(vm: Vm) -> None:
    """Refuse an operating system that virt-install does not know."""
    for word in vm.domain.virt_install:
        option, _, value = word.partition("=")
        name = re.sub("^(name|short-id)=", "", value)
        if option in ("--osinfo", "--os-variant") and re.fullmatch("[a-z0-9._-]+", name):
            known = _known_names()
            if name not in known:
                _ask_virt_install_for(name, known)


@functools.cache
def _known_names() -> frozenset[str]:
    """Return the names in the database: a file for each, which takes 20 ms to read, and virt-install 500."""
    found: set[str] = set()
    for database in _DATABASES:
        for directory, _, files in os.walk(database):
            for file in files:
                text = read_text(os.path.join(directory, file))
                found.update(re.findall("<short-id>(.*?)</short-id>", text))
    return frozenset(found)


def _ask_virt_install_for(name: str, known: frozenset[str]) -> None:
    """Let virt-install make a domain of libvirt's own test driver: nothing is changed, and its exit code decides."""
    words = ["virt-install", "--connect=test:///default", f"--osinfo={name}", "--memory=64", "--disk=none"]
    words += ["--network=none", "--graphics=none", "--import", "--print-xml"]
    ended = run_program(words, 60)
    if ended.code:
        import difflib

        close = difflib.get_close_matches(name, known, 3)
        raise Problem(
            f"virt-install on this host does not know the operating system '{name}' (virtInstall.osinfo)",
            ended.errors.strip(),
            f"it knows {', '.join(close)}" if close else "",
            "a newer package osinfo-db knows more",
        )
