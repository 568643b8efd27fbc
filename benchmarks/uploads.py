"""How fast an image gets into a volume, beside cp to the same disk."""

from __future__ import annotations

import os
import random
import re
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from figures import FIGURES, RATIOS, Row, Table, at_least, figure, measure, ratio
from vms import IMAGES, PLUG, compile_registry, make

MIB = 2**20
VOLUME = "uploaded"
THROUGH_LIBVIRT = "qemu+unix:///system?socket=/run/libvirt/libvirt-sock"
"""The same libvirt. It could as well be elsewhere, so a file is not copied."""

_REGISTRY = """\
nodes:
  - name: localhost
    libvirt: {{connection: {{uri: "{uri}"}}}}
images:
  - name: image
    tags:
      - {{pattern: latest, url: "file://{image}", volumeName: {VOLUME}, format: {format}}}
vms:
  - name: vm
    provisioner: v1alpha1
    nodeName: localhost
    image: image
    libvirt:
      domain:
        name: vm
        virtInstall:
          memory: 64
          disk:
            - name: boot
              options: {{vol: "{{DEFAULT_POOL_NAME}}/{VOLUME}"}}
      volumes:
        - name: {VOLUME}
          poolName: "{{DEFAULT_POOL_NAME}}"
          format: {format}
          uploadFile: {{path: "{image}"}}
"""


def measure_uploads(directory: Path, rounds: int, full_mib: int, sparse_mib: int, data_mib: int) -> list[Table]:
    """Return the tables of a full qcow2 image and of a sparse raw one. Files in the page cache are read, for both."""
    full, sparse = directory / "full.qcow2", directory / "sparse.raw"
    _write_full(full, full_mib)
    _write_sparse(sparse, sparse_mib, data_mib)
    tables = []
    ratios: list[Row] = []
    allocated: list[Row] = []
    for title, image, base in (
        (f"{full_mib} MiB of random data in a qcow2 image", full, directory / "full"),
        (f"sparse raw image of {sparse_mib} MiB, {data_mib} MiB of it data", sparse, directory / "sparse"),
    ):
        times, rows = _measure_image(image, base, rounds)
        size = image.stat().st_size
        notes = [f"{name}: {_rate(size, values)}" for name, values in times.items()] if image is full else []
        tables.append(
            Table(
                title=f"Upload: {title}",
                header=FIGURES,
                rows=tuple(figure(name, values) for name, values in times.items()),
                notes=("; ".join(notes) + ".",) if notes else (),
            )
        )
        allocated += rows
        if image is full:
            faster = statistics.median(times["cp"]) / statistics.median(times["create/volume"])
            ratios.append(at_least("throughput of create/volume / cp", faster, 0.8))
    shown = _measure_progress(full, directory, 3 * rounds)
    figures = tuple(figure(name, values) for name, values in shown.items())
    tables.append(Table(title=f"Upload: the image of {full_mib} MiB through libvirt", header=FIGURES, rows=figures))
    ratios.append(ratio("upload with progress / without", shown["with progress"], shown["without"], 1.02))
    return [
        *tables,
        Table(title="Upload: ratio of medians", header=RATIOS, rows=tuple(ratios)),
        Table(title="Upload: what takes space on the disk", header=("", "size", "allocated"), rows=tuple(allocated)),
    ]


def _measure_image(image: Path, base: Path, rounds: int) -> tuple[dict[str, list[float]], list[Row]]:
    _compile(image, base, "qemu:///system")
    _start_pool()
    copy, volume = IMAGES / "copy", IMAGES / VOLUME
    times: dict[str, list[float]] = {"cp": [], "cp, and fdatasync": [], "create/volume": []}
    rows: list[Row] = []
    subprocess.run(["cat", image], stdout=subprocess.DEVNULL, check=True)
    for _ in range(rounds):
        times["cp"].append(_settled(["cp", str(image), str(copy)]))
        copy.unlink()
        script = 'cp "$1" "$2" && sync --data "$2"'
        times["cp, and fdatasync"].append(_settled(["sh", "-c", script, "sh", str(image), str(copy)]))
        if not rows:
            rows = [_space(image.name, image), _space("copied by cp", copy)]
        copy.unlink()
        times["create/volume"].append(_settled(make(base / "vm", "create/volume")))
        if len(rows) == 2:
            rows.append(_space("volume made by create/volume", volume))
        subprocess.run(make(base / "vm", "delete-all", PLUG), check=True, capture_output=True)
    return times, rows


def _measure_progress(image: Path, directory: Path, rounds: int) -> dict[str, list[float]]:
    """Return how long an upload takes whose line moves, and one by the same program that never looks, in turns."""
    times: dict[str, list[float]] = {"without": [], "with progress": []}
    for name in times:
        _compile(image, directory / name, THROUGH_LIBVIRT)
    program = directory / "without/vm/provisioner.py"
    text, found = re.subn(r"^LOOK_SECONDS = .*$", "LOOK_SECONDS = 3600", program.read_text(), flags=re.MULTILINE)
    assert found == 1
    program.write_text(text)
    on_terminal = {**os.environ, "VMP_PROGRESS": "80"}
    for _ in range(rounds):
        for name in list(times):
            vm = directory / name / "vm"
            times[name].append(_settled(make(vm, "create/volume"), on_terminal))
            subprocess.run(make(vm, "delete-all", PLUG), check=True, capture_output=True)
    return times


def _compile(image: Path, base: Path, uri: str) -> None:
    compile_registry(_REGISTRY.format(image=image, VOLUME=VOLUME, format=image.suffix[1:], uri=uri), base)


def _start_pool() -> None:
    IMAGES.mkdir(exist_ok=True)
    virsh = f"pool-define-as default dir --target {IMAGES}; pool-start default"
    subprocess.run(["virsh", "-q", virsh], capture_output=True)


def _settled(command: Sequence[str], environment: Mapping[str, str] | None = None) -> float:
    os.sync()  # what the run before has left to write is not this one's
    return measure(command, environment).seconds


def _write_full(path: Path, mib: int) -> None:
    raw = path.with_suffix(".raw")
    with raw.open("wb") as stream:
        for _ in range(mib):
            stream.write(os.urandom(MIB))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, path], check=True)
    raw.unlink()


def _write_sparse(path: Path, mib: int, data_mib: int) -> None:
    """Write data in pieces of 1 MiB all over a file of holes."""
    pieces = random.Random(1)
    with path.open("wb") as stream:
        stream.truncate(mib * MIB)
        for number in range(data_mib):
            stream.seek(number * (mib // data_mib) * MIB)
            stream.write(pieces.randbytes(MIB))


def _space(title: str, path: Path) -> Row:
    found = path.stat()
    return (title, f"{found.st_size / MIB:.0f} MiB", f"{found.st_blocks * 512 / MIB:.0f} MiB")


def _rate(size: int, seconds: Sequence[float]) -> str:
    return f"{size / MIB / statistics.median(seconds):.0f} MiB/s"
