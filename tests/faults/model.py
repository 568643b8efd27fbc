"""What a fault is."""

from __future__ import annotations

from dataclasses import dataclass

KILLS = {
    "kill-before": "the whole process group of the run dies instead of the command",
    "kill-during": "… while the command runs; an upload has come half the way",
    "kill-at-end": "… when all but the last byte of an upload has been read",
    "kill-after": "… once the command has ended, before the run has noticed",
}
FAILURES = {
    "fail-before": "the command does nothing but fail",
    "fail-after": "the command does its work, then fails",
    "lost-after": "the connection is lost after this command of virsh",
}
HANGS = {
    "hang-before": "the command never starts its work",
    "hang-after": "the command does its work, then never ends",
}
DAEMON_DEATHS = {
    "daemon-before": "libvirtd is killed before the command, and started again after the run",
    "daemon-during": "… while this command of virsh runs; an upload has come half the way",
}
PAUSE = "pause-before"
"""This command of virsh waits until the test lets it `go`. No fault of the matrix."""
NONSENSE = "nonsense"
"""This command of virsh is not carried out, and answered with NONSENSE_TEXT. No fault of the matrix."""
NONSENSE_TEXT = "laufend virsh # <x/>"
STALL = "stall-during"
"""Half an upload comes, and then nothing: time for a test to interrupt it. No fault of the matrix."""

MODES = {**KILLS, **FAILURES, **HANGS, **DAEMON_DEATHS}


@dataclass(frozen=True, order=True)
class Fault:
    """The `nth` call of `command` in an undisturbed run of a scene goes wrong.

    A command is a program, or one of virsh's own commands as in `virsh vol-upload`.
    """

    scene: str
    command: str
    nth: int
    mode: str

    def __str__(self) -> str:
        return f"{self.scene}/{self.command.replace(' ', '-')}/{self.nth}/{self.mode}"


CHANGES = frozenset(
    "pool-define pool-build pool-start pool-destroy pool-delete pool-undefine pool-refresh vol-create vol-upload"
    " vol-delete vol-resize define autostart start shutdown destroy undefine"
    " metadata blockresize attach-device detach-device setvcpus desc"
    " suspend resume managedsave managedsave-remove"
    " snapshot-create snapshot-create-as snapshot-revert snapshot-delete pool-create-as vol-clone"
    " net-define net-autostart net-start net-update net-destroy net-undefine".split()
)
"""The commands of virsh that change something: between two of the others it does not matter when a run ends."""

BY_NODE_SCENE = "up-by-node"
"""What the node does, such as a download, has no deadline as a whole: there a hanging ssh is for the user to end."""

BOUNDED = frozenset(["virsh", "virt-install", "genisoimage", "xorriso", "ssh"])
"""The programs that V1ALPHA1_COMMAND_TIMEOUT_SECS bounds; a user ends the run when another one hangs."""


def faults_of(scene: str, calls: list[str]) -> list[Fault]:
    """Return every fault of a scene, for the calls of an undisturbed run (`COMMAND NTH`)."""
    faults = []
    for call in calls:
        command, _, nth = call.rpartition(" ")
        # libvirt does not wait for the end of the ssh that it runs: the run may have ended before.
        by_libvirt = (scene, command) == (BY_NODE_SCENE, "ssh")
        modes = [mode for mode in _modes(command) if not (by_libvirt and mode in ("hang-after", "kill-after"))]
        faults += [Fault(scene, command, int(nth), mode) for mode in modes]
    return faults


def _modes(command: str) -> list[str]:
    program, _, word = command.partition(" ")
    if word == "net-start":  # a libvirtd that dies in it leaves the bridge, which none after it takes or deletes
        return ["kill-during", "kill-after", "fail-before", "lost-after", "hang-after"]
    if program == "virsh" and word in CHANGES:
        end = ["kill-at-end"] if word == "vol-upload" else []
        return ["kill-during", *end, "kill-after", "fail-before", "lost-after", "hang-after", "daemon-during"]
    if word:
        return ["fail-before", "lost-after"]
    hangs = ["hang-before", "hang-after"] if program in BOUNDED else ["hang-before"]
    deaths = ["daemon-before"] if program == "virsh" else []
    return ["kill-before", "kill-during", "kill-after", "fail-before", "fail-after", *hangs, *deaths]
