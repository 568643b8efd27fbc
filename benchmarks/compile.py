"""How long ``vmp gen`` takes, whole process, beside the floor of the same work measured in the same rounds.

The floor parses the same YAML with libyaml and writes the same bytes to as many files.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from figures import FIGURES, RATIOS, Row, Table, Usage, count, figure, measure, ratio
from registries import registry, split_registry

ROOT = Path(__file__).parent.parent
VMP = [sys.executable, "-m", "vmp"]

FLOOR = """
import pickle, sys, yaml, os
for name in open(sys.argv[2]).read().splitlines():
    with open(name) as stream:
        yaml.load(stream.read(), yaml.CSafeLoader)
made = set()
for path, content in pickle.load(open(sys.argv[1], "rb")):
    directory = os.path.dirname(path)
    if directory not in made:
        os.makedirs(directory, exist_ok=True)
        made.add(directory)
    with open(path, "wb") as stream:
        stream.write(content)
"""

# In a process of its own: the memory of this one would count as that of what it starts.
DUMP = """
import pickle, sys
from pathlib import Path
out, floor, dump = map(Path, sys.argv[1:])
files = [(str(floor / path.relative_to(out)), path.read_bytes()) for path in sorted(out.rglob("*")) if path.is_file()]
dump.write_bytes(pickle.dumps(files))
print(f"{len(files)} files, {sum(len(content) for _, content in files) / 1e6:.1f} MB")
"""

RUNS = {1: 11, 100: 7, 1000: 5, 10000: 3}
"""How often each number of VMs is measured."""

VERSION, PASS, THERE = "vmp --version", "python -c pass", "nothing there"
LIMITS = {
    (1000, THERE, "floor"): 2.5,
    (1000, "nothing changed", THERE): 0.6,  # where writing takes longer than reading: on a disk
}


_SCRIPTS = "src/vmp/provisioners/v1alpha1/files/lib"
"""What the last release had: a library of shell scripts, of which it wrote 31 files for a VM."""


def measure_compile(directory: Path, quick: bool) -> list[Table]:
    """Return the tables: start-up, and gen for each number of VMs, from one file and from one file per VM."""
    # As where vmp is installed: its bytecode is there, whatever the environment says of writing any.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(directory / "bytecode")
    table, start_up = _start_up(directory, 3 if quick else 15)
    tables, per_vm = [table], dict[int, list[float]]()
    ratios = [ratio(f"{VERSION} / {PASS}", start_up[VERSION], start_up[PASS], 5.6)]
    for number, runs in RUNS.items():
        if quick and number > 1000:
            continue
        table, found, seconds = _measure_gen(directory, number, 1 if quick else runs)
        tables.append(table)
        ratios += found
        per_vm[number] = [value / number for value in seconds]
    ratios.insert(1, ratio(f"1: one file, {THERE} / {PASS}", per_vm[1], start_up[PASS], 13.4))
    ratios += _beside_the_last_release(directory, 1 if quick else 5)
    ratios.append(ratio(f"10,000 / 1,000: one file, {THERE}, per VM", per_vm.get(10000, ()), per_vm.get(1000, ()), 1.2))
    return [*tables, Table(title="Compile: ratios of medians", header=RATIOS, rows=tuple(ratios))]


def _start_up(directory: Path, runs: int) -> tuple[Table, dict[str, list[float]]]:
    """Measure what every command pays; return the seconds of each, too."""
    one = directory / "one.yaml"
    one.write_text(registry(1))
    commands = {
        PASS: [sys.executable, "-c", "pass"],
        VERSION: [*VMP, "--version"],
        "vmp list, of one VM": [*VMP, "list", "--registry", str(one)],
    }
    for command in commands.values():
        measure(command)
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            times[name].append(measure(command).seconds)
    rows = [figure(name, values) for name, values in times.items()]
    return Table(title="Compile: start-up", header=FIGURES, rows=tuple(rows)), times


def _measure_gen(directory: Path, vms: int, runs: int) -> tuple[Table, list[Row], list[float]]:
    """Return the table and ratios of a number of VMs, and the seconds from one file where nothing is there."""
    one = directory / f"{vms}.yaml"
    one.write_text(registry(vms))
    split = directory / f"{vms}"
    for name, text in split_registry(vms).items():
        (split / name).parent.mkdir(parents=True, exist_ok=True)
        (split / name).write_text(text)
    found: dict[str, list[Usage]] = {}
    written = ""
    for title, source, changed in (("one file", one, one), ("split", split, split / f"vms/{vms // 2:05}.yaml")):
        out, floor_out, dump = directory / "out", directory / "floor", directory / "files.pickle"
        gen = [*VMP, "gen", "--registry", str(source), "--base-dir", str(out)]
        measure(gen)  # compiles vmp to bytecode, and fills the page cache
        dumped = subprocess.run(
            [sys.executable, "-c", DUMP, str(out), str(floor_out), str(dump)],
            check=True,
            capture_output=True,
            text=True,
        )
        written = dumped.stdout.strip()
        sources = [str(path) for path in ([source] if source.is_file() else sorted(source.rglob("*.yaml")))]
        floor_list = directory / "sources"
        floor_list.write_text("\n".join(sources))
        floor = [sys.executable, "-c", FLOOR, str(dump), str(floor_list)]
        for number in range(runs):
            _remove(out)
            found.setdefault(f"{title}, {THERE}", []).append(_settled(gen))
            found.setdefault(f"{title}, nothing changed", []).append(_settled(gen))
            _change_one(changed, vms // 2, 4096 + number)
            found.setdefault(f"{title}, one VM changed", []).append(_settled(gen))
            _remove(floor_out)
            found.setdefault(f"{title}, floor", []).append(_settled(floor))
        _remove(out)
        _remove(floor_out)
    seconds = {name: [usage.seconds for usage in usages] for name, usages in found.items()}
    peak = statistics.median(usage.peak_mb for usage in found[f"one file, {THERE}"])
    table = Table(
        title=f"Compile: {vms:,} VM{'s' if vms > 1 else ''}",
        header=FIGURES,
        rows=tuple(figure(name, values) for name, values in seconds.items()),
        notes=(f"{written}; peak memory of `vmp gen` from one file {peak:.0f} MB.",),
    )
    ratios = [
        ratio(
            f"{vms:,}: {title}, {ours} / {title}, {other}",
            seconds[f"{title}, {ours}"],
            seconds[f"{title}, {other}"],
            LIMITS.get((vms, ours, other)),
        )
        for title in ("one file", "split")
        for ours, other in (
            (THERE, "floor"),
            ("nothing changed", THERE),
            ("one VM changed", THERE),
        )
    ]
    ratios.append(count(f"{vms:,}: peak memory of one file, {THERE}, in MB", round(peak), 120 if vms == 1000 else None))
    return table, ratios, seconds[f"one file, {THERE}"]


def _beside_the_last_release(directory: Path, runs: int) -> list[Row]:
    """Measure 1,000 VMs from nothing beside the last release, and count the files."""
    old = directory / "last-release"
    old.mkdir()
    git = ["git", "-C", str(ROOT)]
    words = [*git, "log", "-1", "--diff-filter=D", "--format=%H^", "--", _SCRIPTS]
    last = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
    archive = subprocess.run([*git, "archive", last, "src"], check=True, capture_output=True)
    subprocess.run(["tar", "-x", "-C", str(old)], input=archive.stdout, check=True)
    source, out = directory / "1000.yaml", directory / "out"
    source.write_text(registry(1000))
    gen = [*VMP, "gen", "--registry", str(source), "--base-dir", str(out)]
    then = {**os.environ, "PYTHONPATH": str(old / "src")}
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    files = 0
    for number in range(runs + 1):  # the first compiles both to bytecode
        for name, environment in (("ours", None), ("theirs", then)):
            os.sync()
            found = measure(gen, environment).seconds
            if number:
                seconds[name].append(found)
            if name == "ours":
                files = sum(path.is_file() for path in out.rglob("*"))
            _remove(out)
    return [
        ratio("1,000: one file, nothing there / the same by the last release", seconds["ours"], seconds["theirs"], 0.6),
        count("1,000: files", files, 10_000),
    ]


def _change_one(file: Path, number: int, memory: int) -> None:
    """Give one VM other memory."""
    text = file.read_text()
    before = rf"(name: web-{number:05}\n(?:.*\n){{5}} +memory: )\d+"
    changed, found = re.subn(before, rf"\g<1>{memory}", text, count=1)
    assert found == 1, f"no VM {number} in {file}"
    file.write_text(changed)


def _settled(command: Sequence[str]) -> Usage:
    os.sync()  # what the run before has left to write is not this one's
    return measure(command)


def _remove(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
