"""Directories on the disk: all or nothing, and nothing that is not ours."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmp.tree import MANIFEST, File, with_manifest, write_trees

TREE = with_manifest({"a": File(b"one\n"), "lib/run": File(b"#!/bin/sh\n", 0o755), "key": File(b"secret", 0o600)})


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    before = os.umask(0o022)
    yield tmp_path / "base"
    os.umask(before)


def _files(directory: Path) -> dict[str, bytes]:
    """Return every entry below a directory, hidden and left-over ones too."""
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else b"(directory)"
        for path in sorted(directory.rglob("*"))
    }


def _write(base: Path, name: str, **files: str) -> None:
    tree = with_manifest({path.replace("__", "/"): File(text.encode()) for path, text in files.items()})
    write_trees(str(base), {name: tree})


def test_a_tree_is_written_with_its_permissions(base: Path) -> None:
    write_trees(str(base), {"vm": TREE})
    modes = {path: stat.S_IMODE((base / "vm" / path).stat().st_mode) for path in TREE}
    assert modes == {"a": 0o644, "lib/run": 0o755, "key": 0o600, MANIFEST: 0o644}
    assert {path: (base / "vm" / path).read_bytes() for path in TREE} == {
        path: file.content for path, file in TREE.items()
    }


def test_a_base_directory_is_made_with_those_above_it(base: Path) -> None:
    _write(base / "deep" / "er", "vm", a="x")
    assert (base / "deep/er/vm/a").read_text() == "x"


def test_a_base_relative_to_the_current_directory_works(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base.mkdir()
    monkeypatch.chdir(base)
    for relative in (".", "sub", "sub/../other", "./"):
        write_trees(relative, {"vm": TREE})
        assert Path(relative, "vm/a").read_text() == "one\n"


def test_a_secret_is_closed_whatever_the_umask_and_however_open_it_was(base: Path) -> None:
    os.umask(0)
    write_trees(str(base), {"vm": TREE})
    key = base / "vm/key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    key.chmod(0o644)
    write_trees(str(base), {"vm": TREE})
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_an_unchanged_file_keeps_its_time_and_identity(base: Path) -> None:
    write_trees(str(base), {"vm": TREE})
    paths = [base / "vm" / path for path in TREE]
    for path in paths:
        os.utime(path, (1, 1))
    before = [(path.stat().st_ino, path.stat().st_mtime) for path in paths]
    write_trees(str(base), {"vm": {**TREE, "a": File(b"two\n")}})
    after = [(path.stat().st_ino, path.stat().st_mtime) for path in paths]
    assert [pair[0] == pair[1] for pair in zip(before, after, strict=True)] == [path != "a" for path in TREE]
    assert (base / "vm/a").read_bytes() == b"two\n"


def test_a_file_of_the_same_size_is_compared_by_content(base: Path) -> None:
    _write(base, "vm", a="one")
    _write(base, "vm", a="two")
    assert (base / "vm/a").read_text() == "two"


def test_a_file_that_no_longer_belongs_is_removed_with_its_empty_directory(base: Path) -> None:
    _write(base, "vm", a="x", seed__network="x", seed__user="x")
    _write(base, "vm", a="x", seed__user="x")
    assert sorted(_files(base / "vm")) == [MANIFEST, "a", "seed", "seed/user"]
    _write(base, "vm", a="x")
    assert sorted(_files(base / "vm")) == [MANIFEST, "a"]


def test_what_the_user_put_there_is_left_alone(base: Path) -> None:
    _write(base, "vm", a="x", seed__user="x")
    for path in ("notes", "seed/mine", ".hidden", ".a.swp"):
        (base / "vm" / path).write_text("mine")
    (base / "other").mkdir()
    _write(base, "vm", a="y")
    files = _files(base)
    assert [files[f"vm/{path}"] for path in ("notes", "seed/mine", ".hidden", ".a.swp")] == [b"mine"] * 4
    assert "vm/seed/user" not in files and "other" in files


def test_a_manifest_that_was_tampered_with_removes_nothing_outside(base: Path) -> None:
    _write(base, "vm", a="x")
    outside = base / "outside"
    outside.write_text("mine")
    with open(base / "vm" / MANIFEST, "a") as stream:
        stream.write(f"../outside\n{outside}\nsub/../../outside\n")
    _write(base, "vm", a="y")
    assert outside.read_text() == "mine"


def test_a_manifest_of_rubbish_is_no_obstacle(base: Path) -> None:
    _write(base, "vm", a="x")
    (base / "vm" / MANIFEST).write_bytes(b"\xff\0\n")
    _write(base, "vm", a="y")
    assert (base / "vm/a").read_text() == "y"


def test_a_generated_file_that_the_user_replaced_by_a_link_is_written_anew(base: Path) -> None:
    _write(base, "vm", a="x")
    target = base / "target"
    target.write_text("x")
    (base / "vm/a").unlink()
    (base / "vm/a").symlink_to(target)
    _write(base, "vm", a="y")
    assert not (base / "vm/a").is_symlink() and target.read_text() == "x"


def _refused(base: Path, trees: dict[str, str], expected: type[OSError] = OSError) -> OSError:
    """Write several trees of one file; it has to fail and leave the disk as it was."""
    before = _files(base) if base.is_dir() else None
    with pytest.raises(expected) as caught:
        write_trees(str(base), {name: with_manifest({"f": File(text.encode())}) for name, text in trees.items()})
    assert (_files(base) if base.is_dir() else None) == before
    return caught.value


def test_nothing_is_written_where_the_base_is_a_file(base: Path) -> None:
    base.write_text("a file")
    _refused(base, {"vm": "x"}, NotADirectoryError)
    _refused(base / "below", {"vm": "x"}, NotADirectoryError)
    assert base.read_text() == "a file"


def test_nothing_is_written_where_one_of_many_is_in_the_way(base: Path) -> None:
    _write(base, "first", f="old")
    (base / "third").write_text("a file")
    _refused(base, {"first": "new", "second": "x", "third": "x"}, NotADirectoryError)
    (base / "third").unlink()
    (base / "third/f").mkdir(parents=True)
    _refused(base, {"first": "new", "second": "x", "third": "x"}, IsADirectoryError)
    (base / "third/f").rmdir()
    (base / "third").rmdir()
    (base / "third").symlink_to("nowhere")
    _refused(base, {"first": "new", "second": "x", "third": "x"}, NotADirectoryError)


def test_directories_made_on_the_way_are_removed_when_writing_fails(base: Path) -> None:
    base.mkdir()
    with pytest.raises(OSError):
        write_trees(str(base / "new" / "er"), {"vm": {"n" * 300: File(b"x")}})
    assert _files(base) == {}


def test_a_name_too_long_for_the_disk_leaves_it_as_it_was(base: Path) -> None:
    _write(base, "a", f="old")
    assert _refused(base, {"a": "new", "b": "x", "n" * 300: "x"}).errno == errno.ENAMETOOLONG


_FULL = """
import errno, os, subprocess, sys
from vmp.tree import File, with_manifest, write_trees
base = sys.argv[1]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", base], check=True)
write_trees(base, {"old": with_manifest({"f": File(b"old")})})
def files():
    paths = [os.path.join(root, name) for root, _, names in os.walk(base) for name in names]
    return {path: open(path, "rb").read() for path in paths}
before, directories = files(), sorted(os.listdir(base))
try:
    many = {f"vm{n}": {"f": File(b"x" * 100_000)} for n in range(20)}
    write_trees(base, {"old": with_manifest({"f": File(b"new")}), **many})
except OSError as error:
    assert error.errno == errno.ENOSPC, error
else:
    raise SystemExit("a full disk was no error")
assert files() == before and sorted(os.listdir(base)) == directories
"""


def test_a_disk_that_fills_half_way_leaves_everything_as_it_was(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base.mkdir()
    namespace = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    probe = subprocess.run([*namespace, "mount", "-t", "tmpfs", "tmpfs", base], capture_output=True, text=True)
    if probe.returncode == 0:
        subprocess.run([*namespace, sys.executable, "-c", _FULL, base], check=True)
        return
    with capsys.disabled():
        print(
            f"\nno small file system to fill here ({probe.stderr.strip()}): a limit on the size of files stands for it"
        )
    limited = _FULL.replace(
        'subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", base], check=True)\n', ""
    )
    limited = "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n" + limited.replace(
        "before, directories =", "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\nbefore, directories ="
    ).replace("errno.ENOSPC", "errno.EFBIG")
    subprocess.run([sys.executable, "-c", limited, base], check=True)


_MANY = """
import sys
from vmp.tree import File, with_manifest, write_trees
print("begin", flush=True)
tree = with_manifest({f"f{n}": File(sys.argv[2].encode() * 1000) for n in range(20)})
write_trees(sys.argv[1], {f"vm{n}": tree for n in range(300)})
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("delay", [0.0, 0.05, 0.2])
def test_an_interrupted_run_leaves_whole_directories_and_the_next_one_mends_it(
    base: Path, number: signal.Signals, delay: float
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _MANY, str(base), "x"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None and process.stdout.readline() == b"begin\n"
    time.sleep(delay)
    process.send_signal(number)
    process.communicate()
    for directory in base.glob("vm*"):
        assert len(os.listdir(directory)) == 21, "a new directory appears whole"
    if number == signal.SIGINT:
        assert not list(base.glob(".*")), "Ctrl+C leaves nothing half-made"
    subprocess.run([sys.executable, "-c", _MANY, str(base), "y"], check=True, stdout=subprocess.DEVNULL)
    assert len(os.listdir(base)) == 300
    assert all((directory / "f7").read_bytes() == b"y" * 1000 for directory in base.iterdir())


def test_two_runs_at_once_do_not_mix(base: Path) -> None:
    runs = [
        subprocess.Popen([sys.executable, "-c", _MANY, str(base), letter], stdout=subprocess.DEVNULL) for letter in "ab"
    ]
    assert [run.wait() for run in runs] == [0, 0]
    contents = {path.read_bytes()[:1] for path in base.glob("vm*/f*")}
    assert len(contents) == 1 and len(os.listdir(base)) == 300


def test_a_file_system_that_is_read_only_is_an_error() -> None:
    with pytest.raises(OSError):
        write_trees("/proc/vmp-test", {"vm": TREE})


def test_a_directory_that_may_not_be_written_is_left_as_it_was(base: Path) -> None:
    if os.geteuid() != 0:
        _write(base, "old", f="old")
        base.chmod(0o500)
        try:
            _refused(base, {"vm": "x"}, PermissionError)
        finally:
            base.chmod(0o700)
    else:  # root may write everywhere but into what the kernel keeps
        with pytest.raises(OSError):
            write_trees("/sys/kernel", {"vm": TREE})
        assert not os.path.lexists("/sys/kernel/vm") and not os.path.lexists("/sys/kernel/.vm.vmp-new")


def test_a_manifest_lists_what_was_written_and_itself() -> None:
    names = with_manifest({"b": File(b""), "a/c": File(b"")})[MANIFEST].content.decode().splitlines()
    assert [name for name in names if not name.startswith("#")] == [MANIFEST, "a/c", "b"]


def test_a_directory_that_vmp_did_not_write_is_not_overwritten(base: Path) -> None:
    (base / "vm").mkdir(parents=True)
    (base / "vm" / "a").write_text("mine")
    before = _files(base)
    with pytest.raises(FileExistsError):
        write_trees(str(base), {"vm": TREE})
    assert _files(base) == before


def test_nothing_is_written_or_removed_through_a_linked_directory(base: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "run").write_text("mine")
    write_trees(str(base), {"vm": TREE})
    (base / "vm/lib/run").unlink()
    (base / "vm/lib").rmdir()
    (base / "vm/lib").symlink_to(outside)
    with pytest.raises(NotADirectoryError):
        write_trees(str(base), {"vm": TREE})
    _write(base, "vm", a="only")  # lib/run no longer belongs
    assert (outside / "run").read_text() == "mine"


@pytest.mark.parametrize("name", ["a", MANIFEST])
def test_a_pipe_in_place_of_a_file_is_no_trap(base: Path, name: str) -> None:
    write_trees(str(base), {"vm": TREE})
    (base / "vm" / name).unlink()
    os.mkfifo(base / "vm" / name)
    write_trees(str(base), {"vm": TREE})
    assert (base / "vm" / name).read_bytes() == TREE[name].content


@pytest.mark.parametrize("left", ["file", "link"])
def test_what_an_interrupted_run_left_is_no_obstacle_whatever_it_is(base: Path, left: str) -> None:
    base.mkdir()
    staging = base / ".vm.vmp-new"
    staging.write_text("x") if left == "file" else staging.symlink_to("/nowhere")
    write_trees(str(base), {"vm": TREE})
    assert not os.path.lexists(staging) and (base / "vm/a").exists()


def test_the_base_directory_itself_can_hold_a_tree_with_its_manifest_below(base: Path) -> None:
    ours = with_manifest({"a": File(b"1"), ".ours/old": File(b"2")}, f".ours/{MANIFEST}")
    base.mkdir()
    (base / "theirs").write_text("3")
    write_trees(str(base), {"vm": TREE, "": ours})
    assert (base / "a").read_text() == "1" and (base / "vm/a").read_text() == "one\n"
    write_trees(str(base), {"": with_manifest({"a": File(b"4")}, f".ours/{MANIFEST}")})
    names = {name for name in _files(base) if not name.startswith("vm")}
    assert names == {"a", ".ours", f".ours/{MANIFEST}", "theirs"}
    assert (base / "a").read_text() == "4"


def test_a_file_in_the_base_directory_that_is_not_ours_stops_everything(base: Path) -> None:
    base.mkdir()
    (base / "a").write_text("theirs")
    with pytest.raises(FileExistsError):
        write_trees(str(base), {"vm": TREE, "": with_manifest({"a": File(b"1")}, f".ours/{MANIFEST}")})
    assert _files(base) == {"a": b"theirs"}
