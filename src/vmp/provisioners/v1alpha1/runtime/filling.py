"""How a file gets into a volume: through libvirt, or where libvirt is on this host by a copy, several times as fast.

Either way the volume grows with what has come, so another run sees that somebody is at work on it.
"""

from __future__ import annotations

import os
import stat
import time
from functools import partial

from .conversation import Failed, Lost
from .facts import Vm
from .files import remove, size_of
from .node import is_here
from .progress import Progress, ReadBy
from .records import Volume
from .say import Problem
from .storage import list_volumes, look_at_volume
from .virsh import Virsh

_MIB = 1 << 20
_ENDS = 64 << 10


def fill(vm: Vm, virsh: Virsh, volume: Volume) -> None:
    """Fill a volume that this run has just made. If that fails, it is deleted."""
    path, name = vm.file(volume.file), os.path.basename(volume.file)
    try:
        size = os.path.getsize(path)
        mib = (size + _MIB - 1) // _MIB
        facts = look_at_volume(virsh, volume.pool, volume.name)
        if facts and worth_copying(vm, size) and _may_write(facts.path):
            vm.say(f"copying {volume.file} ({mib} MiB) to volume {volume.key}")
            with Progress(vm, f"copying {name}", total=size, done=partial(size_of, facts.path)):
                copy(path, facts.path)
            virsh.ask("pool-refresh", f"--pool={volume.pool}")
            return
        vm.say(f"uploading {volume.file} ({mib} MiB) to volume {volume.key}")
        words = ["vol-upload", f"--pool={volume.pool}", f"--vol={volume.name}", f"--file={path}"]
        words += ["--sparse"] if _has_holes(path) else []
        with Progress(vm, f"uploading {name}", total=size, done=ReadBy(lambda: virsh.pid, path)):
            virsh.ask(*words, seconds=_bound(vm, size))
        if size_of(path) == 0:
            raise Problem(f"{volume.file} is empty")
        again = look_at_volume(virsh, volume.pool, volume.name)
        if again is None or again.physical < size:  # libvirt does not always say so
            came = again.physical if again else 0
            raise Problem(f"only {came} of {size} bytes have come", "perhaps: No space left on device")
        if volume.format != "raw":  # libvirt reads the format soon after the upload, not at once
            virsh.try_("pool-refresh", f"--pool={volume.pool}")
    except (Problem, OSError) as error:
        _take_away(virsh, volume)
        hints = error.hints if isinstance(error, Problem) else []
        raise Problem("could not make the volumes", f"volume {volume.key}: {error}", *hints) from None


def _take_away(virsh: Virsh, volume: Volume) -> None:
    """Delete a volume whose filling has failed, if libvirt answers; else the next run finds that it is incomplete.

    libvirt may need a moment to see that nobody fills it any more.
    """
    for attempt in range(10):
        try:
            if not virsh.try_("vol-delete", f"--pool={volume.pool}", f"--vol={volume.name}"):
                return
            if volume.name not in list_volumes(virsh, volume.pool):
                return
        except Lost:
            return  # the first failure is the one to tell
        except Failed:
            pass  # the connection was lost once more; virsh makes another one
        time.sleep(0.1 * attempt)


def _bound(vm: Vm, size: int) -> int:
    """Return the deadline for so many bytes: the knob's seconds, and as many again for each 64 MiB."""
    return vm.knobs.command_timeout * (1 + size // (64 * _MIB))


def worth_copying(vm: Vm, size: int) -> bool:
    """Tell whether another look at the pool costs less than sending so much through libvirt."""
    return is_here(vm) and vm.uri.startswith("qemu") and size >= 32 * _MIB


def _may_write(path: str) -> bool:
    """Tell whether the volume is the file of one byte that libvirt has just made, as seen from here."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == 1 and os.access(path, os.W_OK)


def _has_holes(path: str) -> bool:
    """Tell whether much less than all of a file is on the disk (a compressing file system looks the same)."""
    found = os.stat(path)
    return found.st_size > _MIB and found.st_blocks * 512 + _MIB < found.st_size


def copy(source: str, target: str) -> None:
    """Copy a file over another one; its holes stay holes. The target keeps its owner, and grows as it is filled."""
    with open(source, "rb", buffering=0) as reader, open(target, "r+b", buffering=0) as writer:
        size = os.fstat(reader.fileno()).st_size
        position = 0
        while position < size:
            begin, end = _next_data(reader.fileno(), position, size)
            writer.seek(begin)
            reader.seek(begin)
            while begin < end and (data := reader.read(min(_MIB, end - begin))):
                view = memoryview(data)
                while view:
                    view = view[writer.write(view) :]
                begin += len(data)
            position = max(end, position + 1)
        writer.truncate(size)


def _next_data(file: int, position: int, size: int) -> tuple[int, int]:
    """Return where the next bytes of a file that are no hole begin and end."""
    if not hasattr(os, "SEEK_DATA"):
        return position, size
    try:
        begin = os.lseek(file, position, os.SEEK_DATA)
        return begin, min(size, os.lseek(file, begin, os.SEEK_HOLE))
    except OSError:  # there are none
        return size, size


def same_ends(vm: Vm, virsh: Virsh, volume: Volume, size: int) -> bool:
    """Tell whether the first and the last 64 KiB of so many bytes are those of the file."""
    length = min(size, _ENDS)
    scratch = vm.file("ends.tmp")
    with open(vm.file(volume.file), "rb") as file:
        for offset in (0, size - length):
            file.seek(offset)
            words = ["vol-download", f"--pool={volume.pool}", f"--vol={volume.name}", f"--file={scratch}"]
            try:
                virsh.ask(*words, f"--offset={offset}", f"--length={length}")
                with open(scratch, "rb") as found:
                    if found.read() != file.read(length):
                        return False
            except OSError as error:
                raise Problem(f"cannot compare volume {volume.key} with {volume.file}: {error.strerror}") from None
            finally:
                remove(scratch)
    return True
