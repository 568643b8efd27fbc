"""Work on the machines of a fleet: so many at a time, each by the same code as alone."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterable
from functools import partial

from .facts import Vm
from .fleet import Fleet, at_once, make_of
from .making import Run
from .say import Problem, moving_line, write


def jobs_and_keep_going() -> tuple[int, bool]:
    """Return how many machines may be at work at a time, from JOBS or make's -j, and whether one failure ends all."""
    flags = os.environ.get("MAKEFLAGS", "")
    keep = "k" in flags.split(" ")[0].lstrip("-") or "--keep-going" in flags
    given = re.search(r"(?:^| )-j ?([0-9]*)", flags)
    jobs = os.environ.get("JOBS", "") or (given and (given[1] or "8")) or "1"
    if not re.fullmatch("[1-9][0-9]{0,3}", jobs):
        raise Problem(f"JOBS is '{jobs}', not a number of VMs")
    return int(jobs), keep


Work = Callable[[Run], "int | None"]


def do_fleet(fleet: Fleet, names: Iterable[str], target: str, work: Work) -> None:
    """Do work on machines. After one that failed no other is begun, unless make was told -k.

    A machine whose directory another version wrote is brought to ``target`` by that directory's own make.
    """
    jobs, keep = jobs_and_keep_going()
    stopped = threading.Event()

    names = list(names)
    moving_line.several = min(jobs, len(names)) > 1

    def one(name: str) -> None:
        if stopped.is_set():
            return
        vm = fleet.vms[name]
        good = _perform(fleet, vm, work) if vm else own_make(fleet, name, target) == 0
        if not good:
            fleet.failed = True
            if not keep:
                stopped.set()

    at_once([partial(one, name) for name in names], jobs)


def _perform(fleet: Fleet, vm: Vm, work: Work) -> bool:
    try:
        virsh = fleet.take(vm)
        try:
            virsh.seconds = vm.knobs.command_timeout
            return not work(Run(vm, virsh, fleet.answers, fleet.users[vm.uri]))
        finally:
            fleet.give_back(vm, virsh)
    except Problem as problem:
        write(f"{vm.name}: {problem.text()}")
    except OSError as error:
        write(f"{vm.name}: error: {error}")
    return False


def own_make(fleet: Fleet, name: str, target: str, output: int | None = None) -> int:
    """Let the make of a directory that another version wrote do it; return its exit code."""
    environment = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    environment["VMP_MAKE"] = make_of(name)
    if moving_line.several:
        environment["TERM"] = "dumb"  # no moving line
    words = ["make", "--no-print-directory", "-C", os.path.join(fleet.base, name), target]
    return subprocess.run(words, env=environment, stdout=output, check=False).returncode
