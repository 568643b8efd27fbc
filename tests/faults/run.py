"""One run of a provisioner in a process group of its own, watched by the shims, and disturbed if asked to be."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from world import ENVIRONMENT, OUT_OF_REACH, Vm

from faults.model import BOUNDED, BY_NODE_SCENE, HANGS, NONSENSE_TEXT, Fault

SHIM = Path(__file__).parent / "shim.sh"
VIRSH_SHIM = (Path(__file__).parent / "virsh_shim.py", Path(__file__).parent.parent / "lab/between.py")
UNTOUCHED = frozenset("sh dash bash busybox make env python3".split())
"""What interprets the provisioner, and what starts it."""

DELAYS = {
    "virt-install": 0.3,
    "genisoimage": 0.002,
    "xorriso": 0.01,
    "curl": 0.4,
    "ssh": 0.3,
    "virsh": 0.01,
    "virsh start": 0.12,
    "virsh vol-upload": 0.3,
}
"""Seconds after which a command is in the middle of its work."""

PATIENCE_SECONDS = 0.2
"""After so long a user ends a run that hangs."""
DEADLINE_SECONDS = 120
COMMAND_TIMEOUT_SECONDS = 5


@dataclass(frozen=True)
class Run:
    """What became of a run."""

    code: int
    said: str
    calls: list[str]
    """`COMMAND NTH`, in order."""
    hit: bool
    """The fault happened."""
    ended: bool
    """It ended by itself."""
    orphans: list[str]
    """Processes that were still there a while after it."""


@dataclass(frozen=True)
class Prepared:
    """A run that can be started, in whatever way."""

    folder: Path
    command: list[str]
    environment: dict[str, str]

    @property
    def hit(self) -> bool:
        """Whether the fault has happened."""
        return (self.folder / "hit").exists()

    def calls(self) -> list[str]:
        """Return the calls so far, as `COMMAND NTH`."""
        log = self.folder / "log"
        return log.read_text().splitlines() if log.exists() else []

    def orphans(self) -> list[str]:
        """Return processes of the run that are still there, and end them too. The dying have two seconds."""
        mark = f"FAULT_DIR={self.folder}\0".encode()
        for pid, command in _processes(mark):
            if "[mux]" in command:  # it would share the connection with later runs for 30 seconds
                os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 2
        while found := list(_processes(mark)):
            if time.monotonic() > deadline:
                for pid, _ in found:
                    os.kill(pid, signal.SIGKILL)
                return [f"process still alive: {command}" for _, command in found]
            time.sleep(0.02)
        return []


class Shims:
    """A directory of stand-ins for every command of the system, to be put before PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True)
        shim = folder / "shim"
        shim.write_bytes(SHIM.read_bytes())
        shim.chmod(0o755)
        for path in VIRSH_SHIM:
            (folder / path.name).write_bytes(path.read_bytes())
        for directory in ENVIRONMENT["PATH"].split(":"):
            for command in Path(directory).iterdir() if Path(directory).is_dir() else ():
                stand_in = self.bin / command.name
                if command.name not in UNTOUCHED and not stand_in.is_symlink():
                    stand_in.symlink_to(shim)
        self.runs = 0

    def prepare(self, vm: Vm, *arguments: str, fault: Fault | None = None) -> Prepared:
        """Return what runs targets, with a fault or without one, in the process group of its first process."""
        self.runs += 1
        folder = self.folder / f"run-{self.runs}"
        (folder / "calls").mkdir(parents=True)
        (folder / "tmp").mkdir()
        inner = vm.command(*arguments)[len(OUT_OF_REACH) :]
        orders = _orders(folder, fault)
        file = self.folder / "orders"
        file.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in orders.items()))
        script = f'export FAULT_GROUP=$$ PATH="$0:$PATH"; echo "export FAULT_GROUP=$$" >>{file}; exec "$@"'
        return Prepared(
            folder=folder,
            command=[*OUT_OF_REACH, "sh", "-c", script, str(self.bin), *inner],
            environment={**ENVIRONMENT, "TMPDIR": str(folder / "tmp"), **orders},
        )

    def run(
        self, vm: Vm, *arguments: str, fault: Fault | None = None, at_pause: Callable[[], None] | None = None
    ) -> Run:
        """Run targets, and wait until they end. At a fault that is a pause, the test acts."""
        prepared = self.prepare(vm, *arguments, fault=fault)
        said = prepared.folder / "said"
        with said.open("wb") as output:
            process = subprocess.Popen(
                prepared.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                start_new_session=True,
                env=prepared.environment,
            )
        ended = _watch(process, prepared, fault, at_pause)
        orphans = prepared.orphans()
        left = [f"in TMPDIR: {path.name}" for path in (prepared.folder / "tmp").iterdir()] if ended else []
        return Run(
            code=process.returncode,
            said=said.read_text(errors="replace"),
            calls=prepared.calls(),
            hit=prepared.hit,
            ended=ended,
            orphans=orphans + left,
        )


def _watch(
    process: subprocess.Popen[bytes], prepared: Prepared, fault: Fault | None, at_pause: Callable[[], None] | None
) -> bool:
    """Wait until it ends, and end it like an impatient user when it hangs where nothing bounds it."""
    patience: float = DEADLINE_SECONDS
    impatient = fault is not None and fault.mode in HANGS and not is_bounded(fault)
    begin = time.monotonic()
    while process.poll() is None:
        if at_pause and prepared.hit:
            at_pause()
            (prepared.folder / "go").touch()
            at_pause = None
        if impatient and prepared.hit:
            impatient, patience, begin = False, PATIENCE_SECONDS, time.monotonic()
        if time.monotonic() - begin > patience:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return False
        time.sleep(0.02)
    return True


def is_bounded(fault: Fault) -> bool:
    """Whether the provisioner itself has to end this command when it hangs."""
    program = fault.command.split()[0]
    return program in BOUNDED and (program, fault.scene) != ("ssh", BY_NODE_SCENE)


def _orders(folder: Path, fault: Fault | None) -> dict[str, str]:
    return {
        "FAULT_DIR": str(folder),
        "FAULT_PATH": ENVIRONMENT["PATH"],
        "FAULT_COMMAND": fault.command if fault else "",
        "FAULT_NTH": str(fault.nth if fault else 0),
        "FAULT_MODE": fault.mode if fault else "",
        "FAULT_DELAY": str(DELAYS.get(fault.command, 0.03 if " " in fault.command else 0)) if fault else "0",
        "FAULT_SLEEP": "0.1",
        "FAULT_NONSENSE": NONSENSE_TEXT,
        "FAULT_VIRSH": str(folder.parent / VIRSH_SHIM[0].name),
    }


def _processes(mark: bytes) -> Iterator[tuple[int, str]]:
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            if mark in (path / "environ").read_bytes():
                yield int(path.name), (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
