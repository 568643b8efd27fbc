"""What the guest printed last on its serial console: the one witness when it has no address, or does not answer."""

from __future__ import annotations

import os
import shlex
import subprocess
import threading
import time

from .facts import Vm
from .libvirt import look_at_domain
from .node import ask_node, connection
from .programs import environment, have
from .say import Problem, printable
from .virsh import Virsh

_LEAVE = b"\x1d"
"""Ctrl+], which leaves the console."""


def console_tail(vm: Vm, virsh: Virsh) -> list[str]:
    """Return the last lines, below a heading, or why there is nothing to show."""
    log = _log(vm, virsh)
    if log:
        text = printable(ask_node(vm, f"tail -n 20 -- {shlex.quote(log)}").output)
        if text:
            return [f"the end of the console ({log}):", text]
    text, problem = _attach(vm)
    shown = [f"the console shows nothing{problem and ': ' + problem}"]
    if text:
        shown = ["the console, after Enter was pressed on it:", text]
    if log:
        return [*shown, f"its log is {log} on the node"]
    return [*shown, "to have a log of it, give the serial port a file: virtInstall: serial, option log.file"]


def _log(vm: Vm, virsh: Virsh) -> str:
    """Return the file on the node to which the console is written, or ''."""
    try:
        domain = look_at_domain(virsh, vm.domain)
    except Problem:
        return ""
    for port in domain.xml.iterfind("devices/*") if domain else ():
        if port.tag not in ("serial", "console"):
            continue
        log, source = port.find("log"), port.find("source")
        if log is not None and log.get("file"):
            return str(log.get("file"))
        if port.get("type") == "file" and source is not None and source.get("path"):
            return str(source.get("path"))
    return ""


def open_console(vm: Vm) -> tuple[subprocess.Popen[bytes], int]:
    """Begin `virsh console`, which wants a terminal; return it, and our end of that. Without --force virsh lets be who
    is attached already."""
    import pty

    master, slave = pty.openpty()
    words = ["virsh", "-c", connection(vm), "console", f"--domain={vm.domain.uuid}"]
    process = subprocess.Popen(
        words, stdin=slave, stdout=slave, stderr=slave, env=environment(), start_new_session=True, cwd=vm.directory
    )
    os.close(slave)
    return process, master


def _attach(vm: Vm) -> tuple[str, str]:
    """Look at the console for two seconds, and press Enter on it; return its text, and what went wrong."""
    if not have("virsh"):
        return "", "virsh is not installed"
    process, master = open_console(vm)
    said = bytearray()

    def read() -> None:
        try:
            while data := os.read(master, 65536):
                said.extend(data)
        except OSError:
            pass  # the other end is closed

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        for keys in (b"\r", _LEAVE):
            time.sleep(1)
            os.write(master, keys)
        process.wait(2)
    except (OSError, subprocess.TimeoutExpired):
        process.kill()
    process.wait()
    reader.join(1)
    os.close(master)
    text = printable(said.decode(errors="replace"), 200)
    if "Active console session exists" in text:
        return "", "somebody else is attached to it"
    if "error:" in text:
        return "", text.partition("error: ")[2].strip()
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(_VIRSH)]
    return "\n".join(lines[-20:]), ""


_VIRSH = ("Authorization not available", "Connected to domain ", "Escape character is ")
"""How lines begin that virsh itself prints."""
