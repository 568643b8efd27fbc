"""Where the tests run, and what may be skipped: nothing, when all of them are to pass."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "e2e"), str(HERE / "lab")]

from world import build_guest, inventory, remove_all, virsh  # noqa: E402

LAB = os.environ.get("VMP_IN_LAB") == "yes"

# What is started in the background ignores Ctrl+C, and so would what it starts: tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A make below another one says which directory it enters: a user's is not below `make test`.
for variable in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEFILES", "MAKE_TERMOUT", "MAKE_TERMERR"):
    os.environ.pop(variable, None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="count a skipped test as a failure")
    parser.addoption("--rounds", type=int, default=1, metavar="N", help="how often tests of parallel runs go round")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not {HERE / "e2e", HERE / "compat"}.isdisjoint(item.path.parents):
            item.add_marker(pytest.mark.lab)
    if LAB:
        return
    outside = pytest.mark.skip(reason="needs the private libvirt that 'make test' starts")
    for item in items:
        if item.get_closest_marker("lab"):
            item.add_marker(outside)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.skipped and item.config.getoption("--no-skips"):  # type: ignore[attr-defined]
        report.outcome = "failed"  # type: ignore[attr-defined]
    return report


@pytest.fixture(scope="session")
def default_pool() -> None:
    """The pool `default`, as an administrator makes it; provisioners only use it."""
    if "default" not in virsh("pool-list", "--all", "--name").split():
        virsh("pool-define-as", "default", "dir", "--target", "/var/lib/libvirt/images")
        virsh("pool-start", "default")


@pytest.fixture
def unchanged_libvirt(default_pool: None) -> Iterator[None]:
    """After the test libvirt has exactly what it had before."""
    before = inventory()
    yield
    after = inventory()
    if after != before:
        remove_all()  # so that one failing test is one failure
    assert after == before


@pytest.fixture(scope="session")
def tiny_iso() -> Path:
    return build_guest("tiny-iso")


@pytest.fixture(scope="session")
def tiny_disk() -> Path:
    return build_guest("tiny-disk")


@pytest.fixture(scope="session")
def debian_cloud() -> Path:
    return build_guest("debian-cloud")


@pytest.fixture(scope="session")
def blank_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the images of tests/e2e/blank.py are kept."""
    return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="session")
def ssh_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key of the user who runs the provisioners."""
    path = tmp_path_factory.mktemp("ssh") / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Where provisioners are written: a path that a careless script would break at."""
    return tmp_path / "vms of it's $HOME"
