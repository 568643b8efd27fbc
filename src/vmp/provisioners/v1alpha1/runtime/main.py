"""The entry: `./provisioner.py TARGET`, or as ssh's askpass, or as libvirt's ssh."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence

from .facts import Vm, read_vm
from .fleet_targets import FLEET, VMS_JSON, run_fleet
from .making import Run
from .node import as_ssh, connection
from .programs import end_all
from .say import Problem, moving_line, write
from .ssh import as_askpass, is_askpass
from .targets import TARGETS, perform
from .virsh import Virsh


def main(arguments: Sequence[str]) -> int:
    """Do what the words say; return the exit code."""
    if arguments[:1] == ["--version"]:
        return version()
    if arguments[:1] in (["-h"], ["--help"]):
        arguments = ["help"]
    if arguments and arguments[0].startswith("-"):  # options of ssh; a question of askpass begins with a name
        as_ssh(arguments)
    if is_askpass():
        return as_askpass(arguments[0] if arguments else "")
    os.umask(0o077)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    here = os.path.dirname(os.path.abspath(__file__))
    os.chdir(here)
    target = arguments[0] if arguments else "help"
    trouble = 2 if target == "diff" else 1  # as diff(1): 1 means that something differs
    if os.path.basename(here) == FLEET or os.path.exists(VMS_JSON):
        return _end_in_words("", lambda: run_fleet(os.path.dirname(here), target), trouble)
    if target not in TARGETS:
        write(f"there is no target '{target}'; 'make help' lists them")
        return 2
    try:
        vm = read_vm(".")
    except Problem as problem:
        write(problem.text())
        return trouble
    vm.make = os.environ.get("VMP_MAKE", "make")
    os.environ["LIBVIRT_DEFAULT_URI"] = vm.uri
    return _end_in_words(f"{vm.name}: ", lambda: _perform_one(vm, target), trouble)


def _perform_one(vm: Vm, target: str) -> int:
    virsh = Virsh(connection(vm), vm.knobs.command_timeout, shown_uri=vm.uri)
    try:
        return perform(Run(vm, virsh), target)
    finally:
        virsh.close()
        end_all()


def _end_in_words(name: str, work: Callable[[], int], trouble: int = 1) -> int:
    """Do the work; an error ends in words and the exit code for trouble."""
    try:
        return work()
    except Problem as problem:
        write(f"{name}{problem.text()}")
        return trouble
    except OSError as error:
        write(f"{name}error: {error}")
        return trouble
    except KeyboardInterrupt:
        return 130
    finally:
        moving_line.end()


def _end(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def version() -> int:
    """Print the first line, and tell whether the rest is as it was written."""
    import hashlib  # takes a twentieth of the time of a run that has nothing to do

    with open(__file__, "rb") as file:
        first, _, rest = file.read().partition(b"\n")
    words = first.decode(errors="replace").split()
    write(" ".join(words[words.index("#") + 1 :] if "#" in words else words), stream=1)
    if f"sha256:{hashlib.sha256(rest).hexdigest()}" in words:
        return 0
    write("error: this file is not as vmp wrote it: its lines do not have that sum\n  'vmp gen' writes it anew")
    return 1
