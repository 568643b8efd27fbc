"""The rooms of the house: who may import whom, who may read and write, and what starts nothing."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent.parent / "src" / "vmp"

RUNTIMES = sorted(PACKAGE.glob("provisioners/v*/runtime"))
"""The provisioner's own house, in each version: its modules become provisioner.py, and use nothing of vmp."""

SHARED = ("facts", "knobs")
"""The modules of it that the compiler reads: the names of files, and the table of knobs."""

STABLE = {"vmp", "vmp.diagnostics", "vmp.nodes", "vmp.texts", "vmp.document", "vmp.tree"}
"""What a version of the provisioner may import of the compiler. The schema moves, and a released version does not."""

VERSION = re.compile(r"vmp\.provisioners\.v\w+(\.|$)")
"""The modules of a version of the provisioner."""

ORDER = (
    "vmp",
    "vmp.diagnostics",
    "vmp.rendering",
    "vmp.nodes",
    "vmp.source",
    "vmp.merge",
    "vmp.expand",
    "vmp.texts",
    "vmp.uris",
    "vmp.shapes",
    "vmp.virt_install",
    "vmp.iso_names",
    "vmp.networks",
    "vmp.schema",
    "vmp.document",
    "vmp.registry",
    "vmp.images",
    "vmp.keys",
    "vmp.configuration",
    "vmp.tree",
    "vmp.provisioners.v1alpha1.joined",
    "vmp.provisioners.v1alpha1.static",
    "vmp.provisioners.v1alpha1.plan",
    "vmp.provisioners.v1alpha1.on_off",
    "vmp.provisioners.v1alpha1.places",
    "vmp.provisioners.v1alpha1.options",
    "vmp.provisioners.v1alpha1.identity",
    "vmp.provisioners.v1alpha1.connection",
    "vmp.provisioners.v1alpha1.virt_install",
    "vmp.provisioners.v1alpha1.vm_json",
    "vmp.provisioners.v1alpha1.drive_files",
    "vmp.provisioners.v1alpha1.check_drives",
    "vmp.provisioners.v1alpha1.check_options",
    "vmp.provisioners.v1alpha1.check_networks",
    "vmp.provisioners.v1alpha1.check_nodes",
    "vmp.provisioners.v1alpha1.check",
    "vmp.provisioners.v1alpha1.render",
    "vmp.provisioners.v1alpha1.fleet",
    "vmp.provisioners.v1alpha1",
    "vmp.provisioners.plan_v1alpha1",
    "vmp.provisioners",
    "vmp.compiler",
    "vmp.completion",
    "vmp.cli",
    "vmp.__main__",
)
"""Every module; each may import only those before it."""

HEAVY = {"yaml", "json", "difflib", "urllib", "hashlib", "shutil"}
"""What only a command that needs it pays for: the command line imports none of it when it starts."""


def _modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.parent in RUNTIMES:
            continue
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()


def _imports(path: Path, everywhere: bool = True) -> set[str]:
    """Return the modules that a file imports; not those that only a type checker sees."""
    tree = ast.parse(path.read_text())
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree) if everywhere else tree.body:
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}: imports are absolute"
            found |= {_target(node.module, alias.name) for alias in node.names}
    return found


def _name(path: Path) -> str:
    return f"{path.parent.parent.name}-{path.stem}"


def _target(module: str, name: str) -> str:
    return f"{module}.{name}" if f"{module}.{name}" in MODULES else module


def test_every_module_has_its_place_in_the_order() -> None:
    assert set(MODULES) == set(ORDER), "put a new module where it belongs in ORDER"


@pytest.mark.parametrize("module", ORDER)
def test_dependencies_point_one_way(module: str) -> None:
    allowed = set(ORDER[: ORDER.index(module)])
    for used in _imports(MODULES[module]):
        if used.split(".")[0] == "vmp" and ".runtime." not in used:
            assert used in allowed, f"{MODULES[module]} imports {used}, which comes after it in the order"


def test_only_what_the_compiler_may_know_of_the_provisioner_is_imported() -> None:
    for path in MODULES.values():
        for used in _imports(path):
            if ".runtime" in used:
                assert used.rpartition(".")[2] in SHARED, f"{path} imports {used}"


@pytest.mark.parametrize("module", [path for runtime in RUNTIMES for path in sorted(runtime.glob("*.py"))], ids=_name)
def test_the_modules_of_the_provisioner_import_only_those_before_them(module: Path) -> None:
    name, version = module.stem, module.parent.parent.name
    order = importlib.import_module(f"vmp.provisioners.{version}.joined").MODULES
    tree = ast.parse(module.read_text())
    before = set(order[: order.index(name)]) if name != "__init__" else set()
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.module
            if node.level:
                assert node.level == 1 and node.module in before, f"{name} imports {node.module}"
                continue
            names = [node.module]
        for used in names:
            assert used.partition(".")[0] in sys.stdlib_module_names, f"{name} imports {used}"


@pytest.mark.parametrize("module", [name for name in ORDER if VERSION.match(name)])
def test_a_version_of_the_provisioner_imports_no_stage_of_the_compiler_and_no_other_version(module: str) -> None:
    own = module.split(".")[:3]
    used = {name for name in _imports(MODULES[module]) if name.split(".")[0] == "vmp"}
    foreign = {name for name in used if name.split(".")[:3] != own}
    assert foreign <= STABLE, f"{MODULES[module]} imports {foreign - STABLE}"


def test_one_module_knows_yaml() -> None:
    users = [module for module, path in MODULES.items() if "yaml" in _imports(path)]
    assert users == ["vmp.source"]


@pytest.mark.parametrize(
    "library", ["subprocess", "multiprocessing", "socket", "random", "secrets", "time", "datetime"]
)
def test_vmp_starts_no_process_reads_no_clock_and_draws_no_random_number(library: str) -> None:
    assert not [module for module, path in MODULES.items() if library in _imports(path)]


def test_one_module_reads_the_environment() -> None:
    users = [module for module, path in MODULES.items() if re.search(r"os\.(environ|getenv)", path.read_text())]
    assert users == ["vmp.cli"]


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("the reader of the registry", {"open(file"}),
        (
            "the writer",
            {"os.rename", "os.unlink", "os.mkdir", "os.makedirs", "shutil.rmtree", "os.O_WRONLY | os.O_CREAT"},
        ),
    ],
)
def test_one_module_reads_the_registry_and_one_writes(module: str, words: set[str]) -> None:
    owner = {"the reader of the registry": "vmp.registry", "the writer": "vmp.tree"}[module]
    users = {name for name, path in MODULES.items() for word in words if word in path.read_text()}
    assert users == {owner}


def test_the_command_line_imports_nothing_heavy_before_it_is_needed() -> None:
    program = "import sys, vmp.cli; print('\\n'.join(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.split()
    bare = "import sys, click, click.shell_completion; print('\\n'.join(sys.modules))"
    clicks = subprocess.run([sys.executable, "-c", bare], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    assert sorted(set(loaded) - set(clicks)) == ["vmp", "vmp.cli"] or not HEAVY & (set(loaded) - set(clicks))
    assert not [name for name in loaded if name.startswith("vmp.") and name != "vmp.cli"]


@pytest.mark.parametrize("module", ORDER)
def test_every_module_and_public_name_says_what_it_is_for(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text())
    assert ast.get_docstring(tree), f"{MODULES[module]} has no docstring"
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{MODULES[module]}: {node.name} has no docstring"
