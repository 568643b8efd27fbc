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


def test_a_directory_that_cannot_be_written_is_named_and_questions_go_on(web: Vm) -> None:
    web.make("up")
    subprocess.run(["mount", "--bind", web.directory, web.directory], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", web.directory], check=True)
        for target in ("up", "down"):
            done = web.make(target, check=False)
            assert done.returncode != 0 and "cannot write ./.lock: Read-only file system" in done.stderr, done.stderr
        assert "running" in web.make("status").stdout
    finally:
        subprocess.run(["umount", web.directory], check=True)
    assert domain_state() == "running"
    web.make("delete-all")


def test_a_python_that_is_too_old_is_said_in_one_line(web: Vm, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (old := tmp_path / "bin/python3").write_text(
        "#!/bin/sh\n"
        'while [ $# -gt 0 ] && [ "$1" != -c ]; do shift; done\n'
        "program=\"import sys; sys.version_info = (3, 8, 10); sys.version = '3.8.10'\n$2\"; shift 2\n"
        'exec /usr/bin/python3 -I -S -c "$program" "$@"\n'
    )
    old.chmod(0o755)
    done = web.make("status", check=False, environment={"PATH": f"{old.parent}:{ENVIRONMENT['PATH']}"})
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert done.returncode != 0 and len(said) == 1 and "3.9" in said[0], done.stderr
