"""Whether virt-install knows the operating system: asked before anything is made, and not after the uploads.

What it knows depends on the age of the libosinfo database of this host: Debian 11 has no `linux2022`.
"""

from __future__ import annotations

import os
import re

from .facts import Vm
from .programs import run
from .say import Problem

_DATABASES = ("/usr/share/osinfo/os", "/usr/local/share/osinfo/os", "/etc/osinfo/os")


def check_osinfo(vm: Vm) -> None:
    """Refuse an operating system that virt-install does not know."""
    for word in vm.domain.virt_install:
        option, _, value = word.partition("=")
        name = re.sub("^(name|short-id)=", "", value)
        if option in ("--osinfo", "--os-variant") and re.fullmatch("[a-z0-9._-]+", name) and not _is_listed(name):
            _ask_virt_install_for(name)


def _is_listed(name: str) -> bool:
    """Tell whether the database has a system: a file for each, which takes 10 ms to read, and virt-install 500."""
    wanted = f"<short-id>{name}</short-id>".encode()
    for database in _DATABASES:
        for directory, _, files in os.walk(database):
            for file in files:
                with open(os.path.join(directory, file), "rb") as text:
                    if wanted in text.read():
                        return True
    return False


def _ask_virt_install_for(name: str) -> None:
    """Let virt-install make a domain of libvirt's own test driver: nothing is changed, and its exit code decides."""
    words = ["virt-install", "--connect=test:///default", f"--osinfo={name}", "--memory=64", "--disk=none"]
    words += ["--network=none", "--graphics=none", "--import", "--print-xml"]
    ended = run(words, 60)
    if ended.code:
        import difflib

        known = run(["virt-install", "--osinfo=list"], 60).output.replace(",", " ").split()
        close = difflib.get_close_matches(name, known, 3)
        raise Problem(
            f"virt-install on this host does not know the operating system '{name}' (virtInstall.osinfo)",
            ended.errors.strip(),
            f"it knows {', '.join(close)}" if close else "",
            "'virt-install --osinfo list' names all; a newer osinfo-db knows more",
        )
