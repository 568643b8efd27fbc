"""provisioner.py: the modules of `runtime/` in one file, in which nothing but imports is changed."""

from __future__ import annotations

import ast
import hashlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from vmp.provisioners.v1alpha1 import joined
from vmp.provisioners.v1alpha1.static import static_files

RUNTIME = Path(joined.__file__).parent / "runtime"
PROGRAM = static_files()["provisioner.py"].content.decode()


def top_level(tree: ast.Module) -> list[str]:
    """Return the names that a module defines."""
    found: list[str] = []
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.append(node.name)
        elif isinstance(node, ast.Assign):
            found += [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.append(node.target.id)
    return found


def test_no_two_modules_use_one_name() -> None:
    names = Counter(name for module in joined.MODULES for name in set(top_level(parsed(module))))
    assert not [name for name, count in names.items() if count > 1 and name != "T"]


def parsed(module: str) -> ast.Module:
    return ast.parse((RUNTIME / f"{module}.py").read_text())


def test_every_module_is_joined() -> None:
    assert {path.stem for path in RUNTIME.glob("*.py")} == {*joined.MODULES, "__init__"}


def test_the_code_of_each_module_is_in_it_unchanged() -> None:
    found = [ast.dump(node) for node in ast.parse(PROGRAM).body]
    for module in joined.MODULES:
        for node in parsed(module).body[1:]:
            if not isinstance(node, (ast.Import, ast.ImportFrom)):
                assert ast.dump(node) in found, f"{module}: {ast.unparse(node)[:80]}"


def test_nothing_in_it_is_undefined() -> None:
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F,E9", "--target-version", "py39", "-"]
    done = subprocess.run(command, input=PROGRAM, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_its_first_line_has_the_sum_of_the_rest_and_version_checks_it(tmp_path: Path) -> None:
    first, _, rest = PROGRAM.partition("\n")
    assert first.startswith("#!/usr/bin/env -S python3 -I -S # vmp v1alpha1 ") and len(first) < 128
    assert first.endswith(f" sha256:{hashlib.sha256(rest.encode()).hexdigest()}")
    program = tmp_path / "provisioner.py"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    said = subprocess.run([program, "--version"], capture_output=True, text=True)
    assert (said.returncode, said.stdout) == (0, first.partition("# ")[2] + "\n")
    program.write_text(PROGRAM + "# changed\n")
    said = subprocess.run([program, "--version"], capture_output=True, text=True)
    assert said.returncode == 1 and "this file is not as vmp wrote it" in said.stderr


def test_it_begins_with_a_page_for_people() -> None:
    assert (ast.get_docstring(ast.parse(PROGRAM)) or "").startswith("Manages one virtual machine on libvirt")


@pytest.mark.parametrize("python", ["/usr/bin/python3", sys.executable])
def test_python_keeps_the_compiled_program_beside_it(python: str, tmp_path: Path) -> None:
    """Imported, as the Makefile does, Python keeps the compiled program beside it."""
    (tmp_path / "provisioner.py").write_text(PROGRAM)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import provisioner"
    subprocess.run([python, "-I", "-S", "-c", code], check=True)
    assert list((tmp_path / "__pycache__").iterdir())


def test_no_module_is_longer_than_a_reader_can_keep_in_mind() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in RUNTIME.glob("*.py")}
    assert not {name: length for name, length in lengths.items() if length > 250}
