"""The command line: exit codes, streams, options, environment, completion.

``real`` starts a process, as a user does; ``vmp`` runs the same ``main`` in this process, where the
rule is not about processes and many are to be tried.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import yaml
from command_line import run

from vmp import __version__
from vmp.schema import json_schema

ROOT = Path(__file__).parent.parent
BASIC = ROOT / "examples" / "basic" / "registry.yaml"
VMP = [sys.executable, "-m", "vmp"]
COMMANDS = ["gen", "config", "image-url", "list", "check", "schema", "version"]

TWO = """
nodes:
  - {name: here, libvirt: {connection: {uri: 'qemu:///system'}}}
images:
  - name: disk
    tags: [{pattern: '(?P<v>\\d+)', url: 'https://example.org/{v}', volumeName: 'disk-{v}'}]
templates:
  - {name: base, nodeName: here, image: 'disk:1', provisioner: v1alpha1, libvirt: {domain: {name: '{VM_NAME}'}}}
vms:
  - {name: web, template: base}
  - {name: a name, template: base, image: 'disk:2'}
"""
BROKEN = TWO + "  - {name: bad, template: base, mistake: 1}\n"


def _environment(**changes: str | None) -> dict[str, str]:
    keep = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("VMP_", "_VMP")) and name != "NO_COLOR"
    }
    return {**keep, **{name: value for name, value in changes.items() if value is not None}}


def vmp(*arguments: str, stdin: str = "", **environment: str) -> tuple[int, str, str]:
    """Run the command in this process; return its exit code, standard output and standard error."""
    with patch.dict(os.environ, _environment(**environment), clear=True):
        return run(*arguments, stdin=stdin.encode())


def real(*arguments: str, stdin: str = "", **environment: str) -> tuple[int, str, str]:
    """Run the command in a process of its own; return its exit code, standard output and standard error."""
    process = subprocess.run(
        [*VMP, *arguments],
        input=stdin,
        capture_output=True,
        env=_environment(**environment),
        encoding="utf-8",
        timeout=60,
    )
    assert "Traceback" not in process.stderr
    return process.returncode, process.stdout, process.stderr


@pytest.fixture(autouse=True)
def in_a_directory_with_a_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("two.yaml").write_text(TWO)
    Path("broken.yaml").write_text(BROKEN)


def test_the_first_session_prints_exactly_one_line() -> None:
    assert real("gen", stdin=BASIC.read_text()) == (0, "", "Generated vm1/Makefile\n")
    assert Path("vm1/Makefile").is_file()


def test_gen_prints_one_line_a_vm_in_registry_order_on_standard_error() -> None:
    expected = "Generated out/web/Makefile\nGenerated out/a name/Makefile\n"
    assert real("gen", "-r", "two.yaml", "--base-dir", "out") == (0, "", expected)
    assert sorted(os.listdir("out")) == ["a name", "web"]


def test_gen_takes_names_and_writes_those_only() -> None:
    assert vmp("gen", "-r", "two.yaml", "a name", "a name") == (0, "", "Generated a name/Makefile\n")
    assert not Path("web").exists()


def test_gen_of_an_empty_registry_writes_and_says_nothing() -> None:
    assert vmp("gen") == (0, "", "")
    assert sorted(os.listdir()) == ["broken.yaml", "two.yaml"]


def test_gen_twice_changes_nothing() -> None:
    vmp("gen", "-r", "two.yaml")
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*") if path.is_file()}
    assert vmp("gen", "-r", "two.yaml")[0] == 0
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*") if path.is_file()} == before


def test_gen_is_all_or_nothing() -> None:
    code, output, errors = real("gen", "-r", "broken.yaml", "-d", "out")
    assert (code, output) == (1, "") and "error[unknown-key]" in errors
    assert not Path("out").exists()


@pytest.mark.parametrize("place", ["two.yaml", "two.yaml/below", "/proc/nowhere"])
def test_a_base_directory_that_cannot_be_written_is_a_diagnostic(place: str) -> None:
    code, output, errors = vmp("gen", "-r", "two.yaml", "--base-dir", place)
    assert (code, output) == (1, "") and errors.startswith("vmp: error[cannot-write]: ")
    assert Path("two.yaml").read_text() == TWO


def test_config_prints_yaml_or_json() -> None:
    code, output, errors = real("config", "-r", "two.yaml", "a name")
    assert (code, errors) == (0, "")
    found = yaml.safe_load(output)
    assert list(found) == ["vars", "image", "node", "vm"]
    assert found["image"] == {
        "name": "disk",
        "tag": "2",
        "url": "https://example.org/2",
        "volumeName": "disk-2",
        "format": "qcow2",
    }
    code, output, errors = real("config", "a name", "--format", "json", "-r", "two.yaml")
    assert (code, errors, json.loads(output)) == (0, "", found)


def test_image_url_prints_the_url() -> None:
    assert real("image-url", "disk:7", "-r", "two.yaml") == (0, "https://example.org/7\n", "")


def test_list_prints_names_in_registry_order() -> None:
    assert real("list", "-r", "two.yaml") == (0, "web\na name\n", "")
    assert real("list") == (0, "", "")


def test_check_prints_nothing_where_nothing_is_wrong_and_writes_nothing() -> None:
    assert real("check", "-r", "two.yaml") == (0, "", "")
    assert sorted(os.listdir()) == ["broken.yaml", "two.yaml"]


@pytest.mark.parametrize("arguments", [["version"], ["--version"]])
def test_version_prints_the_version(arguments: list[str]) -> None:
    assert vmp(*arguments) == (0, f"{__version__}\n", "")


def test_schema_prints_the_json_schema() -> None:
    code, output, errors = vmp("schema")
    assert (code, errors) == (0, "") and json.loads(output) == json.loads(json.dumps(json_schema()))


@pytest.mark.parametrize("command", ["gen", "check", "list", "config x", "image-url x"])
def test_a_wrong_registry_is_exit_code_1_and_nothing_on_standard_output(command: str) -> None:
    code, output, errors = vmp(*command.split(), stdin="nodes: [{}]")
    assert (code, output) == (1, "") and "<stdin>:1:9: error[missing-key]" in errors


def test_diagnostics_have_the_documented_form() -> None:
    assert real("check", "-r", "broken.yaml")[2] == (
        "broken.yaml:12:33: error[unknown-key]: unknown key 'mistake'\n"
        "   |\n"
        "12 |   - {name: bad, template: base, mistake: 1}\n"
        "   |                                 ^^^^^^^\n"
    )


def test_diagnostics_come_as_json_too() -> None:
    code, output, errors = vmp("--format", "json", "check", "-r", "broken.yaml")
    (found,) = json.loads(errors)
    assert (code, output) == (1, "")
    assert (found["code"], found["file"], found["line"], found["column"]) == ("unknown-key", "broken.yaml", 12, 33)


@pytest.mark.parametrize("command", [["gen", "wbe"], ["config", "wbe"]])
def test_an_unknown_vm_is_exit_code_1_with_the_nearest(command: list[str]) -> None:
    code, output, errors = vmp(*command, "-r", "two.yaml")
    assert (code, output) == (1, "")
    assert errors == "vmp: error[unknown-vm]: unknown VM 'wbe'\n   = help: did you mean 'web'?\n"
    assert not Path("web").exists()


def test_an_unknown_image_is_exit_code_1_with_the_nearest() -> None:
    code, output, errors = vmp("image-url", "dsik", "-r", "two.yaml")
    assert (code, output) == (1, "") and "unknown image 'dsik'" in errors and "did you mean 'disk'?" in errors


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["gen", "--nothing"],
        ["--nothing"],
        ["config"],
        ["config", "a", "b"],
        ["image-url"],
        ["list", "x"],
        ["check", "x"],
        ["list", "--format", "xml"],
        ["list", "--registry"],
    ],
)
def test_what_cannot_be_parsed_is_exit_code_2(arguments: list[str]) -> None:
    code, output, errors = vmp(*arguments)
    assert (code, output) == (2, "") and "Error: " in errors


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_the_help_of_every_command_has_examples(command: str, option: str) -> None:
    code, output, errors = vmp(command, option, stdin="")
    assert (code, errors) == (0, "")
    examples = output.partition("\nExamples:\n")[2]
    assert re.search(rf"^  .*vmp (.* )?{command}\b", examples, re.MULTILINE), output


def test_the_help_of_the_program_lists_every_command_and_has_examples() -> None:
    code, output, _ = real("-h")
    assert code == 0 and "\nExamples:\n" in output
    commands = output.partition("\nCommands:\n")[2].partition("\n\n")[0]
    assert re.findall("^  ([a-z-]+) ", commands, re.MULTILINE) == COMMANDS, "a new command has its place there, too"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--registry", "two.yaml", "list"],
        ["list", "--registry", "two.yaml"],
        ["-r", "two.yaml", "--format", "json", "list"],
        ["--format", "json", "list", "-r", "two.yaml"],
        ["list", "--registry=two.yaml", "--format=json"],
    ],
)
def test_shared_options_stand_before_or_after_the_command(arguments: list[str]) -> None:
    assert vmp(*arguments) == (0, "web\na name\n", "")


@pytest.mark.parametrize("command", ["version", "schema"])
def test_shared_options_are_options_of_every_command(command: str) -> None:
    assert vmp(command, "-r", "two.yaml", "--format", "json")[0] == vmp("-r", "x", command)[0] == 0


def test_registries_before_and_after_the_command_add_up() -> None:
    Path("more.yaml").write_text("vms: [{name: more, template: base}]")
    assert vmp("-r", "two.yaml", "list", "-r", "more.yaml")[1] == vmp("list", "-r", "more.yaml", "-r", "two.yaml")[1]
    assert "more\n" in vmp("-r", "two.yaml", "list", "-r", "more.yaml")[1]


def test_the_registry_comes_from_the_environment_and_an_option_wins_over_it() -> None:
    Path("sub").mkdir()
    Path("sub/registry.yaml").write_text(TWO.replace("web", "db"))
    assert vmp("list", VMP_REGISTRY="two.yaml")[1] == "web\na name\n"
    assert vmp("list", VMP_REGISTRY="sub/**/*.yaml")[1] == "db\na name\n"
    assert vmp("list", "-r", "sub", VMP_REGISTRY="two.yaml")[1] == "db\na name\n"
    assert vmp("list", stdin=TWO, VMP_REGISTRY="")[1] == "web\na name\n"
    assert vmp("list", stdin=TWO, VMP_REGISTRY="-")[1] == "web\na name\n"


def test_the_base_directory_comes_from_the_environment_and_an_option_wins_over_it() -> None:
    assert vmp("gen", "web", "-r", "two.yaml", VMP_GEN_BASE_DIR="env")[2] == "Generated env/web/Makefile\n"
    assert vmp("gen", "web", "-r", "two.yaml", "-d", "opt", VMP_GEN_BASE_DIR="env")[2] == "Generated opt/web/Makefile\n"
    assert sorted(os.listdir()) == ["broken.yaml", "env", "opt", "two.yaml"]


def _tree() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(Path("out").rglob("*")) if path.is_file()}


def test_the_output_is_the_same_in_any_locale_with_any_hash_seed_and_order_of_arguments() -> None:
    Path("more.yaml").write_text("vms: [{name: größe, template: base}]")
    outputs = []
    for order, locale, seed in (("two more", "C", "0"), ("more two", "de_DE.UTF-8", "1"), ("more two", "POSIX", "2")):
        arguments = [word for name in order.split() for word in ("-r", f"{name}.yaml")]
        environment = {"LC_ALL": locale, "PYTHONHASHSEED": seed}
        generated = real("gen", "-d", "out", *arguments, **environment)
        outputs.append((generated, real("config", "größe", *arguments, **environment), _tree()))
        shutil.rmtree("out")
    assert outputs[0] == outputs[1] == outputs[2]
    assert outputs[0][0][0] == 0 and "out/größe/vm.json" in outputs[0][2]


def _on_a_terminal(*arguments: str, stream: str, **environment: str) -> tuple[int, str]:
    """Run the command with one of its streams on a terminal; return its exit code and standard error."""
    ours, theirs = pty.openpty()
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE, stream: theirs}
    process = subprocess.Popen([*VMP, *arguments], **streams, env=_environment(**environment))
    os.close(theirs)
    found = b""
    if stream == "stderr":
        with contextlib.suppress(OSError):  # the end of a terminal's output
            while True:
                found += os.read(ours, 10_000)
    elif process.stderr:
        found = process.stderr.read()
    code = process.wait(timeout=60)
    os.close(ours)
    return code, found.decode()


def test_a_terminal_as_standard_input_is_an_error_that_says_how_to_give_a_registry() -> None:
    code, errors = _on_a_terminal("list", stream="stdin")
    assert code == 2
    assert all(way in errors for way in ("--registry", "VMP_REGISTRY", "<"))


def test_colour_is_for_terminals_only_and_no_color_is_respected() -> None:
    arguments = ("check", "-r", "broken.yaml")
    assert "\033[" in _on_a_terminal(*arguments, stream="stderr")[1]
    assert "\033[" in _on_a_terminal(*arguments, stream="stderr", NO_COLOR="")[1]
    assert "\033[" not in _on_a_terminal(*arguments, stream="stderr", NO_COLOR="1")[1]
    assert "\033[" not in vmp(*arguments)[2]


def test_ctrl_c_is_exit_code_130_without_a_word() -> None:
    process = subprocess.Popen(
        [*VMP, "list", "-r", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )
    assert process.stdin is not None
    process.stdin.write(b"#" * 300_000)  # more than a pipe holds: it returns when the command reads
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and output == b"" and b"Traceback" not in errors


@pytest.mark.parametrize("command", ["list", "schema", "gen -h"])
def test_a_closed_pipe_is_no_reason_for_a_word(command: str) -> None:
    line = f"{' '.join(VMP)} {command} {'' if command == 'schema' else '-r two.yaml'} | true"
    process = subprocess.run(["sh", "-c", f"({line}) 2>&1"], capture_output=True, text=True, env=_environment())
    assert process.stdout == ""


@pytest.mark.parametrize("closing", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["list", "list -r -", "check -r broken.yaml"])
def test_closed_streams_are_no_bug(command: str, closing: str) -> None:
    process = subprocess.run(
        ["sh", "-c", f"{' '.join(VMP)} {command} {closing}"], input="", capture_output=True, text=True
    )
    assert process.returncode in (0, 1, 2) and "bug" not in process.stderr and "Traceback" not in process.stderr


@pytest.mark.parametrize("command", ["list -r two.yaml", "schema", "--help"])
def test_output_to_a_full_disk_is_an_error_of_the_file(command: str) -> None:
    line = f"{' '.join(VMP)} {command} > /dev/full"
    process = subprocess.run(["sh", "-c", line], capture_output=True, text=True)
    assert (process.returncode, process.stderr) == (1, "vmp: error: No space left on device\n")


def test_a_bug_is_exit_code_3_and_a_sentence() -> None:
    program = (
        "import sys, vmp.cli, vmp.compiler\n"
        "def fail(*arguments): raise RuntimeError('on purpose')\n"
        "vmp.compiler.Compiler.compile = fail\n"
        "sys.argv = ['vmp', 'check', '-r', 'two.yaml']\n"
        "vmp.cli.main()\n"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=_environment())
    assert process.returncode == 3 and process.stdout == ""
    assert process.stderr.startswith(f"vmp: a bug in vmp {__version__}: RuntimeError: on purpose\n")


def test_names_that_look_like_options_follow_two_dashes() -> None:
    assert vmp("config", "-r", "two.yaml", "--", "--help")[0] == 1


def _complete(shell: str, line: str, **environment: str) -> list[str]:
    """Ask for the completion of a line, by click's protocol for a shell; return the values."""
    words = line.split(" ")
    variables = {"_VMP_COMPLETE": f"{shell}_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    if shell == "fish":
        variables |= {"COMP_WORDS": " ".join(words[:-1]), "COMP_CWORD": words[-1]}
    code, output, errors = vmp(**variables, **environment)
    assert errors == "" and code in (0, 1)
    if shell == "zsh":
        lines = output.rstrip("\n").splitlines()
        return [f"{kind},{value}" for kind, value in zip(lines[::3], lines[1::3], strict=True)]
    return [line.partition("\t")[0] for line in output.splitlines() if line]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_vms_images_files_and_commands(shell: str) -> None:
    environment = {"VMP_REGISTRY": "two.yaml"}
    assert _complete(shell, "vmp gen ", **environment) == ["plain,web", "plain,a name"]
    assert _complete(shell, "vmp gen w", **environment) == ["plain,web"]
    assert _complete(shell, "vmp config ", **environment) == ["plain,web", "plain,a name"]
    assert _complete(shell, "vmp image-url ", **environment) == ["plain,disk:2", "plain,disk:1", "plain,disk"]
    assert _complete(shell, "vmp image-url disk:1", **environment) == ["plain,disk:1"]
    assert [item.split(",")[0] for item in _complete(shell, "vmp list --registry ")] == ["file"]
    assert _complete(shell, "vmp li") == ["plain,list"]
    assert _complete(shell, "vmp list --format ") == ["plain,text", "plain,json"]
    assert "plain,--base-dir" in _complete(shell, "vmp gen --b")


@pytest.mark.parametrize("line", ["vmp -r two.yaml gen w", "vmp gen -r two.yaml w", "vmp gen --registry=two.yaml w"])
def test_completion_takes_the_registry_from_the_line(line: str) -> None:
    assert _complete("bash", line) == ["plain,web"]


@pytest.mark.parametrize("registry", ["", "-", "nowhere.yaml", "rubbish.yaml", "broken.yaml"])
def test_completion_is_silent_where_there_is_no_registry(registry: str) -> None:
    Path("rubbish.yaml").write_text("}{")
    found = _complete("bash", "vmp gen ", VMP_REGISTRY=registry)
    assert found == (["plain,web", "plain,a name", "plain,bad"] if registry == "broken.yaml" else [])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_each_shell_is_printed(shell: str) -> None:
    code, output, _ = vmp(_VMP_COMPLETE=f"{shell}_source")
    assert code == 0 and f"_VMP_COMPLETE={shell}_complete" in output


def test_completion_works_in_a_real_bash(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "vmp"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m vmp "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(_VMP_COMPLETE=bash_source vmp)"; complete -p vmp >/dev/null\n'
        'COMP_WORDS=(vmp gen w); COMP_CWORD=2; _vmp_completion vmp; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    environment = _environment(PATH=f"{program.parent}:{os.environ['PATH']}", VMP_REGISTRY="two.yaml")
    process = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert (process.stdout, process.stderr) == ("web\n", "")


def test_completion_goes_on_after_a_colon_which_bash_takes_for_a_word(tmp_path: Path) -> None:
    program = tmp_path / "vmp"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m vmp "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(_VMP_COMPLETE=bash_source vmp)"\n'
        'COMP_WORDS=(vmp image-url disk :); COMP_CWORD=3; _vmp_completion vmp; echo "${COMPREPLY[@]}"\n'
        'COMP_WORDS=(vmp image-url disk : 2); COMP_CWORD=4; COMPREPLY=(); _vmp_completion vmp; echo "${COMPREPLY[@]}"\n'
    )
    environment = _environment(PATH=f"{tmp_path}:{os.environ['PATH']}", VMP_REGISTRY="two.yaml")
    process = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert (process.stdout, process.stderr) == ("2 1\n2\n", "")


def test_gen_check_names_what_is_not_as_it_would_be_written_and_writes_nothing() -> None:
    gen = ("gen", "-d", "out", "-r", "two.yaml")
    missing = real(*gen, "--check")
    assert missing[0] == 1 and "is not as 'vmp gen' writes it" in missing[2] and not Path("out").exists()
    real(*gen)
    assert real(*gen, "--check") == (0, "", "")
    program = next(Path("out").glob("*/provisioner.py"))
    program.write_text(program.read_text() + "\n")
    assert real(*gen, "--check") == (1, "", f"{program}: is not as 'vmp gen' writes it\n")
    real(*gen)
    manifest = program.parent / "MANIFEST"
    manifest.write_text(manifest.read_text() + "lib/main.sh\n")
    (program.parent / "lib").mkdir()
    (program.parent / "lib/main.sh").touch()
    said = real(*gen, "--check")
    assert said[0] == 1 and "MANIFEST" in said[2] and "lib/main.sh" in said[2]


OLD = "import sys; sys.version_info = (3, 9, 2, 'final', 0); "


@pytest.mark.parametrize(
    "way",
    [
        "from vmp.cli import main; main()",
        "import runpy; runpy.run_module('vmp', run_name='__main__')",
    ],
    ids=["vmp", "python -m vmp"],
)
def test_a_python_that_is_too_old_is_said_in_one_line(way: str) -> None:
    done = subprocess.run([sys.executable, "-c", OLD + way], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "vmp needs Python 3.10 or later, and this is Python 3.9\n"
    guard = (ROOT / "src/vmp/__init__.py").read_text()
    ast.parse(guard, feature_version=(3, 4))
