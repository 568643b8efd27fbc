"""Try the faults, in as many labs at once as there are jobs.

    python -m faults [--jobs N] [PATTERN...]

A PATTERN is one of the shell, and matches anywhere in a fault's name (`up/virsh-vol-upload/1/kill-during`). Ends with 1
when a fault was not survived.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, TextIO

HERE = Path(__file__).parent
TESTS = HERE.parent
sys.path[:0] = [str(TESTS), str(TESTS / "e2e"), str(TESTS / "lab")]

from faults.model import Fault  # noqa: E402

SURVIVED, FAILED, BROKEN = "survived", "FAILED", "BROKEN"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="faults", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--worker", type=Path, metavar="CLAIMS", help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("patterns", nargs="*", metavar="PATTERN")
    options = parser.parse_args(arguments)
    if options.worker:
        return work(options.worker, options.first, options.patterns)
    return direct(options.jobs, options.patterns)


# -- outside the labs --


def direct(jobs: int, patterns: list[str]) -> int:
    """Start the workers, show how they get on, and sum up."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        claims = Path(folder) / "claims"
        claims.mkdir()
        workers = [_start(Path(folder), claims, job, patterns) for job in range(jobs)]
        tried, failed, broken = 0, dict[str, str](), list[str]()
        try:
            for line in _lines([worker.stdout for worker in workers if worker.stdout]):
                word, _, rest = line.partition(" ")
                if word not in (SURVIVED, FAILED, BROKEN):
                    print(line, flush=True)
                    continue
                if word == BROKEN:
                    broken.append(rest)
                    continue
                tried += 1
                name, _, text = rest.partition("\t")
                seconds = time.monotonic() - begin
                print(f"{tried:4} {seconds:5.0f} s  {word:8}  {name}", flush=True)
                if word == FAILED:
                    failed[name] = text.replace("\\n", "\n")
                    print(f"{failed[name]}\n", flush=True)
        except KeyboardInterrupt:
            broken.append("interrupted: not all faults were tried")
            for worker in workers:
                worker.terminate()
                worker.wait()
            workers = []
        broken += [f"a worker ended with {code}" for worker in workers if (code := worker.wait())]
    for name in failed:
        print(f"not survived: {name}   (again: make fault-matrix FAULTS='{name}')")
    for text in broken:
        print(f"the bench itself failed: {text}")
    if not tried:
        print(f"no fault matches {' '.join(patterns)}" if patterns else "no fault was tried")
    print(f"{tried} faults tried, {tried - len(failed)} survived")
    return 1 if failed or broken or not tried else 0


def _start(folder: Path, claims: Path, job: int, patterns: list[str]) -> subprocess.Popen[str]:
    worker = [sys.executable, "-m", "faults", "--worker", str(claims), "--first", str(job), *patterns]
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [TESTS / "lab/lab", folder / f"lab-{job}", *worker],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(folder)},
    )


def _lines(streams: Sequence[IO[str]]) -> Iterator[str]:
    """Yield the lines of all streams as they come."""
    import queue
    import threading

    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read(stream: IO[str]) -> None:
        for line in stream:
            lines.put(line.rstrip("\n"))
        lines.put(None)

    for stream in streams:
        threading.Thread(target=read, args=(stream,), daemon=True).start()
    running = len(streams)
    while running:
        line = lines.get()
        if line is None:
            running -= 1
        else:
            yield line


# -- inside a lab --


def work(claims: Path, first: int, patterns: list[str]) -> int:
    """Try every fault that nobody else has claimed; each worker begins with another scene."""
    from faults.scenes import SCENES, Stage
    from faults.trial import Bench

    names = list(SCENES)
    names = names[first % len(names) :] + names[: first % len(names)]
    with tempfile.TemporaryDirectory() as folder, Stage(Path(folder) / "stage") as stage:
        bench = Bench(stage)
        for name in names:
            if not any(_may_match(pattern, name) for pattern in patterns or ["*"]):
                continue
            try:
                faults = bench.faults(name)
            except AssertionError as error:
                _report(sys.stdout, BROKEN, f"an undisturbed run is not as it should be: {error}")
                continue
            for fault in faults:
                if _wanted(fault, patterns) and _claim(claims, fault):
                    complaints = bench.try_(fault)
                    _report(sys.stdout, FAILED if complaints else SURVIVED, f"{fault}\t" + "\n".join(complaints))
    return 0


def _report(stream: TextIO, word: str, text: str) -> None:
    print(word, text.replace("\n", "\\n"), file=stream, flush=True)


def _wanted(fault: Fault, patterns: list[str]) -> bool:
    return not patterns or any(fnmatchcase(str(fault), f"*{pattern}*") for pattern in patterns)


def _may_match(pattern: str, scene: str) -> bool:
    """Whether a fault of the scene can match: a pattern that begins with a scene's name is for that alone."""
    from faults.scenes import SCENES

    head, slash, _ = pattern.partition("/")
    return not slash or head not in SCENES or head == scene


def _claim(claims: Path, fault: Fault) -> bool:
    try:
        (claims / str(fault).replace("/", " ")).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
