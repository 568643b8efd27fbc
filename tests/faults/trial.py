"""One fault, and what has to hold during and after it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

from server import Fault as ServerFault
from world import Vm, start_libvirtd, virsh

from faults.model import DAEMON_DEATHS, HANGS, KILLS, Fault, faults_of
from faults.run import COMMAND_TIMEOUT_SECONDS, Run, is_bounded
from faults.scenes import IMAGE, SCENES, Scene, Stage
from faults.state import State, differences, observe

KNOB = f"V1ALPHA1_COMMAND_TIMEOUT_SECS={COMMAND_TIMEOUT_SECONDS}"
QUICK = "V1ALPHA1_WAIT_FOR_READY_INTERVAL_SECS=1"


class Bench:
    """Tries faults on one stage. Those of one scene should come one after another."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._scene: Scene | None = None
        self._wanted: State = {}
        self._faults: list[Fault] = []
        self._clean = False
        """What the last trial has left is what an undisturbed run leaves."""

    def faults(self, scene: str) -> list[Fault]:
        """Return all faults that a scene can have."""
        self._enter(SCENES[scene])
        return self._faults

    def try_(self, fault: Fault) -> list[str]:
        """Return what did not hold; nothing when the fault was survived."""
        scene = SCENES[fault.scene]
        self._enter(scene)
        try:
            found = list(self._complaints(scene, fault))
        except (AssertionError, subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            found = [f"{type(error).__name__}: {error} {getattr(error, 'stderr', '')}"]
        self._clean = not found
        return found

    def _enter(self, scene: Scene) -> None:
        """Learn what an undisturbed run does and leaves: twice, as it has to be the same."""
        if self._scene == scene:
            return
        self._scene, self._clean = scene, False
        first = self._undisturbed(scene)
        self._clean = not first[0].code
        second = self._undisturbed(scene)
        run, self._wanted = second
        for each, _ in (first, second):
            assert each.code == 0 and not each.orphans, f"{scene.name}: {each}"
        calls, again = [_calls_of(each, scene) for each in (first[0], run)]
        assert calls == again, f"{scene.name}: not the same calls: {calls} {again}"
        assert first[1] == second[1], f"{scene.name}: {list(differences(first[1], second[1]))}"
        self._faults = faults_of(scene.name, calls)
        self._clean = True

    def _undisturbed(self, scene: Scene) -> tuple[Run, State]:
        vm = self._begin(scene)
        return self.stage.shims.run(vm, *scene.arguments, QUICK), self._observe(scene)

    def _begin(self, scene: Scene) -> Vm:
        vm = scene.begin(self.stage, not self._clean)
        self._clean = False
        return vm

    def _observe(self, scene: Scene) -> State:
        return observe(self.stage.base, scene.unpredictable)

    def _complaints(self, scene: Scene, fault: Fault) -> Iterator[str]:
        vm = self._begin(scene)
        before = self._kept(scene)
        if fault.command == "curl" and fault.mode == "kill-during":
            size = (self.stage.server.directory / f"{IMAGE}.gz").stat().st_size
            self.stage.server.faults[f"/{IMAGE}.gz"] = ServerFault(stall_after=size // 2)
        knobs = [QUICK, KNOB] if fault.mode in HANGS and is_bounded(fault) else [QUICK]
        disturbed = self.stage.shims.run(vm, *scene.arguments, *knobs, fault=fault)
        self.stage.server.faults.clear()
        if fault.mode in DAEMON_DEATHS:
            start_libvirtd()

        yield from _judge(fault, disturbed)
        yield from _prefixed("damaged by the fault", differences(before, self._kept(scene)))
        if disturbed.code == 0:
            wrong = differences(self._wanted, self._observe(scene))
            yield from _prefixed("it went well, it said, but", _grave(fault, disturbed, wrong))

        repeated = self.stage.shims.run(vm, *scene.arguments, QUICK)
        if repeated.code and scene.done not in repeated.said:
            yield f"the next run failed ({repeated.code}):\n{repeated.said}"
        yield from _prefixed("after the next run", repeated.orphans)
        wrong = differences(self._wanted, self._observe(scene))
        yield from _prefixed("after the next run", _grave(fault, disturbed, wrong))
        yield from _prefixed("damaged by the next run", differences(before, self._kept(scene)))

    def _kept(self, scene: Scene) -> State:
        if not scene.kept:
            return {}
        state = self._observe(scene)
        kept = {
            name: what
            for name, what in state.items()
            if any(part in name for part in scene.kept) and not name.endswith(scene.unpredictable or "\0")
        }
        if scene.kept == ("",):
            kept["domain id"] = virsh("domid", "vm")
        return kept


def _calls_of(run: Run, scene: Scene) -> list[str]:
    """Return the calls that are the same each time."""
    return sorted([call for call in run.calls if call.rpartition(" ")[0] not in scene.polls])


def _judge(fault: Fault, run: Run) -> Iterator[str]:
    """Say what a disturbed run should have done."""
    if not run.hit:
        yield f"the fault did not happen (exit code {run.code}):\n{run.said}"
        return
    yield from _prefixed("after the fault", run.orphans)
    if fault.mode in KILLS and run.code != -9:
        yield f"it should have been killed, but ended with {run.code}:\n{run.said}"
    if fault.mode in HANGS and is_bounded(fault):
        program = fault.command.split()[0]
        if not run.ended:
            yield f"it hung:\n{run.said}"
        elif run.code and program not in run.said:
            yield f"its error does not name {program}:\n{run.said}"
    if run.code > 0 and "error: " not in run.said:
        yield f"it failed without an error of its own:\n{run.said}"


def _grave(fault: Fault, run: Run, wrong: Iterator[str]) -> Iterator[str]:
    """Leave out what is told, an empty directory that libvirt would not delete, and what rm left until the next run."""
    for line in wrong:
        if fault.command == "virsh pool-delete" and "(directory)" in line and "kept the directory of pool" in run.said:
            continue
        if fault.command == "rm" and run.code == 0 and line.startswith("left over") and ".tmp " in line:
            continue
        yield line


def _prefixed(prefix: str, found: Iterator[str] | list[str]) -> Iterator[str]:
    return (f"{prefix}: {line}" for line in found)
