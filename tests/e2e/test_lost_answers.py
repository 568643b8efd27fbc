"""The connection is lost at each question: what was not answered is never taken for "not there"."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from blank import blank, blank_image
from link import Link
from world import Vm, domain_state, generate, virsh

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")

FAST = "V1ALPHA1_STOP_TIMEOUT_SECS=0"
MUCH = 1 << 40
NEVER = ("Traceback", "not there", "does not exist", "there is no ", "-define", "is not active")

ENDS = {
    "status": "running",
    "up": "running",
    "ip": "running",
    "stop": "shut off",
    "kill": "shut off",
    "down": "gone",
}
"""The state in which each target leaves a running domain, if it says that all went well."""


@pytest.fixture(params=[False, True], ids=["cut", "down"])
def link(request: pytest.FixtureRequest) -> Iterator[Link]:
    """The way to libvirt. After the cut another connection can be made, or none."""
    with Link("/run/libvirt/libvirt-sock") as link:
        link.goes_down = request.param
        yield link


def places(link: Link, vm: Vm, *words: str) -> list[int]:
    """Return after how many bytes to cut, such that each question of the run is hit."""
    link.cut_after = MUCH
    vm.make(*words, check=words[0] != "ip")
    sent = MUCH - link.cut_after
    link.cut_after = None
    return list(range(0, sent, max(1, sent // 24)))


@pytest.mark.parametrize("target", ENDS)
def test_an_answer_that_is_lost_is_an_error_and_the_next_run_mends_it(
    target: str, link: Link, blank_images: Path, base: Path
) -> None:
    registry = blank(blank_image(blank_images, "deaf")).replace("network: none", "network: default")
    registry = registry.replace("qemu:///system", f"qemu+tcp://127.0.0.1:{link.port}/system")
    vm = generate(registry, base)["web"]
    vm.make("up")
    failed = 0
    for place in places(link, vm, target, FAST):
        vm.make("up")
        link.cut_after = place
        done = vm.make(target, FAST, check=False)
        lost = link.cut_after is None
        link.cut_after, link.is_down = None, False
        said = done.stdout + done.stderr
        assert not [words for words in NEVER if words in said], f"{target}, after {place} bytes: {said}"
        if done.returncode == 0:
            assert domain_state() == ENDS[target], f"{target}, after {place} bytes: {said}"
        else:
            assert "error: " in done.stderr
            failed += lost
        if target == "status" or target == "up":
            assert domain_state() == "running"
    assert failed > 3, "the connection was not lost often enough to tell"
    vm.make("delete-all")
    assert "web" not in virsh("pool-list", "--all", "--name").split()
