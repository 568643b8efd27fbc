"""`diff`: what differs between the directory and libvirt, line by line, with when `apply` would bring it."""

from __future__ import annotations

from collections.abc import Iterator

from .changes import Change, changes_of, changes_of_networks
from .drive_changes import lines_of_seed
from .facts import Vm
from .libvirt import Domain
from .look import look
from .making import Run
from .networks import look_at_networks
from .record import facts_to_record, read_record, recorded_reservations, recorded_vm
from .reservations import look_at_reservations
from .say import Problem, write
from .seen import Seen, see
from .virsh import Virsh
from .wording import option_changes


def diff(run: Run) -> int:
    """Print what differs; return 0 if nothing does, else 1."""
    vm = run.vm
    (seen,) = see(run.virsh, [vm])
    if isinstance(seen, Problem):
        look(vm, run.virsh)  # which knows more to say
        raise seen
    lines = lines_of_diff(vm, run.virsh, seen)
    tell_diff(vm, seen, lines)
    return 1 if lines else 0


def lines_of_diff(vm: Vm, virsh: Virsh, seen: Seen | None) -> list[Change]:
    """Return the lines that `diff` prints."""
    if seen is None:
        return [Change(f"domain {vm.domain.name}: is not there", f"with {vm.make} up")]
    if seen.record.phase:
        return [Change("installation: has not ended", f"with {vm.make} up")]
    states = look_at_networks(vm, virsh)
    recorded = recorded_reservations(vm, Domain(vm.domain.name, "", seen.configured))
    return [*changes_of_networks(states, look_at_reservations(vm, virsh, recorded)), *changes_of(vm, seen)]


def tell_diff(vm: Vm, seen: Seen | None, lines: list[Change], prefix: str = "") -> None:
    """Print lines of `diff`; what only the guest still lacks is said beside them."""
    width = max([len(line.text) for line in lines], default=0)
    for line in lines:
        write(f"{prefix}{line.text:<{min(width, 80)}}  {line.when}", stream=1)
    waiting = list(waiting_for_start(vm, seen)) if seen else []
    for text in waiting:
        vm.say(f"waits for the next start: {text}")
    if not lines and not waiting:
        vm.say("is as the directory says")


def waiting_for_start(vm: Vm, seen: Seen) -> Iterator[str]:
    """Yield what the next start would bring to a guest that runs, as `apply` has left it."""
    record, now = read_record(seen.current), recorded_vm(vm, seen.record)
    if not seen.on or record is None or (record.definition, record.seed) == (seen.record.definition, seen.record.seed):
        return
    before = recorded_vm(vm, record)
    if before is None or now is None:
        yield "the definition"
        return
    for change in option_changes(before.domain, now.domain):
        yield from change.words()
    if record.facts.get("passwordsSum") != seen.record.facts.get("passwordsSum"):
        yield "a password of the domain"
    yield from [line.removesuffix(" changed") for line in lines_of_seed(record.seed, seen.record.seed)]


def is_as_declared(vm: Vm, seen: Seen) -> bool:
    """Tell whether `apply` would do nothing, as far as that is known without a look at networks."""
    kept = seen.record.facts == facts_to_record(vm) and bool(seen.record.parts)
    return (
        kept
        and not vm.networks
        and not vm.reservations
        and not changes_of(vm, seen)
        and not any(waiting_for_start(vm, seen))
    )
