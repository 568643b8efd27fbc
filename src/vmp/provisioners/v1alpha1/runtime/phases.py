"""How far an installation is: judged from the domain's metadata, its state, and how it came to it.

| phase in the metadata | domain | what comes next |
|---|---|---|
| any | is on | WAIT |
| any | is off, and its memory is saved | BEGIN: it goes on from there |
| ended | is off | FINISH: the end was seen |
| defined, begun | its guest has turned it off | FINISH |
| defined | was never started | BEGIN |
| defined, begun | is off otherwise, or nobody saw how | BROKEN |
"""

from __future__ import annotations

from typing import NamedTuple

from .facts import Vm
from .libvirt import list_domains, state_and_reason
from .record import DEFINED, ENDED, configured_record
from .virsh import Virsh

BEGIN, WAIT, FINISH, BROKEN = "begin", "wait", "finish", "broken"

OFF = ("shut off", "crashed")
_NEVER_STARTED = ("unknown", "failed", "daemon")
"""How libvirt calls the end of a domain that was not started yet, could not be, or was not yet when libvirt died."""


class Standing(NamedTuple):
    """How far an installation is."""

    phase: str
    state: str
    reason: str
    saved: bool

    @property
    def next(self) -> str:
        """Return what comes next."""
        if self.state not in OFF:
            return WAIT
        if self.saved:
            return BEGIN
        if self.phase == ENDED or (self.state, self.reason) == ("shut off", "shutdown"):
            return FINISH
        return BEGIN if self.phase == DEFINED and self.reason in _NEVER_STARTED else BROKEN


def look_at_installation(vm: Vm, virsh: Virsh) -> Standing | None:
    """Return how far the installation is; None where there is none to wait for, or no domain."""
    state, reason = state_and_reason(virsh, vm.domain.uuid)
    record = configured_record(vm, virsh) if state else None
    if record is None or not record.phase:
        return None
    saved = state in OFF and vm.domain.uuid in list_domains(virsh, "--with-managed-save")
    return Standing(record.phase, state, reason, saved)
