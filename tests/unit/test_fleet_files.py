"""The Makefile beside the VMs, without libvirt: whose it is, which VMs it knows, and how they are picked."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from command_line import Outcome, run
from injections import CANARY, INJECTIONS

from vmp.provisioners.v1alpha1.runtime.fleet_work import jobs_and_keep_going
from vmp.texts import check_name

REGISTRY = """
nodes: [{name: here, libvirt: {connection: {uri: 'qemu:///system'}}}]
images: [{name: disk, tags: [{pattern: '1', url: 'https://example.org/1', volumeName: disk-1}]}]
templates:
  - {name: base, nodeName: here, image: 'disk:1', provisioner: v1alpha1, libvirt: {domain: {name: '{VM_NAME}'}}}
vms:
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "out of $HOME, it's"


def gen(base: Path, vms: Sequence[str], *arguments: str) -> Outcome:
    text = REGISTRY + "".join(
        f"  - {{name: !raw {json.dumps(name, ensure_ascii=False)}, template: base}}\n" for name in vms
    )
    return run("gen", "--base-dir", str(base), *arguments, stdin=text.encode())


def make(base: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", "-C", str(base), *arguments],
        capture_output=True,
        env={"PATH": os.environ["PATH"], **environment},
        encoding="utf-8",
    )


def files(base: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(base)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in base.rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }


def test_a_fleet_is_written_beside_its_vms(base: Path) -> None:
    done = gen(base, ["web", "db"], "--fleet")
    assert (done.code, done.output) == (0, "")
    assert done.errors == f"Generated {base}/web/Makefile\nGenerated {base}/db/Makefile\nGenerated {base}/Makefile\n"
    assert sorted(os.listdir(base)) == [".fleet", "Makefile", "db", "web"]
    before = files(base)
    assert gen(base, ["web", "db"], "--fleet").code == 0
    assert files(base) == before


def test_a_fleet_has_the_vms_that_the_command_writes(base: Path) -> None:
    gen(base, ["web", "db", "mail"], "--fleet", "mail", "web")
    assert make(base, "list").stdout == "web\nmail\n"
    gen(base, ["web", "db"], "--fleet")
    assert make(base, "list").stdout == "web\ndb\n"
    assert (base / "mail").is_dir()
    gen(base, [], "--fleet")
    assert make(base, "list").stdout == ""
    assert make(base, "up").returncode == make(base, "down").returncode == make(base, "status").returncode == 0


def test_a_vm_that_has_left_the_registry_is_named_as_long_as_its_directory_is_there(base: Path) -> None:
    gen(base, ["web", "it's"], "--fleet")
    (base / "mine").mkdir()
    (base / "mine/Makefile").write_text("all:\n")
    said = gen(base, ["web"], "--fleet").errors
    place = shlex.quote(f"{base}/it's")
    assert said.endswith(
        f"{place} belongs to no VM of the registry any more: run make -C {place} down, then delete it\n"
    )
    done = subprocess.run(
        ["sh", "-c", said.rpartition(": run ")[2].partition(", then")[0] + " -n"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "mine" not in said
    assert "any more" not in gen(base, ["web", "it's"], "--fleet", "web").errors, "it is in the registry"
    shutil.rmtree(base / "it's")
    assert "any more" not in gen(base, ["web"], "--fleet").errors


def test_without_the_option_a_fleet_stays_as_it_is(base: Path) -> None:
    gen(base, ["web", "db"])
    assert sorted(os.listdir(base)) == ["db", "web"]
    gen(base, ["web", "db"], "--fleet")
    before = files(base)
    gen(base, ["web"])
    assert files(base) == before


@pytest.mark.parametrize("place", ["Makefile", ".fleet/provisioner.py", ".fleet/vms.json"])
def test_a_file_that_vmp_did_not_write_is_kept_and_nothing_is_written(base: Path, place: str) -> None:
    (base / place).parent.mkdir(parents=True)
    (base / place).write_text("all:\n")
    done = gen(base, ["web"], "--fleet")
    assert done.code == 1
    assert done.errors == f"vmp: error[cannot-write]: {base}/{place}: exists, and was not written by vmp\n"
    assert list(files(base)) == [place] and not (base / "web").exists()
    assert gen(base, ["web"]).code == 0
    assert (base / place).read_text() == "all:\n"


def test_a_makefile_that_was_changed_or_lost_is_written_anew(base: Path) -> None:
    gen(base, ["web"], "--fleet")
    text = (base / "Makefile").read_text()
    for change in (lambda path: path.write_text("all:\n"), Path.unlink):
        change(base / "Makefile")
        assert gen(base, ["web"], "--fleet").code == 0
        assert (base / "Makefile").read_text() == text


def test_other_files_beside_the_vms_and_in_fleet_are_left_alone(base: Path) -> None:
    (base / ".fleet").mkdir(parents=True)
    for place in ("notes", "MANIFEST", ".fleet/notes"):
        (base / place).write_text("mine\n")
    gen(base, ["web"], "--fleet")
    gen(base, ["db"], "--fleet")
    assert [(base / place).read_text() for place in ("notes", "MANIFEST", ".fleet/notes")] == ["mine\n"] * 3


@pytest.mark.parametrize("name", ["Makefile", "makefile", "GNUmakefile"])
def test_a_vm_called_like_a_makefile_is_refused_in_a_fleet(base: Path, name: str) -> None:
    done = gen(base, ["web", name], "--fleet")
    assert done.code == 1 and not base.exists()
    assert f"<stdin>:8:12: error[bad-name]: a VM called '{name}' cannot be in a fleet" in done.errors
    assert gen(base, ["web", name], "--fleet", "web").code == 0
    assert gen(base / "other", ["web", name]).code == 0


def test_names_are_only_names(base: Path) -> None:
    names = [text for text in dict.fromkeys(INJECTIONS) if not check_name(text) and text != "Makefile"]
    assert len(names) > 100
    done = gen(base, names, "--fleet")
    assert done.code == 0, done.errors
    listed = make(base, "list")
    assert (listed.returncode, listed.stdout.split("\n")) == (0, [*names, ""])
    for name in names:
        if not set(name) & set(" \t"):
            picked = make(base, "list", f"VMS={name}")
            assert name in picked.stdout.split("\n"), picked.stderr
    make(base, "-n", "up")
    assert not [*base.parent.rglob(CANARY)] and not Path(CANARY).exists()


def test_no_name_of_a_vm_makes_a_rule_of_make_apply(base: Path) -> None:
    names = [
        "Makefile.sh",
        "Makefile.c",
        "Makefile.o",
        "Makefile,v",
        "s.Makefile",
        "RCS",
        "SCCS",
        "up",
        "up.sh",
        "list",
    ]
    gen(base, names, "--fleet")
    for name in names:
        os.utime(base / name, (2**31, 2**31))
    before = files(base)
    assert make(base, "list").stdout.splitlines() == names
    assert make(base.parent, "-f", str(base / "Makefile"), "list").stdout.splitlines() == names
    assert files(base) == before


def test_a_domain_that_is_not_ours_is_named(base: Path) -> None:
    """libvirt's `test:///default` lives in each virsh, and has the domain `test`."""
    uuid = "6695eb01-f6a4-8304-79aa-97f2502e193f"
    text = REGISTRY.replace("qemu:///system", "test:///default").replace("'{VM_NAME}'", "test")
    text += f"  - {{name: it's, template: base, libvirt: {{domain: {{virtInstall: {{uuid: {uuid}}}}}}}}}\n"
    text += "  - {name: a b, template: base}\n"
    assert run("gen", "--fleet", "--base-dir", str(base), stdin=text.encode()).code == 0
    done = make(base, "status")
    assert done.stdout == "it's  here  running\na b   here  another domain of that name\n", done.stderr
    assert done.returncode == 2
    assert done.stderr.startswith(f"it's: error: the domain with UUID {uuid} on test:///default was not made by")


def test_vms_are_picked_by_name_or_pattern(base: Path) -> None:
    names = ["web-1", "web-2", "db", "my vm", "a*b", "axb", "$HOME", "[x]", "\\n"]
    gen(base, names, "--fleet")

    def picked(vms: str) -> list[str]:
        return make(base, "list", f"VMS={vms}").stdout.splitlines()

    assert picked("web-*") == ["web-1", "web-2"]
    assert picked("db web-[2]  db\n\tweb-?") == ["web-1", "web-2", "db"]
    assert picked("my?vm") == ["my vm"]
    assert picked("a*b") == ["a*b", "axb"]
    assert picked("a\\*b") == ["a*b"]
    assert picked("$HOME") == ["$HOME"]
    assert picked("[x]") == ["[x]"]
    assert picked("\\n") == ["\\n"]
    assert picked("*") == names
    assert make(base, "list", VMS="db").stdout == "db\n"


@pytest.mark.parametrize(
    ("vms", "said"),
    [
        ("web db", "error: VMS: there is no VM 'web' here\n  'make list' lists them\n"),
        ("w* x*", "error: VMS: there is no VM 'w*' here\n  'make list' lists them\nerror: VMS: there is no VM 'x*'"),
        ("$(shell touch x)", "there is no VM '$(shell' here"),
        ("/*", "there is no VM '/*' here"),
        ("", "error: VMS is empty\n  leave it out for all VMs\n"),
        ("  ", "error: VMS is empty\n"),
    ],
)
@pytest.mark.parametrize("target", ["list", "up", "down", "status"])
def test_vms_that_pick_nothing_are_an_error(base: Path, vms: str, said: str, target: str) -> None:
    gen(base, ["db"], "--fleet")
    done = make(base, target, f"VMS={vms}")
    assert (done.returncode, done.stdout) == (2, "") and said in done.stderr


def test_a_knob_that_does_not_exist_is_refused(base: Path) -> None:
    gen(base, ["db"], "--fleet")
    done = make(base, "list", "V1ALPHA1_STOP_TIMEOUT=1")
    assert done.returncode == 2 and "there is no knob V1ALPHA1_STOP_TIMEOUT" in done.stderr


@pytest.mark.parametrize("target", ["up", "down", "status"])
@pytest.mark.parametrize("mistake", ["web", "VM=web", "vms=web", "web-*", "CMD=1"])
def test_what_picks_no_vm_never_means_all_of_them(base: Path, target: str, mistake: str) -> None:
    gen(base, ["web", "db"], "--fleet")
    (base / ".fleet/provisioner.py").write_text("open('reached', 'w')\n")
    done = make(base, target, mistake)
    assert done.returncode == 2 and not (base / "reached").exists()
    if "=" in mistake:
        assert f"there is no knob {mistake.partition('=')[0]}" in done.stderr
    else:
        assert f"there is no target {mistake}" in done.stderr and f"make {target} VMS={mistake}" in done.stderr


def test_variables_of_a_make_above_are_not_this_ones(base: Path) -> None:
    gen(base, ["db"], "--fleet")
    (base / "above.mk").write_text("all:\n\t@$(MAKE) -s --no-print-directory -f Makefile list\n")
    done = make(base, "-f", "above.mk", "ENVIRONMENT=production")
    assert done.stdout == "db\n", done.stderr


def test_an_unknown_target_of_a_vm_leads_to_help(base: Path) -> None:
    gen(base, ["db"])
    done = make(base / "db", "upp")
    assert done.returncode == 2 and "there is no target upp; 'make help' lists them" in done.stderr


def test_help_is_the_default_and_names_every_target(base: Path) -> None:
    gen(base, ["db"], "--fleet")
    shown = make(base)
    assert shown.stdout == make(base, "help").stdout and shown.stderr == ""
    for target in ("up", "down", "status", "list"):
        assert f"make {target} " in shown.stdout


def test_it_works_under_any_path_from_anywhere_and_included_files_do_not_mislead_it(base: Path, tmp_path: Path) -> None:
    gen(base, ["db"], "--fleet")
    other = tmp_path / "a b" / "#c"
    shutil.copytree(base, other)
    (tmp_path / "more.mk").write_text("x := 1\n")
    for directory in (base, other):
        command = ["make", "-f", str(directory / "Makefile"), "list"]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True)
        assert done.stdout == "db\n", done.stderr
        assert make(directory, "list", MAKEFILES=str(tmp_path / "more.mk")).stdout == "db\n"


def test_without_make_the_program_says_what_it_knows(base: Path) -> None:
    gen(base, ["db"], "--fleet")
    script = [str(base / ".fleet/provisioner.py")]
    assert subprocess.run([*script, "list"], capture_output=True, text=True).stdout == "db\n"
    wrong = subprocess.run([*script, "updown"], capture_output=True, text=True)
    assert wrong.returncode == 2 and "there is no target 'updown'" in wrong.stderr


@pytest.mark.parametrize(
    ("makeflags", "expected"),
    [
        ("", (1, False)),
        ("k", (1, True)),
        (" -j3 --jobserver-auth=3,4", (3, False)),
        ("k -j3 --jobserver-auth=fifo:/tmp/GMfifo1", (3, True)),
        (" --jobserver-fds=3,4 -j", (8, False)),
        ("k --jobserver-fds=3,4 -j", (8, True)),
        (" -j", (8, False)),
    ],
)
def test_jobs_are_as_many_as_make_says_and_eight_where_make_before_4_2_does_not_say(
    makeflags: str, expected: tuple[int, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAKEFLAGS", makeflags)
    monkeypatch.delenv("JOBS", raising=False)
    assert jobs_and_keep_going() == expected
    monkeypatch.setenv("JOBS", "2")
    assert jobs_and_keep_going() == (2, expected[1])
