"""A directory as a value, and its way to the disk: the only writer.

Writing is all or nothing. Everything is first written beside its place (which is where a full disk
shows), and only then renamed into it; a failure before that leaves the disk as it was.
A new directory appears with one rename. The base directory is locked meanwhile.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import stat
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

MANIFEST = "MANIFEST"
"""Names the generated files of a directory, so that one that no longer belongs is known and removed."""


class File(NamedTuple):
    """A file's content and its permissions."""

    content: bytes
    mode: int = 0o644


Tree = Mapping[str, File]
"""The files of a directory by relative path, ``/`` between parts."""


def with_manifest(files: Tree, place: str = MANIFEST) -> Tree:
    """Add the file that lists all of them, which may stand in a directory below."""
    names = sorted([*files, place])
    header = "# The files here that vmp wrote. Everything else in this directory is yours, or made by the targets.\n"
    return {**files, place: File((header + "".join(f"{name}\n" for name in names)).encode())}


def write_trees(base: str, trees: Mapping[str, Tree]) -> None:
    """Make each directory below ``base`` hold its tree; the name ``''`` is ``base`` itself, which is never new.

    Raises OSError, having changed nothing."""
    staged = _Staged(base)
    try:
        staged.make_directories(base)
        lock = os.open(base, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for name, tree in trees.items():
                staged.add(name, tree)
            staged.commit()
        finally:
            os.close(lock)
    except BaseException:
        staged.undo()
        raise


def differences(base: str, trees: Mapping[str, Tree]) -> list[str]:
    """Return the paths below ``base`` that are not as the trees have them: missing, other bytes, or no longer written.

    What a tree's own .gitignore names, such as a password, may be missing: a clone of a repository has none.
    """
    found = []
    for name, tree in trees.items():
        target = os.path.join(base, name) if name else base
        ignored = tree[".gitignore"].content.decode().splitlines() if ".gitignore" in tree else []
        for path, file in tree.items():
            place = f"{target}/{path}"
            if not _same(place, file) and (f"/{path}" not in ignored or os.path.lexists(place)):
                found.append(place)
        manifest = next((path for path in tree if os.path.basename(path) == MANIFEST), MANIFEST)
        stale = [f"{target}/{path}" for path in _listed(f"{target}/{manifest}") if path not in tree]
        found += [place for place in stale if os.path.isfile(place)]
    return [os.path.normpath(place) for place in found]


def others(base: str, names: Collection[str]) -> list[str]:
    """Return the directories below ``base`` that vmp wrote for VMs with other names than these."""
    try:
        found = [entry.name for entry in os.scandir(base) if entry.name not in names and entry.name[0] != "."]
    except OSError:
        return []
    return sorted([name for name in found if "Makefile" in _listed(f"{base}/{name}/{MANIFEST}")])


class _Staged:
    """What is ready to be renamed into place."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._new_directories: list[tuple[str, str]] = []
        self._new_files: list[tuple[str, str]] = []
        self._made: list[str] = []
        self._stale: list[str] = []

    def add(self, name: str, tree: Tree) -> None:
        target = os.path.join(self._base, name) if name else self._base
        if os.path.isdir(target):
            self._add_changes(target, tree)
            return
        if os.path.lexists(target):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), target)
        staging = os.path.join(self._base, f".{name}.vmp-new")
        if os.path.islink(staging) or os.path.isfile(staging):
            os.unlink(staging)
        elif os.path.lexists(staging):
            shutil.rmtree(staging)
        self._new_directories.append((staging, target))
        os.mkdir(staging)
        made = {""}
        for path, file in tree.items():
            directory = path.rpartition("/")[0]
            if directory not in made:
                os.makedirs(f"{staging}/{directory}", exist_ok=True)
                made.add(directory)
            _write(f"{staging}/{path}", file)

    def _add_changes(self, target: str, tree: Tree) -> None:
        manifest = next((path for path in tree if os.path.basename(path) == MANIFEST), MANIFEST)
        ours = os.path.lexists(f"{target}/{manifest}")
        for directory in {path.rpartition("/")[0] for path in tree} - {""}:
            if os.path.islink(f"{target}/{directory}"):
                raise NotADirectoryError(errno.ENOTDIR, "is a symbolic link", f"{target}/{directory}")
        for path, file in tree.items():
            place = f"{target}/{path}"
            if not _same(place, file):
                if os.path.isdir(place):
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), place)
                if not ours and os.path.lexists(place):
                    raise FileExistsError(errno.EEXIST, "exists, and was not written by vmp", place)
                self.make_directories(os.path.dirname(place))
                head, tail = os.path.split(place)
                staging = os.path.join(head, f".{tail}.vmp-new")
                if os.path.lexists(staging):
                    os.unlink(staging)
                self._new_files.append((staging, place))
                _write(staging, file)
        for path in _listed(os.path.join(target, manifest)):
            place = os.path.join(target, path)
            directory = os.path.dirname(place)
            if path in tree or not os.path.lexists(place) or os.path.isdir(place) or os.path.islink(directory):
                continue
            if not os.access(directory, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), place)
            self._stale.append(place)

    def make_directories(self, directory: str) -> None:
        """Make a directory and those above it, remembering which were not there."""
        if directory and not os.path.isdir(directory):
            if os.path.lexists(directory):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), directory)
            self.make_directories(os.path.dirname(directory))
            try:
                os.mkdir(directory)
            except FileExistsError:
                return  # another vmp was faster
            self._made.append(directory)

    def commit(self) -> None:
        """Rename everything into place, without being interrupted half-way by Ctrl+C."""
        held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
        try:
            self._rename()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)

    def _rename(self) -> None:
        for staging, target in self._new_directories:
            os.rename(staging, target)
        manifests = [names for names in self._new_files if os.path.basename(names[1]) == MANIFEST]
        for staging, target in self._new_files:
            if os.path.basename(target) != MANIFEST:
                os.rename(staging, target)
        for place in self._stale:
            os.unlink(place)
            _remove_if_empty(os.path.dirname(place))
        for staging, target in manifests:  # last: until then the old one names what is to be removed
            os.rename(staging, target)

    def undo(self) -> None:
        for staging, _ in self._new_directories:
            shutil.rmtree(staging, ignore_errors=True)
        for staging, _ in self._new_files:
            if os.path.lexists(staging):
                os.unlink(staging)
        for directory in reversed(self._made):
            _remove_if_empty(directory)


def _write(path: str, file: File) -> None:
    """Write a new file with its permissions from the first byte, whatever the umask."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file.mode)
    try:
        written = os.write(descriptor, file.content)
        while written < len(file.content):
            written += os.write(descriptor, file.content[written:])
    finally:
        os.close(descriptor)


def _same(path: str, file: File) -> bool:
    """Tell whether the file is there with this content, and not more open than it should be."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        status = os.fstat(descriptor)
        if (
            not stat.S_ISREG(status.st_mode)
            or status.st_size != len(file.content)
            or _mode_differs(status.st_mode & 0o777, file.mode)
        ):
            return False
        return os.read(descriptor, status.st_size + 1) == file.content
    finally:
        os.close(descriptor)


def _mode_differs(found: int, wanted: int) -> bool:
    secret = wanted & 0o077 == 0 and found & 0o077 != 0
    executable = wanted & 0o100 != found & 0o100
    return secret or executable


def _listed(manifest: str) -> Iterable[str]:
    """Return the paths of a manifest that stay inside its directory."""
    try:
        if not os.path.isfile(manifest):
            return []
        with open(manifest, encoding="utf-8") as stream:
            lines = stream.read(1_000_000).splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    paths = [line for line in lines if line and not line.startswith(("#", "/"))]
    return [path for path in paths if ".." not in path.split("/")]


def _remove_if_empty(directory: str) -> None:
    try:
        os.rmdir(directory)
    except OSError:
        pass
