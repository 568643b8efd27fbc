"""`suspend`, `resume` and `save`: from each state they lead where their name says, or say what is in the way."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from blank import blank, blank_image
from world import Vm, domain_state, generate, virsh

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")

SAVES = Path("/var/lib/libvirt/qemu/save")


@pytest.fixture
def web(blank_images: Path, base: Path) -> Iterator[Vm]:
    web = generate(blank(blank_image(blank_images, "deaf")), base)["web"]
    yield web
    web.make("delete-all")


def reason() -> str:
    return virsh("domstate", "--reason", "web").strip()


def test_a_suspended_guest_stands_still_until_it_is_resumed(web: Vm) -> None:
    web.make("up")
    assert web.make("suspend").stderr == "web: suspended domain web\n"
    assert domain_state() == "paused"
    assert web.make("suspend").stderr == "web: is suspended\n"
    assert "paused" in web.make("status", check=False).stdout
    assert web.make("resume").stderr == "web: resumed domain web\n"
    assert web.make("resume").stderr == "web: is running\n"
    assert domain_state() == "running"


@pytest.mark.parametrize("target", ["start", "up"])
@pytest.mark.parametrize("before", ["up", "suspend"])
def test_a_saved_guest_goes_on_at_the_next_start_also_if_it_was_suspended(web: Vm, before: str, target: str) -> None:
    web.make("up")
    web.make(before)
    assert web.make("save").stderr == "web: saving 64 MiB of memory on the node\nweb: saved domain web\n"
    assert domain_state() == "shut off"
    assert [path.name for path in SAVES.iterdir()] == ["web.save"]
    assert web.make("save").stderr == "web: is saved\n"
    assert "shut off, saved" in web.make("status", check=False).stdout
    assert web.make(target).stderr == "web: started domain web\n"
    assert reason() == "running (restored)"
    assert not list(SAVES.iterdir())


def test_without_a_running_guest_they_say_so(web: Vm) -> None:
    for target in ("suspend", "resume", "save"):
        refused = web.make(target, check=False)
        assert (refused.returncode, "there is no domain web" in refused.stderr) == (2, True)
    web.make("create")
    for target in ("suspend", "resume", "save"):
        refused = web.make(target, check=False)
        assert (refused.returncode, "the domain is shut off\n  'make start' starts it" in refused.stderr) == (2, True)
    assert domain_state() == "shut off"


def test_memory_for_which_there_is_no_room_is_not_lost(web: Vm) -> None:
    web.make("up")
    with small(SAVES):
        refused = web.make("save", check=False)
    assert refused.returncode == 2
    assert "error: domain web could not be saved" in refused.stderr
    assert domain_state() == "running"
    web.make("save")
    web.make("start")


@contextmanager
def small(directory: Path) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", directory], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", directory], check=True)
