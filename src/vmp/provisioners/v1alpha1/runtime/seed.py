"""The cloud-init seed: an ISO of the documents in `<seed>.d`, made again when they have changed."""

from __future__ import annotations

import os

from .definition import documents, seed_sum
from .facts import Vm
from .files import read_text, remove, size_of, write_text
from .programs import Ended, have, need, run_program
from .say import Problem

TOOLS = ("genisoimage", "xorriso", "mkisofs", "cloud-localds")
"""The first that is there. xorriso sleeps for a tenth of a second, and mkisofs may be xorriso under another name."""


def need_for_seed(vm: Vm) -> None:
    """Name what is not installed, before anything is changed."""
    if vm.seed:
        need("make the cloud-init seed", *TOOLS)


def build_seed(vm: Vm) -> None:
    """Make the seed, unless it is there, whole and of these documents: `<seed>.sum` says what it was made from."""
    if not vm.seed:
        return
    path, stamp = vm.file(vm.seed), vm.file(vm.seed) + ".sum"
    wanted = seed_sum(vm)
    if read_text(stamp).strip() == f"{wanted} {size_of(path)}":
        return
    tool = have(*TOOLS)
    for attempt in range(2):  # xorriso 1.5.4 crashes once in a thousand times
        remove(f"{path}.tmp", stamp)
        ended = run_program(_iso_words(vm, tool, f"{path}.tmp"), vm.knobs.command_timeout)
        if ended.code == 0 or ended.timed_out or attempt:
            break
    if ended.code or not size_of(f"{path}.tmp"):
        remove(f"{path}.tmp")
        raise Problem(f"could not make {vm.seed}", _reason(vm, tool, ended))
    os.replace(f"{path}.tmp", path)
    write_text(stamp, f"{wanted} {size_of(path)}\n")
    vm.say(f"made {vm.seed}")


def _reason(vm: Vm, tool: str, ended: Ended) -> str:
    if ended.timed_out:
        return f"{tool} took longer than {vm.knobs.command_timeout} seconds and was ended"
    return (ended.output + ended.errors).strip() or f"{tool} made nothing (exit code {ended.code})"


def _iso_words(vm: Vm, tool: str, output: str) -> list[str]:
    found = documents(vm)
    if tool == "xorriso":  # not by its mkisofs emulation, which fails below a directory with a '=' in its name
        maps = [word for path in found for word in ("-map", path, f"/{os.path.basename(path)}")]
        words = [tool, "-no_rc", "-report_about", "SORRY", "-outdev", output, "-volid", "cidata"]
        return [*words, "-joliet", "on", "-rockridge", "on", *maps]
    if tool == "cloud-localds":
        places = {os.path.basename(path): path for path in found}
        more = [f"--{name}={places[name]}" for name in ("vendor-data", "network-config") if name in places]
        return [tool, *more, output, *[places.get(name, "/dev/null") for name in ("user-data", "meta-data")]]
    return [tool, "-quiet", "-output", output, "-volid", "cidata", "-joliet", "-rational-rock", *found]


def clean_seed(vm: Vm) -> None:
    """Remove the seed, and what is left of its making."""
    if vm.seed:
        path = vm.file(vm.seed)
        remove(path, f"{path}.tmp", f"{path}.sum")
