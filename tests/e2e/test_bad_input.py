"""What a user, or a program on the way, has broken: a clear error, nothing half done, and the next run mends it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from blank import blank, blank_image
from world import ENVIRONMENT, Vm, domain_state, generate, inventory

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")

VMS = "".join(f"  - {{name: {name}, template: blank}}\n" for name in ("web", "db"))


@pytest.fixture
def web(blank_images: Path, base: Path) -> Vm:
    """A VM with a password, in a fleet of two."""
    registry = blank(blank_image(blank_images, "deaf"), VMS)
    registry = registry.replace("graphics: none", "graphics: vnc,password=hunter2")
    return generate(registry, base, "--fleet")["web"]


def refused(vm: Vm, *arguments: str, words: str, environment: Mapping[str, str] | None = None) -> None:
    """Expect an error with these words, and no other end of a run."""
    done = vm.make(*arguments, check=False, environment=environment)
    assert done.returncode != 0 and "error: " in done.stderr, done.stderr
    assert words in done.stderr, done.stderr
    assert "Traceback" not in done.stderr, done.stderr


BROKEN: dict[str, dict[str, Any]] = {
    "name is 5, not a text": {"name": 5},
    "domain.name is null, not a text": {"domain": {"name": None}},
    'domain.virtInstall is "--name=web", not a list': {"domain": {"virtInstall": "--name=web"}},
    "an item of domain.virtInstall is 1, not a text": {"domain": {"virtInstall": [1]}},
    "connection.uri is [], not a text": {"connection": {"uri": []}},
    "knobs is 5, not a mapping": {"knobs": 5},
    "knobs.V1ALPHA1_SSH_USER is 5, not a text": {"knobs": {"V1ALPHA1_SSH_USER": 5}},
    'an item of pools is "abc", not a mapping': {"pools": ["abc"]},
    "pools.name is 5, not a text": {"pools": [{"name": 5, "path": "/pool"}]},
    "'path' is missing": {"pools": [{"name": "web"}]},
    "'12 giga' is no capacity": {"volumes": [{"pool": "web", "name": "a", "format": "raw", "capacity": "12 giga"}]},
    "there is no archive of type 'rar'": {"image": {"archive": {"type": "rar"}}},
    "image.checksum.signature is true, not a mapping": {"image": {"checksum": {"signature": True}}},
    "nothing that a signature of 'sums' could be of": {
        "image": {"checksum": {"signature": {"url": "file:///sums.sign", "of": "sums"}}}
    },
    "nothing that a signature of 'nothing' could be of": {
        "image": {"checksum": {"url": "file:///sums", "signature": {"url": "file:///sums.sign", "of": "nothing"}}}
    },
}
"""By the words of the error, what somebody has put into vm.json."""


def merged(facts: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Return the facts with the change in them."""
    both = {key: value for key, value in change.items() if isinstance(value, dict) and isinstance(facts.get(key), dict)}
    return {**facts, **change, **{key: merged(facts[key], value) for key, value in both.items()}}


def test_facts_that_are_not_as_vmp_writes_them_end_in_one_clear_error(web: Vm) -> None:
    facts = web.directory / "vm.json"
    text = facts.read_text()
    broken = {
        text[:100]: "vm.json is not JSON",
        "": "vm.json is not JSON",
        "[" * 100_000: "vm.json is not JSON",
        text.replace('"format": 1', '"format": 3'): "vm.json is of form 3, and this provisioner.py reads forms 1 and 2",
        text.replace('"domain"', '"somain"'): "vm.json is not as vmp writes it: somain is {",
        "[]": "vm.json is of form None",
        **{json.dumps(merged(json.loads(text), change)): words for words, change in BROKEN.items()},
    }
    for content, words in broken.items():
        facts.write_text(content)
        refused(web, "up", words=words)
        refused(web, "up", words="'vmp gen' writes")
    facts.write_bytes(b"\xff\xfe")
    refused(web, "status", words="vm.json is not JSON")
    facts.unlink()
    refused(web, "status", words="there is no vm.json")
    facts.mkdir()
    refused(web, "down", words="cannot read vm.json: Is a directory")


@pytest.mark.parametrize("content", ["[]", "{}", "{", '{"secret": 5}', None])
def test_passwords_that_are_not_there_are_named_and_nothing_is_left(web: Vm, content: str | None) -> None:
    secrets = web.directory / "secrets.json"
    text = secrets.read_text()
    secrets.unlink()
    if content is not None:
        secrets.write_text(content)
    before = inventory()
    refused(web, "up", words="secrets.json")
    refused(web, "up", words="'vmp gen' writes")
    assert inventory() == before
    secrets.write_text(text)
    assert "started domain web" in web.make("up").stderr
    secrets.unlink()
    web.make("stop")
    web.make("delete-all")


def test_a_fleet_that_is_not_as_vmp_writes_it_ends_in_one_clear_error(web: Vm) -> None:
    fleet = Vm(web.directory.parent)
    facts = fleet.directory / ".fleet/vms.json"
    text = facts.read_text()
    for content in ("{", "[]", "{}", '{"vms": 5}', '{"vms": [5]}'):
        facts.write_text(content)
        for target in ("up", "status", "list"):
            refused(fleet, target, words=".fleet/vms.json is not")
    facts.unlink()
    refused(fleet, "status", words="there is no .fleet/vms.json")
    facts.write_text(text)
    (web.directory / "vm.json").write_text("{")
    refused(fleet, "-k", "up", words="'web/vm.json' is not JSON")
    assert (domain_state("web"), domain_state("db")) == ("gone", "running"), "the others go on"
    Vm(web.directory.parent / "db").make("delete-all")


VIRT_INSTALL = {
    "echo laufend": "virt-install's answer is not XML",
    "echo '<domain/>'": "could not create domain web",
    "kill -9 $$": "virt-install refused the definition: it said nothing",
    "echo unbekannt >&2; exit 1": "virt-install refused the definition: unbekannt",
}


@pytest.mark.parametrize("script", VIRT_INSTALL)
def test_an_answer_of_virt_install_without_sense_is_an_error_and_leaves_nothing(
    web: Vm, script: str, tmp_path: Path
) -> None:
    web.make("create/volume")
    web.make("delete")
    before = inventory()
    (tmp_path / "bin").mkdir()
    (program := tmp_path / "bin/virt-install").write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    environment = {"PATH": f"{program.parent}:{ENVIRONMENT['PATH']}"}
    refused(web, "up", words=VIRT_INSTALL[script], environment=environment)
    assert inventory() == before
    assert "started domain web" in web.make("up").stderr
    web.make("delete-all")


def test_a_directory_that_cannot_be_written_is_named_and_questions_go_on(web: Vm) -> None:
    web.make("up")
    subprocess.run(["mount", "--bind", web.directory, web.directory], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", web.directory], check=True)
        for target in ("up", "down"):
            refused(web, target, words="cannot write ./.lock: Read-only file system")
            refused(web, target, words="make it writable, or use a copy of it elsewhere")
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
    for vm in (web, Vm(web.directory.parent)):
        done = vm.make("status", check=False, environment={"PATH": f"{old.parent}:{ENVIRONMENT['PATH']}"})
        said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
        assert done.returncode != 0 and len(said) == 1 and "3.9" in said[0], done.stderr
