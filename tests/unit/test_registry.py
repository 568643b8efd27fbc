"""Which files make up the registry, in what order, and what cannot be read."""

from __future__ import annotations

import io
import os
import sys
import time
from itertools import permutations
from pathlib import Path

import pytest
from reading import codes, places

from vmp.diagnostics import Report
from vmp.nodes import Mapping, Scalar, Sequence
from vmp.registry import MAX_SIZE, find_files, load


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _write(**files: str) -> None:
    for name, text in files.items():
        path = Path(name.replace("__", "/") + ".yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _uris(root: Mapping) -> dict[str, str]:
    nodes = root.get("nodes")
    assert isinstance(nodes, Sequence)
    found = {}
    for item in nodes.items:
        assert isinstance(item, Mapping)
        name, uri = item.get("name"), item.get("uri")
        assert isinstance(name, Scalar) and isinstance(uri, Scalar)
        found[name.text] = uri.text
    return found


def _load(*locations: str) -> dict[str, str]:
    report = Report()
    root = load(locations, report)
    assert not report, report.diagnostics
    return _uris(root)


def _failed(*locations: str) -> Report:
    report = Report()
    load(locations, report)
    assert report
    return report


def test_files_come_in_bytewise_order_whatever_the_order_of_arguments() -> None:
    names = ["Z.yaml", "a-b.yaml", "a/b.yaml", "a.yaml", "é.yaml"]
    for name in names:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(f"nodes: [{{name: n, uri: {name}}}]")
    expected = sorted(names, key=os.fsencode)
    for order in permutations(names):
        assert find_files(order, Report()) == expected
        assert _load(*order) == {"n": expected[-1]}


def test_a_file_that_is_named_twice_is_read_once() -> None:
    _write(a="nodes: [{name: n, uri: a}]")
    assert len(find_files(("a.yaml", "./a.yaml", "*.yaml", os.path.abspath("a.yaml")), Report())) == 1


def test_later_files_override_by_name_and_add() -> None:
    _write(a="nodes: [{name: x, uri: 1}, {name: y, uri: 1}]", b="nodes: [{name: z, uri: 2}, {name: x, uri: 2}]")
    assert list(_load("a.yaml", "b.yaml").items()) == [("x", "2"), ("y", "1"), ("z", "2")]


def test_a_glob_is_recursive_with_two_stars() -> None:
    _write(r__one="nodes: [{name: 1, uri: 1}]", r__deep__er__two="nodes: [{name: 2, uri: 2}]")
    assert _load("r/*.yaml") == {"1": "1"}
    assert _load("r/**/*.yaml") == {"1": "1", "2": "2"}
    assert _load("r/deep/*/[st]w?.yaml") == {"2": "2"}


def test_a_file_whose_name_looks_like_a_glob_is_that_file() -> None:
    Path("[a].yaml").write_text("nodes: [{name: n, uri: brackets}]")
    Path("a.yaml").write_text("nodes: [{name: n, uri: glob}]")
    assert _load("[a].yaml") == {"n": "brackets"}


def test_a_tilde_is_the_home_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    _write(a="nodes: [{name: n, uri: home}]")
    assert _load("~/a.yaml") == _load("~/*.yaml") == {"n": "home"}


def test_a_directory_is_every_yaml_file_below_it() -> None:
    _write(r__one="nodes: [{name: 1, uri: 1}]", r__deep__two="nodes: [{name: 2, uri: 2}]")
    Path("r/three.yml").write_text("nodes: [{name: 3, uri: 3}]")
    Path("r/four.txt").write_text("][")
    assert sorted(_load("r")) == ["1", "2", "3"] == sorted(_load("r/"))


def test_links_to_files_are_followed_and_circles_of_directories_are_not() -> None:
    _write(outside="nodes: [{name: n, uri: link}]")
    Path("r").mkdir()
    Path("r/link.yaml").symlink_to("../outside.yaml")
    Path("r/circle").symlink_to(".")
    assert _load("r") == {"n": "link"}


def test_standard_input_is_read_last_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    _write(a="nodes: [{name: n, uri: file}]")
    for locations in (("-",), ("-", "a.yaml", "-"), ("a.yaml", "-")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"nodes: [{name: n, uri: stdin}]")))
        assert _load(*locations) == {"n": "stdin"}


def test_empty_files_add_nothing() -> None:
    _write(a="nodes: [{name: n, uri: a}]", b="", c="# comment\n", d="nodes:\n")
    Path("e.yaml").write_bytes(b"\xef\xbb\xbf")
    assert _load("[abc].yaml", "e.yaml") == {"n": "a"}


def test_a_byte_order_mark_is_allowed() -> None:
    Path("a.yaml").write_bytes("\ufeffnodes: [{name: ü, uri: bom}]".encode())
    assert _load("a.yaml") == {"ü": "bom"}


def test_a_place_that_is_not_utf_8_is_reported() -> None:
    Path("a.yaml").write_bytes("ok: 1\nü: ".encode() + b"\xff")
    assert places(_failed("a.yaml")) == [("bad-encoding", 2, 4)]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
def test_other_encodings_are_refused(encoding: str) -> None:
    Path("a.yaml").write_bytes("nodes: [{name: ü}]".encode(encoding))
    assert codes(_failed("a.yaml")) == ["bad-encoding"]


@pytest.mark.parametrize("name", ["nowhere.yaml", "nowhere/", "*.nothing", "nowhere/**/*.yaml", ""])
def test_what_matches_no_file_is_an_error(name: str) -> None:
    report = _failed(name)
    assert codes(report) in (["no-registry"], ["cannot-read"])
    assert name in report.diagnostics[0].message


def test_a_directory_without_yaml_is_an_error() -> None:
    Path("r/deep.yaml").mkdir(parents=True)
    assert codes(_failed("r")) == ["no-registry"]
    assert codes(_failed("r/deep.yaml")) == ["no-registry"]


def test_a_pipe_a_device_and_a_dead_link_are_errors_and_no_hang() -> None:
    os.mkfifo("pipe.yaml")
    Path("dead.yaml").symlink_to("nowhere")
    for name in ("pipe.yaml", "/dev/zero", "dead.yaml", "/proc/self/mem"):
        assert codes(_failed(name)) == ["cannot-read"]
    assert codes(_failed(".")) == ["cannot-read", "cannot-read"]


def test_a_directory_that_cannot_be_read_is_an_error_and_not_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    _write(r__a="nodes: []")
    start = Path.cwd()
    for part in ["r", *["d" * 250] * 20]:  # too long a path for the kernel, which even root may not read
        Path(part).mkdir(exist_ok=True)
        monkeypatch.chdir(part)
    monkeypatch.chdir(start)
    assert codes(_failed("r")) == ["cannot-read"]


def test_a_file_that_is_far_too_large_is_refused_fast() -> None:
    with open("a.yaml", "wb") as stream:
        stream.truncate(MAX_SIZE * 4)
    begin = time.monotonic()
    assert codes(_failed("a.yaml")) == ["too-large"]
    assert time.monotonic() - begin < 5


def test_a_name_twice_in_one_list_of_one_file_is_an_error() -> None:
    _write(a="nodes: [{name: x}, {name: y}, {name: x}]", b="nodes: [{name: y}]")
    assert places(_failed("a.yaml", "b.yaml")) == [("duplicate-name", 1, 38)]


@pytest.mark.parametrize("text", ["[]", "text", "12", "~"])
def test_the_top_level_is_a_mapping(text: str) -> None:
    _write(a=text)
    assert codes(_failed("a.yaml"))[0] == "wrong-type"


def test_every_bad_file_is_reported() -> None:
    _write(a="[", b="nodes: [{name: n, uri: 1}]", c="- x")
    assert codes(_failed("a.yaml", "b.yaml", "c.yaml", "d.yaml")) == ["cannot-read", "invalid-yaml", "wrong-type"]
