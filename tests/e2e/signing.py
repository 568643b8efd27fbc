"""Keys made on the spot, and what they sign."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONG_AGO = "20200101T000000"


class Keys:
    """A keyring of GnuPG: `right`, `other`, `expired`, `revoked`, `rsa` are keys, named by what becomes of them."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._exported: dict[str, bytes] = {}
        for name in ("right", "other"):
            self.make(name)
        self.make("expired", "1y", "--faked-system-time", LONG_AGO)
        self.make("old", "never", "--faked-system-time", LONG_AGO)
        self.make("rsa", kind="rsa2048")
        self.make("revoked")
        certificate = (home / f"openpgp-revocs.d/{self.fingerprint('revoked')}.rev").read_text()
        self.revocation = certificate.replace(":-----BEGIN", "-----BEGIN").encode()

    def gpg(self, *words: str | Path, input: bytes = b"") -> bytes:
        """Return what gpg prints."""
        command: list[str | Path] = ["gpg", "--homedir", self.home, "--batch", "--quiet", "--pinentry-mode", "loopback"]
        command += ["--passphrase", "", "--output", "-", *words]
        return subprocess.run(command, check=True, capture_output=True, input=input).stdout

    def make(self, name: str, expires: str = "never", *options: str, kind: str = "ed25519") -> None:
        self.gpg(*options, "--quick-gen-key", f"{name} <{name}@example.org>", kind, "sign", expires)

    def fingerprint(self, name: str) -> str:
        lines = self.gpg("--list-keys", "--with-colons", f"{name}@example.org").decode().splitlines()
        return next(line.split(":")[9] for line in lines if line.startswith("fpr:"))

    def public(self, *names: str) -> bytes:
        """Return armored public keys, a block for each, as a file of keys has them; `revoked` is revoked."""
        for name in names:
            self._exported[name] = self._exported.get(name) or self._public(name)
        return b"Keys of the tests\n" + b"\n".join([self._exported[name] for name in names])

    def _public(self, name: str) -> bytes:
        key = self.gpg("--armor", "--export", f"{name}@example.org")
        if name != "revoked":
            return key
        with gpg_home() as home:  # here it must go on signing
            words: list[str | Path] = ["gpg", "--homedir", home, "--batch", "--quiet"]
            for data in (key, self.revocation):
                subprocess.run([*words, "--import"], check=True, capture_output=True, input=data)
            return subprocess.run([*words, "--armor", "--export"], check=True, capture_output=True).stdout

    def sign(self, data: bytes, *names: str, armor: bool = True, options: tuple[str, ...] = ()) -> bytes:
        """Return a detached signature."""
        users = [word for name in names for word in ("--local-user", f"{name}@example.org")]
        return self.gpg(*users, *options, *(["--armor"] if armor else []), "--detach-sign", input=data)

    def clearsign(self, text: bytes, *names: str, options: tuple[str, ...] = ()) -> bytes:
        """Return a text with its signature."""
        users = [word for name in names for word in ("--local-user", f"{name}@example.org")]
        return self.gpg(*users, *options, "--clearsign", input=text)


@contextmanager
def gpg_home() -> Iterator[Path]:
    """A home of GnuPG with a path short enough for the socket of its agent, which ends with it."""
    home = Path(tempfile.mkdtemp(prefix="gpg-"))
    try:
        yield home
    finally:
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False, capture_output=True)
        shutil.rmtree(home, ignore_errors=True)


def path_without(directory: Path, path: str, *commands: str) -> str:
    """Return a PATH with all that is in another, but for these commands."""
    directory.mkdir()
    for place in map(Path, path.split(":")):
        for program in place.iterdir() if place.is_dir() else ():
            link = directory / program.name
            if program.name not in commands and not link.is_symlink() and os.access(program, os.X_OK):
                link.symlink_to(program)
    return str(directory)
