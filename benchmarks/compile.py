"""How long ``vmp gen`` takes, whole process, beside the floor of the same work measured in the same run.

The floor parses the same YAML with libyaml and writes the same bytes to as many files. Medians of several
runs, taken in turn, so that a machine whose speed drifts does not favour either.
"""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from registries import registry

VMP = (
    [sys.executable, "-m", "vmp"]
    if not (Path(sys.executable).parent / "vmp").exists()
    else [str(Path(sys.executable).parent / "vmp")]
)

FLOOR = """
import pickle, sys, yaml, os
yaml.load(open(sys.argv[1]).read(), yaml.CSafeLoader)
made = set()
for path, content in pickle.load(open(sys.argv[2], "rb")):
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


def measure(command: list[str]) -> tuple[float, float]:
    """Return seconds and peak memory in MB of one process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        sys.exit(f"{command} failed with {status}")
    return seconds, usage.ru_maxrss / 1024


def row(title: str, values: list[float], unit: str = "ms", scale: float = 1000) -> str:
    """Return a line of the table: minimum, median, maximum."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{title:<44} {low * scale:>9.1f} {middle * scale:>9.1f} {high * scale:>9.1f} {unit}"


def start_up(runs: int) -> None:
    """Measure what every command pays."""
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "vmp --version": [*VMP, "--version"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            times[name].append(measure(command)[0])
    for name, values in times.items():
        print(row(name, values))


def generate(count: int, runs: int, directory: Path) -> None:
    """Measure gen of ``count`` VMs, fresh and unchanged, and its floor."""
    source = directory / f"{count}.yaml"
    source.write_text(registry(count))
    out = directory / "out"
    gen = [*VMP, "gen", "--registry", str(source), "--base-dir", str(out)]
    subprocess.run(gen, check=True, stderr=subprocess.DEVNULL)
    floor_out = directory / "floor"
    dump = directory / "files.pickle"
    written = subprocess.run(
        [sys.executable, "-c", DUMP, str(out), str(floor_out), str(dump)], check=True, capture_output=True, text=True
    )
    floor = [sys.executable, "-c", FLOOR, str(source), str(dump)]
    results: dict[str, list[tuple[float, float]]] = {"gen": [], "unchanged": [], "floor": []}
    for _ in range(runs):
        _remove(out)
        results["gen"].append(_settled(lambda: measure(gen)))
        results["unchanged"].append(_settled(lambda: measure(gen)))
        _remove(floor_out)
        results["floor"].append(_settled(lambda: measure(floor)))
    _remove(out)
    _remove(floor_out)
    medians = {name: statistics.median(seconds for seconds, _ in values) for name, values in results.items()}
    print(f"\n{count} VMs: {written.stdout.strip()}")
    print(row("vmp gen, nothing there", [seconds for seconds, _ in results["gen"]]))
    print(row("vmp gen again, nothing changed", [seconds for seconds, _ in results["unchanged"]]))
    print(row("floor: parse the same YAML, write the same files", [seconds for seconds, _ in results["floor"]]))
    print(row("peak memory of vmp gen", [peak for _, peak in results["gen"]], "MB", 1))
    print(f"{'gen / floor':<44} {medians['gen'] / medians['floor']:>19.2f}")
    print(f"{'unchanged / gen':<44} {medians['unchanged'] / medians['gen']:>19.2f}")


def _settled(run: Callable[[], tuple[float, float]]) -> tuple[float, float]:
    os.sync()  # what the run before has left to write is not this one's
    return run()


def _remove(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)


def main() -> None:
    """Print the table."""
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {platform.platform()}")
    print(f"{'':<44} {'min':>9} {'median':>9} {'max':>9}")
    start_up(15)
    with tempfile.TemporaryDirectory() as name:  # TMPDIR=/dev/shm measures without a disk
        directory = Path(name)
        generate(1, 11, directory)
        generate(1000, 5, directory)
        generate(10000, 1, directory)


if __name__ == "__main__":
    main()
