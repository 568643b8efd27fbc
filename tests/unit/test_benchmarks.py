"""The parts of the benchmark that could be wrong without anybody noticing: what is compared, and how it is told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
sys.path.append(str(ROOT / "benchmarks"))

from bench import PARTS, write_between_marks  # noqa: E402
from figures import FIGURES, RATIOS, Table, at_least, count, figure, measure, ratio, to_markdown, to_text  # noqa: E402
from registries import registry, split_registry  # noqa: E402
from vms import renew  # noqa: E402

from vmp.compiler import Compiler  # noqa: E402
from vmp.configuration import Configuration  # noqa: E402
from vmp.diagnostics import Report  # noqa: E402
from vmp.registry import load  # noqa: E402


def compile_all(source: Path) -> list[Configuration]:
    report = Report()
    compiler = Compiler(load((str(source),), report), report)
    found = compiler.compile(compiler.select(()))
    assert not report
    return found


def test_a_split_registry_is_the_same_registry(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(registry(3))
    for name, text in split_registry(3).items():
        (tmp_path / "split" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "split" / name).write_text(text)
    one, split = compile_all(tmp_path / "one.yaml"), compile_all(tmp_path / "split")
    assert [item.plain() for item in one] == [item.plain() for item in split]


def test_what_vms_inherit_without_variables_is_compiled_once(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(registry(3))
    first, *others = compile_all(tmp_path / "one.yaml")
    for other in others:
        assert other.image is first.image
        assert other.node is first.node
        assert other.vm.ssh is first.vm.ssh


def test_a_row_has_median_and_spread() -> None:
    assert figure("up", [3.0, 0.5, 0.04]) == ("up", "500 ms", "40.0 ms", "3.00 s", "3")
    assert figure("peer", [])[1] == "not measured"


def test_a_ratio_says_whether_its_target_is_reached() -> None:
    assert ratio("a / b", [1.0, 1.0, 9.0], [2.0], 0.5) == ("a / b", "0.50", "≤ 0.5", "reached")
    assert ratio("a / b", [1.1], [2.0], 0.5)[2:] == ("≤ 0.5", "missed")
    assert ratio("a / b", [1.0], [2.0]) == ("a / b", "0.50", "", "")
    assert ratio("a / b", [1.0], [], 0.5)[1] == "not measured"
    assert at_least("a / b", 0.79, 0.8)[3] == "missed"
    assert count("connections", 2, 2)[3] == "reached"


def test_a_table_is_text_and_markdown() -> None:
    table = Table(title="One VM", header=RATIOS, rows=(ratio("up / peer", [1.0], [2.0], 0.8),), notes=("A note.",))
    assert to_text(table) == ("One VM\n           measured  target\nup / peer      0.50   ≤ 0.8  reached\nA note.\n")
    assert to_markdown(table) == (
        "**One VM**\n\n|  | measured | target |  |\n|---|---:|---:|---:|\n"
        "| up / peer | 0.50 | ≤ 0.8 | reached |\n\nA note.\n"
    )
    assert to_text(Table(title="Said.", header=FIGURES, rows=())) == "Said.\n"


def test_tables_replace_what_stands_between_their_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- compile -->\nold\n<!-- /compile -->\nafter\n")
    write_between_marks(page, "compile", "new\n")
    assert page.read_text() == "before\n<!-- compile -->\n\nnew\n\n<!-- /compile -->\nafter\n"
    with pytest.raises(SystemExit):
        write_between_marks(page, "uploads", "new\n")


def test_the_documentation_has_a_place_for_each_part() -> None:
    page = (ROOT / "docs/explanation/performance.md").read_text()
    for part in ("machine", *PARTS):
        assert page.count(f"<!-- {part} -->\n") == page.count(f"<!-- /{part} -->\n") == 1


def test_a_run_that_fails_is_no_figure() -> None:
    with pytest.raises(Exception, match="non-zero exit status 3"):
        measure([sys.executable, "-c", "raise SystemExit(3)"])


def test_a_renewed_directory_has_what_vmp_wrote(tmp_path: Path) -> None:
    (tmp_path / "seed.iso.d").mkdir()
    (tmp_path / "MANIFEST").write_text("# what vmp wrote\nMANIFEST\nvm.json\nseed.iso.d/user-data\n")
    for name in ("vm.json", "seed.iso.d/user-data", "domain.xml", "seed.iso"):
        (tmp_path / name).touch()
    renew(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["MANIFEST", "user-data", "vm.json"]
