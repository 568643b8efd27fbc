"""Each directory of ``cases/`` is one rule: a registry, and what vmp has to say about it.

The registry is ``registry.yaml`` or the directory ``registry/``. What is expected is one of

* ``diagnostics.txt``: standard error of ``vmp check``, which exits with 1;
* ``config.yaml``: the output of ``vmp config`` for the first VM;
* ``tree/``: the directories that ``vmp gen`` writes, without the static files and the MANIFEST; with ``--fleet`` where
  the tree has one.

``make golden`` (VMP_REWRITE_GOLDEN=1) writes all of them anew. Read the diff before you keep it: an
expectation is right because the rule says so, not because the code did it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from command_line import run

from vmp.provisioners.v1alpha1.static import FLEET_NAMES, STATIC_NAMES
from vmp.tree import MANIFEST

CASES = Path(__file__).parent / "cases"
REWRITE = os.environ.get("VMP_REWRITE_GOLDEN") == "1"
SKEW = "not as expected; if the new text is what the rule says, 'make golden' writes it"


@pytest.mark.parametrize("case", sorted(CASES.iterdir()), ids=lambda case: case.name)
def test_case(case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(case)
    for variable in ("VMP_REGISTRY", "VMP_GEN_BASE_DIR", "NO_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    registry = "registry" if (case / "registry").is_dir() else "registry.yaml"
    expected = [name for name in ("diagnostics.txt", "config.yaml", "tree") if (case / name).exists()]
    assert len(expected) == 1, "a case has one of diagnostics.txt, config.yaml and tree/"
    if expected == ["diagnostics.txt"]:
        outcome = run("check", "--registry", registry)
        _compare(case / "diagnostics.txt", outcome.errors)
        assert (outcome.code, outcome.output) == (1, "")
    elif expected == ["config.yaml"]:
        assert run("check", "--registry", registry) == (0, "", "")
        vm = run("list", "--registry", registry).output.splitlines()[0]
        outcome = run("config", "--registry", registry, "--", vm)
        _compare(case / "config.yaml", outcome.output)
        assert (outcome.code, outcome.errors) == (0, "")
    else:
        options = ["--fleet"] if (case / "tree/.fleet").exists() else []
        outcome = run("gen", "--registry", registry, "--base-dir", str(tmp_path), *options)
        assert (outcome.code, outcome.output) == (0, "")
        _compare_trees(case / "tree", tmp_path)


def _compare(golden: Path, found: str) -> None:
    if REWRITE:
        golden.write_bytes(found.encode())
    assert found == golden.read_bytes().decode(), SKEW


def _compare_trees(golden: Path, base: Path) -> None:
    found = {path: content for path, content in _files(base).items() if not _is_static(path)}
    if REWRITE:
        shutil.rmtree(golden)
        for path, content in found.items():
            (golden / path).parent.mkdir(parents=True, exist_ok=True)
            (golden / path).write_bytes(content)
    assert found == _files(golden), SKEW


def _is_static(path: str) -> bool:
    return path in FLEET_NAMES or path.split("/", 1)[1] in (*STATIC_NAMES, MANIFEST)


def _files(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}
