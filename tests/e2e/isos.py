"""ISO images to take files out of, and environments that have some of the programs for ISO images alone."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from world import ENVIRONMENT

PROGRAMS = frozenset(["xorriso", "genisoimage", "mkisofs", "cloud-localds", "bsdtar", "7z", "7zz", "7za", "7zr"])
"""What makes or reads ISO images."""

FILES = {
    "casper/vmlinuz": b"kernel\0\xff" * 40_000,
    "casper/initrd": b"initrd\n",
    'a b/it\'s "q".txt': b"quoted",
    "br[ck]et/f#~$.txt": b"bracket",
    "deep/er/-dash": b"dash",
    "\u00e9.txt": b"accent",
}
"""What `installer` has, besides links and an empty file."""


def having(directory: Path, *programs: str) -> dict[str, str]:
    """Return an environment that has no programs for ISO images but these."""
    directory.mkdir()
    for folder in ("/usr/bin", "/bin", "/usr/sbin", "/sbin"):
        for path in Path(folder).iterdir():
            link = directory / path.name
            if (path.name in programs or path.name not in PROGRAMS) and not link.is_symlink():
                link.symlink_to(path)
    for program in programs:
        assert shutil.which(program, path=ENVIRONMENT["PATH"]), f"{program} is not installed"
    return {"PATH": str(directory)}


def installer(directory: Path, *options: str, files: dict[str, bytes] | None = None) -> Path:
    """Make an ISO image of FILES with links, by genisoimage with these options (`-R -J`: Rock Ridge and Joliet)."""
    tree = directory / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    for name, content in (files or FILES).items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content)
    (tree / "casper").mkdir(exist_ok=True)
    (tree / "casper/link").symlink_to("vmlinuz")
    (tree / "casper/outside").symlink_to("/etc/passwd")
    (tree / "stable").symlink_to("casper")
    (tree / "empty").touch()
    image = directory / "installer.iso"
    image.unlink(missing_ok=True)
    command: list[str | Path] = ["genisoimage", "-quiet", *options, "-input-charset", "utf-8", "-o", image, tree]
    subprocess.run(command, check=True, capture_output=True)
    return image


def files_on(iso: Path) -> dict[str, bytes]:
    """Return the files of an image by their Rock Ridge names, as an independent reader sees them."""
    listed = subprocess.run(["isoinfo", "-R", "-f", "-i", iso], check=True, capture_output=True, text=True).stdout
    found = {}
    for name in listed.splitlines():
        done = subprocess.run(["isoinfo", "-R", "-x", name, "-i", iso], check=True, capture_output=True)
        if done.stdout:
            found[name.lstrip("/")] = done.stdout
    return found


def label_of(iso: Path) -> str:
    """Return the label in the primary volume descriptor, which Linux reads."""
    with iso.open("rb") as file:
        file.seek(16 * 2048 + 40)
        return file.read(32).decode().rstrip()
