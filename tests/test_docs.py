"""What the documentation says is what the program does.

A fenced block is executed if an HTML comment stands on the line before it. Files are named, and the names are
shared by all pages, so that one page can build on another's registry:

``<!-- test: file NAME -->``                 the yaml is the file NAME, for other blocks
``<!-- test: registry NAME [OTHER…] -->``    the same, and ``vmp check`` accepts it together with the other files
``<!-- test: merged FILE… -->``              the files, merged, are exactly this yaml
``<!-- test: merged-vms FILE… -->``          the same, of the key ``vms`` alone
``<!-- test: inherited VM FILE… -->``        the VM with all that its templates give it is exactly this yaml
``<!-- test: config VM FILE… -->``           ``vmp config VM`` contains this yaml; it may leave out keys of mappings
``<!-- test: seed VM FILE… -->``             the VM's user-data is exactly this text
``<!-- test: session FILE… -->``             each ``$ …`` line is run by the shell with the files in its directory
                                             (a single one is VMP_REGISTRY), and prints what is below it;
                                             VMP_REWRITE_GOLDEN=1 writes that anew
``<!-- test: no, REASON -->``                nothing; every other yaml block is marked, or the same as one that is

Besides: links and their anchors resolve, every ``vmp …`` in a block or in backquotes is a command line that vmp takes,
targets of ``make -C`` are targets of a generated directory, other targets of ``make`` are of the repository, of
a generated directory or of a fleet, and knobs exist.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
import yaml

from vmp.cli import program
from vmp.diagnostics import Report
from vmp.merge import Templates, element_name, settle
from vmp.nodes import Mapping, Sequence, plain_value
from vmp.provisioners.v1alpha1.runtime.knobs import KNOBS
from vmp.registry import load
from vmp.source import parse

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
PROVISIONER_FILES = ROOT / "src/vmp/provisioners/v1alpha1/files"
FLEET_FILES = ROOT / "src/vmp/provisioners/v1alpha1/fleet_files"
GENERATED_PAGES = ("registry.md", "command-line.md", "diagnostics.md")

_FENCE = re.compile(r"(?:<!-- test: (?P<test>[^\n]*?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
_LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")
_INLINE_CODE = re.compile(r"`([^`\n]+)`")
_MAKE = re.compile(
    r"""\bmake(?P<options>(?:\ -C\ ['"]?[$\w./{}-]+['"]?|\ -[a-z]+\d*)*)
    (?P<goals>(?:\ [A-Z_\d]+=(?:'[^']*'|\S*)|\ [a-z][\w/-]*(?:=\S*)?)*)(?=$|[\s;&|)`…,.])""",
    re.X,
)


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    line: int
    test: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield Block(page, line, match["test"] or "", match["language"], match["text"])


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def marked(*kinds: str) -> list[Any]:
    found = [block for block in BLOCKS if block.test.split(" ")[0] in kinds]
    return [pytest.param(block, id=str(block)) for block in found]


@cache
def files() -> dict[str, str]:
    """Return the files that the pages show, by name."""
    found: dict[str, str] = {}
    for block in BLOCKS:
        kind, _, rest = block.test.partition(" ")
        if kind in ("file", "registry"):
            name = rest.split()[0]
            assert name not in found, f"{block}: a second {name!r}"
            found[name] = block.text
    return found


def write(directory: Path, names: list[str]) -> list[str]:
    """Write the named files below the directory; return their paths."""
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(files()[name], encoding="utf-8")
    return [str(directory / name) for name in names]


def vmp(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "vmp", *arguments], capture_output=True, text=True, check=False)


def from_files(*arguments: str, paths: list[str]) -> subprocess.CompletedProcess[str]:
    return vmp(*arguments, *[word for path in paths for word in ("--registry", path)])


def merged(directory: Path, names: list[str]) -> Mapping:
    report = Report()
    root = load(tuple(write(directory, names)), report)
    assert not report, report.diagnostics
    return root


def as_shown(block: Block) -> Any:
    """Return the values that a block shows, read as the registry is."""
    report = Report()
    node = parse(block.text, str(block), report)
    assert node is not None and not report, report.diagnostics
    return plain_value(node)


def without_last_newline(value: Any) -> Any:
    return value.removesuffix("\n") if isinstance(value, str) else value


def assert_contains(found: Any, shown: Any, path: str = "") -> None:
    """Assert that all that is shown is there; mappings may have more keys than are shown."""
    if isinstance(shown, dict):
        assert isinstance(found, dict), path
        for key, value in shown.items():
            assert key in found, f"{path}.{key} is not there"
            assert_contains(found[key], value, f"{path}.{key}")
    elif isinstance(shown, list):
        assert isinstance(found, list) and len(found) == len(shown), f"{path}: {found}"
        for index, (one, other) in enumerate(zip(found, shown, strict=True)):
            assert_contains(one, other, f"{path}[{index}]")
    else:
        assert without_last_newline(found) == without_last_newline(shown), path


def test_every_yaml_block_is_marked() -> None:
    shown = set(files().values())
    unmarked = [
        str(block) for block in BLOCKS if block.language == "yaml" and not block.test and block.text not in shown
    ]
    assert not unmarked
    known = {"file", "registry", "merged", "merged-vms", "inherited", "config", "seed", "session", "no,", ""}
    assert not [str(block) for block in BLOCKS if block.test.split(" ")[0] not in known]


@pytest.mark.parametrize("block", marked("registry"))
def test_registries_compile(block: Block, tmp_path: Path) -> None:
    result = from_files("check", paths=write(tmp_path, block.test.split()[1:]))
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("block", marked("merged", "merged-vms"))
def test_merged_registries_are_as_shown(block: Block, tmp_path: Path) -> None:
    kind, *names = block.test.split()
    found = plain_value(settle(merged(tmp_path, names)))
    assert isinstance(found, dict)
    assert (found if kind == "merged" else {"vms": found["vms"]}) == as_shown(block)


@pytest.mark.parametrize("block", marked("inherited"))
def test_what_a_vm_inherits_is_as_shown(block: Block, tmp_path: Path) -> None:
    _, name, *names = block.test.split()
    root = merged(tmp_path, names)
    report = Report()
    templates = Templates(by_name(root, "templates"), report)
    inherited = plain_value(settle(templates.inherit(by_name(root, "vms")[name])))
    assert not report, report.diagnostics
    assert inherited == as_shown(block)


def by_name(root: Mapping, section: str) -> dict[str, Mapping]:
    entries = root.get(section)
    items = entries.items if isinstance(entries, Sequence) else ()
    return {element_name(item) or "": item for item in items if isinstance(item, Mapping)}


@pytest.mark.parametrize("block", marked("config"))
def test_configurations_are_as_shown(block: Block, tmp_path: Path) -> None:
    _, name, *names = block.test.split()
    result = from_files("config", name, paths=write(tmp_path, names))
    assert result.returncode == 0, result.stderr
    assert_contains(yaml.safe_load(result.stdout), yaml.safe_load(block.text))


@pytest.mark.parametrize("block", marked("seed"))
def test_seeds_are_as_shown(block: Block, tmp_path: Path) -> None:
    _, name, *names = block.test.split()
    result = from_files("gen", name, "--base-dir", str(tmp_path / "out"), paths=write(tmp_path, names))
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out" / name / "seed.iso.d" / "user-data").read_text(encoding="utf-8") == block.text


@pytest.mark.parametrize("block", marked("session"))
def test_sessions_print_what_is_shown(block: Block, tmp_path: Path) -> None:
    names = block.test.split()[1:]
    write(tmp_path, names)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "LC_ALL": "C.UTF-8"}
    if len(names) == 1:
        environment["VMP_REGISTRY"] = names[0]
    printed = []
    for command in re.findall(r"^\$ (.*)$", block.text, re.M):
        result = subprocess.run(
            ["sh", "-c", command],
            cwd=tmp_path,
            env=environment,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        printed.append(f"$ {command}\n{result.stdout}")
    if os.environ.get("VMP_REWRITE_GOLDEN"):
        page = block.page.read_text(encoding="utf-8")
        block.page.write_text(page.replace(block.text, "".join(printed)), encoding="utf-8")
    else:
        assert "".join(printed) == block.text


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    found: dict[str, int] = {}
    for heading in re.findall(r"^#+ (.*)$", _FENCE.sub("", page.read_text(encoding="utf-8")), re.M):
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
        if found[slug]:
            found[f"{slug}-{found[slug]}"] = 0
    return set(found)


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
def test_links_resolve(page: Path) -> None:
    wrong = []
    for link in _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            wrong.append(link)
    assert not wrong


def test_the_tutorial_shows_the_basic_example() -> None:
    assert files()["registry.yaml"] == (ROOT / "examples/basic/registry.yaml").read_text(encoding="utf-8")


def test_the_index_names_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    text = index.read_text(encoding="utf-8") + (ROOT / "docs/how-to/README.md").read_text(encoding="utf-8")
    assert not [
        page for page in PAGES if ROOT / "docs" in page.parents and f"{page.name})" not in text if page != index
    ]


def commands_of(page: Path) -> Iterator[tuple[str, bool]]:
    """Return the lines of blocks, without comments and prompts, and what is in backquotes (whole: no)."""
    for block in blocks_of(page):
        if block.language in ("console", "sh", "text", "make", "yaml") and block.page.name != "command-line.md":
            for line in block.text.splitlines():
                yield re.sub(r"^\$ |\s#\s.*$", "", line.strip()), True
    for code in _INLINE_CODE.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        yield code, False


def vmp_command_lines() -> list[Any]:
    found = {}
    for page in PAGES:
        for line, whole in commands_of(page):
            for match in re.finditer(r"(?:^|[;&|(=] ?|- run: )vmp((?: [^|;&)<>]+)?)", line):
                if "=" not in line[: match.start()] or match.group().startswith("$("):
                    found[match.group(1).strip(), whole] = page
    return [pytest.param(words, whole, id=f"vmp {words}") for words, whole in found]


@pytest.mark.parametrize(("words", "whole"), vmp_command_lines())
def test_command_lines_are_those_of_vmp(words: str, whole: bool) -> None:
    arguments = [word for word in shlex.split(words) if word not in ("…", "...")]
    if not arguments or {"-h", "--help", "--version"} & set(arguments):
        return
    context = program.make_context("vmp", list(arguments))
    # click 8.1 and 8.2 keep the subcommand's name under different names
    rest = [*(getattr(context, "_protected_args", None) or getattr(context, "protected_args", [])), *context.args]
    name, command, rest = program.resolve_command(context, rest)
    assert command is not None
    try:
        command.make_context(name, rest, parent=context)
    except click.MissingParameter:
        assert not whole, "an argument is missing"


def make_goals() -> Iterator[tuple[str, bool, Path]]:
    for page in PAGES:
        for line, _ in commands_of(page):
            for match in _MAKE.finditer(line):
                for goal in shlex.split(match["goals"]):
                    if "=" not in goal:
                        yield goal, " -C" in match["options"], page


def test_targets_of_make_exist(tmp_path: Path) -> None:
    in_repository = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    of_fleet = set(
        re.findall(r"^targets := (.*)$", (FLEET_FILES / "Makefile").read_text(encoding="utf-8"), re.M)[0].split()
    )
    (tmp_path / "Makefile").write_bytes((PROVISIONER_FILES / "Makefile").read_bytes())
    wrong = set()
    for goal, in_directory in sorted({(goal, in_directory) for goal, in_directory, _ in make_goals()}):
        if in_directory or goal not in in_repository | of_fleet:
            result = subprocess.run(
                ["make", "-n", "-C", str(tmp_path), goal], capture_output=True, text=True, check=False
            )
            if "No rule to make target" in result.stderr:
                wrong.add(goal)
    assert not wrong


def test_the_page_for_life_without_vmp_names_each_file_that_the_targets_make() -> None:
    page = (ROOT / "docs/how-to/use-without-vmp.md").read_text(encoding="utf-8")
    ignored = (PROVISIONER_FILES / ".gitignore").read_text(encoding="utf-8").splitlines()
    names = {line.strip("/") for line in ignored if re.fullmatch("/[a-z_.]+/?", line)} - {"secrets.json"}
    assert "install.xml.sum" in names
    assert not [name for name in sorted(names) if f"`{name}`" not in page and f"`{name}/`" not in page]


def test_knobs_exist() -> None:
    for page in PAGES:
        mentioned = set(re.findall(r"\bV1ALPHA1_[A-Z_]*[A-Z]\b", page.read_text(encoding="utf-8")))
        assert mentioned <= {knob.name for knob in KNOBS}, page


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
def test_pages_are_plain(page: Path) -> None:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    prose = _INLINE_CODE.sub("", re.sub(r"<!--.*?-->|!\[", "", text, flags=re.S))
    assert "!" not in prose, "no exclamation marks"
    assert page.read_text(encoding="utf-8").startswith("# ")
