"""``make bench``: measures, prints tables, and writes them into the documentation when asked to.

What needs libvirt runs in the private one of the tests: this program starts itself again in there.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from compile import measure_compile
from figures import Table, to_markdown, to_text
from lifecycle import measure_lifecycle
from machine import describe_load, describe_machine
from nodes import measure_nodes
from peer import describe_peer, install_peer
from uploads import measure_uploads

ROOT = Path(__file__).parent.parent
PARTS = ("compile", "lifecycle", "nodes", "uploads")
IN_LAB = "VMP_BENCH_IN_LAB"
"""Set in the lab: where kcli is, or empty."""
PEER = "VMP_BENCH_PEER"
"""Set in the lab: the peer's version, or why there is none."""


def main() -> None:
    """Measure the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all when none is given")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables between the marks of this file, too")
    parser.add_argument("--quick", action="store_true", help="few rounds: to see whether it works, not how fast")
    arguments = parser.parse_args()
    parts: list[str] = arguments.parts or list(PARTS)
    if unknown := set(parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if IN_LAB in os.environ:
        with tempfile.TemporaryDirectory(dir=os.environ["VMP_BENCH_DIRECTORY"]) as directory:
            for part in parts:
                _report(part, _measure(part, Path(directory), arguments.quick), arguments)
        return
    in_lab = [part for part in parts if part != "compile"]
    found = install_peer() if "lifecycle" in parts else ""
    _report("machine", [describe_machine()], arguments)
    with tempfile.TemporaryDirectory() as directory:
        if "compile" in parts:
            _report("compile", _measure("compile", Path(directory), arguments.quick), arguments)
        if in_lab:
            options = [word for word in sys.argv[1:] if word not in PARTS]
            _run_in_lab(Path(directory), [*in_lab, *options], found)


def _run_in_lab(directory: Path, arguments: Sequence[str], peer: Path | str) -> None:
    environment = {
        **os.environ,
        IN_LAB: str(peer) if isinstance(peer, Path) else "",
        PEER: describe_peer(peer),
        "VMP_BENCH_DIRECTORY": str(directory),
    }
    command = [str(ROOT / "tests/lab/lab"), str(directory / "lab"), sys.executable, __file__, *arguments]
    done = subprocess.run(command, env=environment)
    if done.returncode:
        sys.exit(done.returncode)


def _measure(part: str, directory: Path, quick: bool) -> list[Table]:
    load = describe_load()
    if part == "compile":
        tables = measure_compile(directory, quick)
    elif part == "lifecycle":
        kcli = os.environ[IN_LAB]
        tables = measure_lifecycle(directory, Path(kcli) if kcli else None, *((2, 1) if quick else (15, 3)))
    elif part == "nodes":
        tables = measure_nodes(directory, 2 if quick else 7)
    elif quick:
        tables = measure_uploads(directory, 1, full_mib=128, sparse_mib=256, data_mib=20)
    else:
        tables = measure_uploads(directory, 3, full_mib=2048, sparse_mib=4096, data_mib=20)
    if part == "lifecycle":
        load += f" Peer: {os.environ[PEER]}."
    rounds = " Only a few rounds: no figures to rely on." if quick else ""
    return [Table(title=load + rounds, header=(), rows=()), *tables]


def _report(part: str, tables: Sequence[Table], arguments: argparse.Namespace) -> None:
    shown = to_markdown if arguments.markdown else to_text
    print("\n".join(map(shown, tables)), flush=True)
    if arguments.write:
        write_between_marks(arguments.write, part, "\n".join(map(to_markdown, tables)))


def write_between_marks(file: Path, part: str, text: str) -> None:
    """Replace what stands between the marks of a part in a document."""
    marks = rf"(<!-- {part} -->\n).*?(<!-- /{part} -->)"
    changed, found = re.subn(marks, lambda match: f"{match[1]}\n{text}\n{match[2]}", file.read_text(), flags=re.DOTALL)
    if found != 1:
        sys.exit(f"{file} has no marks of {part}")
    file.write_text(changed)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error}\n{error.output or ''}{error.stderr or ''}")
