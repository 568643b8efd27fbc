"""Ctrl+C, and SIGTERM to make, in the middle of what takes long: it ends at once, and the next run mends."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from console import Console, ConsoleError
from server import Fault as ServerFault

from faults.model import STALL, Fault
from faults.run import Prepared
from faults.scenes import IMAGE, Stage
from faults.state import State, differences, observe

pytestmark = pytest.mark.lab

BUFFERS = 1 << 16
"""What curl may hold back."""

UPLOAD = Fault("up", "virsh vol-upload", 1, STALL)


@pytest.fixture(scope="module")
def wanted(stage: Stage) -> State:
    """What an undisturbed run leaves."""
    assert stage.shims.run(stage.fresh()["vm"], "up").code == 0
    return observe(stage.base)


class Interrupted:
    """A run that is waiting to be interrupted, on a terminal or without one."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline
            self.pause()

    def pause(self) -> None:
        time.sleep(0.1)


class ControlC(Interrupted):
    """Somebody types Ctrl+C."""

    def __enter__(self) -> ControlC:
        self.console = Console(self.prepared.command, cwd=Path("/"), env=self.prepared.environment)
        return self

    def __exit__(self, *_: object) -> None:
        self.console.close()

    def pause(self) -> None:
        with suppress(ConsoleError):  # a terminal that nobody reads would hold the run up
            self.console.expect("(?!)", timeout=0.1)

    def interrupt(self) -> int:
        self.console.send("\x03")
        return self.console.wait(timeout=10)

    def end_what_goes_on(self) -> None:
        assert not self.prepared.orphans()


class Terminate(Interrupted):
    """Another program ends make, and make alone."""

    def __enter__(self) -> Terminate:
        self.process = subprocess.Popen(
            self.prepared.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=self.prepared.environment,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def interrupt(self) -> int:
        self.process.terminate()
        return self.process.wait(timeout=10)

    def end_what_goes_on(self) -> None:
        """The command that just runs is not told; nothing else is begun."""
        before = self.prepared.calls()
        self.prepared.orphans()
        assert self.prepared.calls() == before


@pytest.mark.parametrize("kind", [ControlC, Terminate])
@pytest.mark.parametrize("what", ["download", "upload"])
def test_an_interrupted_up_ends_at_once_and_the_next_one_mends(
    stage: Stage, wanted: State, what: str, kind: type[ControlC | Terminate]
) -> None:
    stage.server.faults.clear()
    vm = stage.fresh()["vm"]
    prepared = stage.shims.prepare(vm, "up", fault=UPLOAD if what == "upload" else None)
    archive = f"{IMAGE}.gz"
    half = (stage.server.directory / archive).stat().st_size // 2
    if what == "download":
        stage.server.faults[f"/{archive}"] = ServerFault(stall_after=half)
    with kind(prepared) as run:
        if what == "download":
            parts = stage.base / "images"
            run.wait_for(lambda: any(part.stat().st_size > half - BUFFERS for part in parts.glob("*[0-9].part")))
        else:
            volume = Path("/var/lib/libvirt/images") / IMAGE
            run.wait_for(lambda: prepared.hit and volume.stat().st_size > 1)
        assert run.interrupt() != 0
        run.end_what_goes_on()  # before a terminal hangs up
    if kind is ControlC:
        assert not [path for path in vm.directory.iterdir() if path.is_fifo()]
    stage.server.faults.clear()
    came = sum(part.stat().st_size for part in (stage.base / "images").glob("*[0-9].part"))

    asked = len(stage.server.requests)
    repeated = stage.shims.run(vm, "up")
    assert repeated.code == 0, repeated.said
    assert not list(differences(wanted, observe(stage.base)))
    if what == "download":
        assert any(request.range == f"bytes={came}-" for request in stage.server.requests[asked:]), "it goes on"
    else:
        assert "incomplete" in repeated.said
