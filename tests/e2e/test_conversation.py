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


def test_facts_that_are_not_as_vmp_writes_them_end_in_one_clear_error(web: Vm) -> None:
    facts = web.directory / "vm.json"
    text = facts.read_text()
    broken = {
        text[:100]: "vm.json is not JSON",
        text.replace('"format": 1', '"format": 2'): "vm.json is of form 2, and this provisioner.py reads form 1",
        text.replace('"domain"', '"somain"'): "vm.json is not as vmp writes it",
        "[]": "vm.json is of form None",
    }
    for content, words in broken.items():
        facts.write_text(content)
        refused = web.make("up", check=False)
        assert refused.returncode == 2 and words in refused.stderr and "vmp gen" in refused.stderr, refused.stderr
        assert "Traceback" not in refused.stderr
    facts.unlink()
    assert "there is no vm.json" in web.make("status", check=False).stderr
