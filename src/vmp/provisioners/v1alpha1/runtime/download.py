"""One download: by curl, going on where an earlier one ended; checked, unpacked, and only then given its name."""

from __future__ import annotations

import os
import re
import time
from functools import partial

from .facts import Vm
from .files import remove, size_of
from .programs import Ended, run_program
from .progress import Progress, reading
from .say import Problem
from .signature import check_form, signed_sums, wrong_signature_of_image
from .unpacking import unpack

_CUT_OFF = (18, 28, 52, 55, 56, 92)
"""curl's exit codes for a connection that broke: what came stays, and the next try goes on from there."""

_MOST_MIB = {"the signature": 1, "the checksums": 16}
"""The largest files of each kind in MiB: they are read into memory, and taken apart there."""


class Download:
    """One download, from the first byte to the unpacked file."""

    def __init__(self, vm: Vm, path: str, part: str) -> None:
        self.vm = vm
        self.image = vm.image
        self.path = path
        self.name = os.path.basename(path)
        self.part = part
        self.headers = f"{part}.headers.part"
        self.stall = (vm.knobs.command_timeout + 9) // 10 or 60
        """How many seconds may pass without a byte."""
        self.sum = self.source = ""
        """The sum that it must have, and the file that says so."""
        self.signature = b""

    def make(self) -> None:
        """Download, check and unpack."""
        if self.image.signature_url:
            self.signature = self._fetch(self.image.signature_url, "the signature")
            if self.image.signature_of == "image":
                check_form(self.vm, self.signature)
        self.sum = self._expected_sum()
        url = self.image.url
        self.vm.say(f"going on with the download of {url}" if size_of(self.part) else f"downloading {url}")
        while not self._is_whole():
            resumed = self._download()
            wrong = self._wrong()
            if not wrong:
                break
            remove(self.part, self.headers)
            if not resumed:
                raise Problem(f"{url} is not what it should be", *wrong)
            self.vm.say(f"starting the download over: {wrong[0]}")
        self._unpack()

    def _wrong(self) -> list[str]:
        """Return what is wrong with the part, and what to do; nothing where sum and signature are right."""
        if wrong := self._wrong_sum():
            return [wrong, "what came is removed; if the image was replaced there, the registry needs its new checksum"]
        if self.image.signature_of != "image":
            return []
        wrong_signature = wrong_signature_of_image(self.vm, self.part, self.signature, self.part)
        return [*wrong_signature, "what came is removed"] if wrong_signature else []

    def _is_whole(self) -> bool:
        """Tell whether an earlier run was stopped after the download."""
        size = size_of(self.part)
        if not size or not (self.sum or self._read_headers()[1] == str(size)):
            return False
        return not self._wrong()

    def _download(self) -> bool:
        """Download, going on where the part ends; return whether it did. It tries again as long as more comes."""
        tries = most = 0
        while True:
            validator = self._validator()
            resumed = size_of(self.part) > 0 and bool(self.sum or validator)
            if not resumed:
                remove(self.part)
            with Progress(self.vm, f"downloading {self.name}", total=self._length, done=partial(size_of, self.part)):
                ended = self._curl(resumed, validator)
            output, _, status = ended.output.rpartition("\n")
            problem = f"{(ended.errors + output).strip() or f'HTTP status {status}'} (exit code {ended.code} of curl)"
            if ended.code == 0 and (not resumed or status in ("206", "000")):  # 000: no HTTP
                if not size_of(self.part):
                    raise Problem(f"could not download {self.image.url}", "the server sent an empty file")
                return resumed
            if resumed and (ended.code in (0, 33, 36) or (ended.code, status) == (22, "416")):
                self.vm.say("starting the download over: the file has changed there, or the server sends it whole only")
                remove(self.part)
                continue
            hint = f"see whether the disk is full: df {os.path.dirname(self.path)}" if ended.code == 23 else ""
            if ended.code not in _CUT_OFF:
                raise Problem(f"could not download {self.image.url}", problem, hint)
            size = size_of(self.part)
            if size >= most + 1048576:
                tries, most = 0, size
            tries += 1
            if tries == 4:
                hint = "what came is kept; the next run goes on from there"
                raise Problem(f"could not download {self.image.url}", problem, hint)
            time.sleep(tries - 1)

    def _curl(self, resumed: bool, validator: str) -> Ended:
        words = ["curl", "--silent", "--show-error", "--fail", "--location", "--globoff", "--retry", "3"]
        words += ["--retry-max-time", str(self.stall), "--connect-timeout", "30"]
        words += ["--speed-limit", "1", "--speed-time", str(self.stall)]
        words += ["--output", self.part, "--write-out", "\n%{http_code}", "--url", self.image.url]
        if resumed:
            words += ["--continue-at", "-", *(["--header", f"If-Range: {validator}"] if validator else [])]
        else:
            words += ["--dump-header", self.headers]
        return run_program(words)

    def _length(self) -> int:
        """Return how many bytes the whole file has, as far as the server has said it."""
        length = self._read_headers()[1]
        return int(length) if length.isdecimal() else 0

    def _validator(self) -> str:
        """Return the version that the server named when the part was begun, for If-Range; '' where a sum will tell."""
        if self.sum or not self.image.url.lower().startswith("http"):
            return ""
        return self._read_headers()[0]

    def _read_headers(self) -> tuple[str, str]:
        """Return the version and the length that the answer to the first request named."""
        etag = modified = length = ""
        try:
            with open(self.headers, encoding="latin-1") as file:
                for line in file:
                    name, _, value = line.rstrip("\r\n").partition(":")
                    value = value.strip(" \t")
                    if name.startswith("HTTP/"):
                        etag = modified = length = ""
                    elif name.lower() == "etag" and value.startswith('"'):
                        etag = value
                    elif name.lower() == "last-modified":
                        modified = value
                    elif name.lower() == "content-length":
                        length = value
        except OSError:
            pass
        return etag or modified, length

    def _expected_sum(self) -> str:
        image = self.image
        if not image.sums_url:
            return image.sum
        if image.signature_of == "sums":
            text, self.source = signed_sums(self.vm, self.signature, self._fetch, self.part)
        else:
            text = self._fetch(image.sums_url, "the checksums").decode(errors="surrogateescape")
            self.source = image.sums_url
        name = re.split("[?#]", image.url)[0].rpartition("/")[2]
        found = find_sum(text, name, image.algorithm)
        if not found:
            raise Problem(f"{self.source} has no {image.algorithm} sum of '{name}'")
        return found.lower()

    def _fetch(self, url: str, what: str) -> bytes:
        """Return a small file; a larger one than any of its kind is refused."""
        most = _MOST_MIB["the checksums" if url == self.image.sums_url else what]
        words = ["curl", "--silent", "--show-error", "--fail", "--location", "--globoff", "--retry", "3"]
        words += ["--retry-max-time", str(self.stall), "--connect-timeout", "30", "--max-filesize", str(most << 20)]
        ended = run_program([*words, "--max-time", str(self.stall * 2), "--url", url])
        content = ended.output.encode(errors="surrogateescape")
        if ended.code == 63 or len(content) > most << 20:  # curl 7.88 counts only what the server has announced
            hint = "see whether the URL in the registry is right"
            raise Problem(f"could not download {what} {url}", f"it is larger than {most} MiB", hint)
        if ended.code:
            raise Problem(f"could not download {what} {url}", ended.errors)
        return content

    def _wrong_sum(self) -> str:
        """Return what is wrong with the sum of the part, or ''."""
        if not self.sum:
            return ""
        import hashlib

        digest = hashlib.new(self.image.algorithm)
        with open(self.part, "rb") as file, reading(self.vm, f"checking {self.name}", file.fileno()):
            while data := file.read(1 << 20):
                digest.update(data)
        if digest.hexdigest() == self.sum:
            return ""
        source = f" (from {self.source})" if self.source else ""
        return f"{self.image.algorithm} expected {self.sum}, actual {digest.hexdigest()}{source}"

    def _unpack(self) -> None:
        kind, whole = self.image.archive, f"{self.path}.tmp"
        if not kind:
            os.replace(self.part, self.path)
            remove(self.headers)
            return
        code = unpack(self.vm, self.part, whole)
        if code or not size_of(whole):
            remove(whole, *([] if code and self.sum else [self.part]))  # with the right sum it need not come again
            if code:
                hint = f"the file is no whole {kind} archive, or the disk is full"
                raise Problem(f"could not unpack {self.image.url}", hint)
            raise Problem(f"the archive {self.image.url} holds an empty file")
        os.replace(whole, self.path)
        remove(self.part, self.headers)


def find_sum(text: str, name: str, algorithm: str) -> str:
    """Return the sum of a file in a sums file: GNU, BSD, bare or clearsigned; '' where there is none."""
    digits = {"sha512": 128, "sha256": 64, "sha1": 40, "md5": 32}[algorithm]
    bare = []
    for line in text.replace("\r", "").split("\n"):
        gnu = re.fullmatch(rf"\s*([0-9A-Fa-f]{{{digits}}})(?:[ \t]+\*?(?:\./)?(.*?))?", line)
        bsd = re.fullmatch(rf"(?:SHA2-|SHA)?(\w+) ?\((?:\./)?(.*)\) ?= ?([0-9A-Fa-f]{{{digits}}}) *", line)
        if gnu and gnu[2] == name:
            return gnu[1]
        if gnu and not gnu[2]:
            bare.append(gnu[1])
        if bsd and bsd[2] == name and bsd[1].lower() == algorithm.replace("sha", ""):
            return bsd[3]
    return bare[0] if len(bare) == 1 else ""
