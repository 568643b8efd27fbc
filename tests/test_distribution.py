"""What `make dist` built: the wheel, and the one file that needs nothing but Python. `make test` builds both first."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from vmp import __version__
from vmp.provisioners.v1alpha1 import static

ROOT = Path(__file__).parent.parent
REGISTRY = ROOT / "examples/advanced/registry"
EXECUTABLE = ROOT / "dist/vmp"
WHEEL = ROOT / f"dist/vmp-{__version__}-py3-none-any.whl"

pytestmark = pytest.mark.skipif(not EXECUTABLE.exists(), reason="dist/ is not built; 'make dist' does it")


def tree(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_the_one_file_compiles_the_same_bytes_without_any_installed_package(tmp_path: Path) -> None:
    ours, expected = tmp_path / "ours", tmp_path / "expected"
    bare = [sys.executable, "-I", "-S", str(EXECUTABLE)]  # no site-packages, no environment
    packages = subprocess.run([sys.executable, "-I", "-S", "-c", "import yaml"], capture_output=True)
    assert packages.returncode != 0, "this Python must have no PyYAML of its own"
    arguments = ["gen", "--fleet", "--registry", str(REGISTRY), "--base-dir"]
    subprocess.run([*bare, *arguments, str(ours)], check=True, env={}, cwd="/", capture_output=True)
    subprocess.run([sys.executable, "-m", "vmp", *arguments, str(expected)], check=True, capture_output=True)
    assert tree(ours) == tree(expected)


def test_the_one_file_reports_mistakes_at_the_same_places(tmp_path: Path) -> None:
    registry = tmp_path / "wrong.yaml"
    registry.write_text("vms:\n  - name: web\n    memroy: 1\n  - [unclosed\n")
    results = [
        subprocess.run([*command, "check", "-r", str(registry)], capture_output=True, text=True, env={})
        for command in ([sys.executable, "-I", "-S", str(EXECUTABLE)], [sys.executable, "-m", "vmp"])
    ]
    assert [result.returncode for result in results] == [1, 1]
    places = [result.stderr.split(": error")[0] for result in results]
    assert places[0] == places[1]


def test_the_one_file_is_executable_and_says_its_version() -> None:
    assert EXECUTABLE.stat().st_mode & 0o111
    shown = subprocess.run([sys.executable, "-I", "-S", str(EXECUTABLE), "--version"], capture_output=True, text=True)
    assert shown.stdout == f"{__version__}\n"


def test_the_wheel_has_every_static_file_and_the_command(tmp_path: Path) -> None:
    with zipfile.ZipFile(WHEEL) as wheel:
        names = wheel.namelist()
        entry_points = wheel.read(f"vmp-{__version__}.dist-info/entry_points.txt").decode()
    package = Path(static.__file__).parent
    for directory in ("files", "fleet_files", "runtime"):
        for path in (package / directory).iterdir():
            if path.is_file():
                assert f"vmp/provisioners/v1alpha1/{directory}/{path.name}" in names
    assert "vmp = vmp.cli:main" in entry_points
    assert any(name.endswith("LICENSE") for name in names)


def test_the_one_file_says_which_python_it_needs() -> None:
    program = (
        "import sys, runpy; sys.version_info = (3, 9, 2, 'final', 0); runpy.run_path(sys.argv[1], run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program, EXECUTABLE], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "vmp needs Python 3.10 or later, and this is Python 3.9\n")
