"""The conversation with virsh: where it cannot be had, each question is a process of its own; what it runs is shown."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from blank import blank, blank_image
from world import ENVIRONMENT, Vm, domain_state, generate, inventory

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")

# Without a command it says nothing, as a build without readline that does not flush.
SILENT = """#!/bin/sh
[ $# -gt 3 ] || exec sleep 1000
exec /usr/bin/virsh "$@"
"""


@pytest.fixture
def web(blank_images: Path, base: Path) -> Vm:
    return generate(blank(blank_image(blank_images, "deaf")), base)["web"]


def test_a_virsh_that_cannot_converse_is_run_for_each_question(web: Vm, tmp_path: Path) -> None:
    before = inventory()
    (tmp_path / "bin").mkdir()
    (silent := tmp_path / "bin/virsh").write_text(SILENT)
    silent.chmod(0o755)
    environment = {"PATH": f"{silent.parent}:{ENVIRONMENT['PATH']}"}
    knob = "V1ALPHA1_COMMAND_TIMEOUT_SECS=4"
    assert "started domain web" in web.make("up", knob, environment=environment).stderr
    assert web.make("up", knob, environment=environment).stderr == "web: is running\n"
    web.make("delete-all", knob, environment=environment)
    assert inventory() == before


def test_with_v_each_command_is_shown_in_a_form_that_can_be_pasted(web: Vm) -> None:
    said = web.make("up", "V=1").stderr
    shown = [line.removeprefix("+ ") for line in said.splitlines() if line.startswith("+ ")]
    assert {"virsh", "virt-install", "curl"} <= {line.partition(" ")[0] for line in shown}
    (start,) = [line for line in shown if " start " in line]
    state = start.replace(" start ", " domstate ")
    assert subprocess.run(state, shell=True, capture_output=True, text=True).stdout.strip() == "running"
    assert not [line for line in web.make("up").stderr.splitlines() if line.startswith("+ ")]
    web.make("delete-all")
    assert domain_state() == "gone"


NONSENSE = """#!/bin/sh
[ $# -gt 3 ] || exec sleep 1000
case $4 in
dumpxml) echo '<domain>virsh # ' ;;
*) exec /usr/bin/virsh "$@" ;;
esac
"""


def test_an_answer_that_makes_no_sense_is_an_error_and_changes_nothing(web: Vm, tmp_path: Path) -> None:
    web.make("up")
    (tmp_path / "bin").mkdir()
    (program := tmp_path / "bin/virsh").write_text(NONSENSE)
    program.chmod(0o755)
    environment = {"PATH": f"{program.parent}:{ENVIRONMENT['PATH']}"}
    for target in ("status", "up", "stop", "down", "ip"):
        done = web.make(target, "V1ALPHA1_COMMAND_TIMEOUT_SECS=1", check=False, environment=environment)
        assert done.returncode != 0 and "libvirt's answer about domain web is not XML" in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
    assert domain_state() == "running"
    web.make("delete-all")


def test_words_of_the_conversation_in_an_answer_are_only_words(web: Vm) -> None:
    web.make("up")
    words = "virsh # \nerror: Disconnected from qemu:///system due to end of file\n/@/x/1>\n/@/x/1<\nvirsh > virsh # "
    subprocess.run(["virsh", "-q", "desc", "web", "--live", "--config", "--new-desc", words], check=True)
    assert web.make("up").stderr == "web: is running\n"
    assert "running" in web.make("status").stdout
    web.make("restart")
    web.make("delete-all")
    assert domain_state() == "gone"
