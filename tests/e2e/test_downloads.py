"""Downloads: whatever the server does, the image has its name only when it is whole, and a failure says why."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from archives import ARCHIVES, seven_zip
from server import Fault, Server
from world import ENVIRONMENT, Vm, generate

IMAGE = random.Random(1).randbytes(3_000_000)
OTHER = random.Random(2).randbytes(3_000_000)
PART = 1 << 20
STALL = "V1ALPHA1_COMMAND_TIMEOUT_SECS=10"  # a tenth of it without a byte is a stall


def sum_of(algorithm: str = "sha256", content: bytes = IMAGE) -> str:
    return hashlib.new(algorithm, content).hexdigest()


class Site:
    """A server with `image.img`, and VMs that want it."""

    def __init__(self, server: Server, base: Path) -> None:
        self.server = server
        self.base = base
        self.put("image.img", IMAGE)

    def put(self, name: str, content: bytes | str) -> None:
        path = self.server.directory / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def fault(self, fault: Fault, path: str = "/image.img") -> None:
        self.server.faults[path] = fault

    def gets(self, path: str = "/image.img") -> list[tuple[str | None, int]]:
        """What was asked for, and the answers: `Range` and status of each."""
        return [(request.range, request.status) for request in self.server.requests if request.path == path]

    def vm(self, *, url: str = "", checksum: dict[str, str] | None = None, archive: dict[str, str] | None = None) -> Vm:
        return self.vms("web", url=url, checksum=checksum, archive=archive)["web"]

    def vms(self, *names: str, url: str = "", **image: dict[str, str] | None) -> dict[str, Vm]:
        tag = {"pattern": "latest", "url": url or self.server.url("image.img"), "volumeName": "disk.img"}
        tag |= {key: value for key, value in image.items() if value}  # type: ignore[misc]
        volume = {"name": "disk.img", "poolName": "default", "uploadFile": {"path": "../images/disk.img"}}
        vm = {
            "provisioner": "v1alpha1",
            "nodeName": "localhost",
            "image": "guest",
            "libvirt": {"domain": {"name": "x"}, "volumes": [volume]},
        }
        registry = {
            "nodes": [{"name": "localhost", "libvirt": {"connection": {"uri": "qemu:///system"}}}],
            "images": [{"name": "guest", "tags": [tag]}],
            "vms": [{"name": name, **vm} for name in names],
        }
        return generate(json.dumps(registry), self.base)

    def kill_in_the_middle(self, vm: Vm, at: int, *, validators: bool = True) -> str:
        """Kill a run and all of its processes once so many bytes have come; return the range that is missing."""
        self.fault(Fault(stall_after=at, validators=validators))
        run = start(vm, "build")
        wait_until(lambda: part_size(vm) > at - 10_000)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        self.server.faults.clear()
        self.server.requests.clear()
        return f"bytes={part_size(vm)}-"

    def build(self, vm: Vm, *knobs: str, right: bytes = IMAGE) -> subprocess.CompletedProcess[str]:
        """Build the image: it is there and right, or it failed and nothing is there; at no time anything else."""
        with Watch(vm.directory.parent / "images/disk.img", right) as watch:
            done = vm.make("build", *knobs, check=False)
        assert watch.wrong is None
        assert watch.path.exists() == (done.returncode == 0), done.stderr
        if done.returncode == 0:
            assert watch.path.read_bytes() == right
            assert {path.name for path in watch.path.parent.iterdir()} <= {"disk.img", "disk.img.lock"}
        return done

    def refused(self, vm: Vm, *knobs: str) -> str:
        """Return what is said when the image cannot be built."""
        done = self.build(vm, *knobs)
        assert done.returncode != 0
        return done.stderr


def parts(vm: Vm) -> list[Path]:
    """Return what has come so far."""
    found = (vm.directory.parent / "images").glob("disk.img.*.part")
    return [path for path in found if "headers" not in path.name]


def part_size(vm: Vm) -> int:
    """Return how much of it is on the disk; curl keeps the last page for a while."""
    return max((path.stat().st_size for path in parts(vm)), default=0)


def start(vm: Vm, *arguments: str) -> subprocess.Popen[str]:
    """Run targets in a process group of their own."""
    return subprocess.Popen(
        vm.command(*arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        env=ENVIRONMENT,
        start_new_session=True,
    )


def wait_until(true: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Watch:
    """Looks at a path all the time: is there ever something else than the right content?"""

    def __init__(self, path: Path, right: bytes) -> None:
        self.path = path
        self.right = right
        self.wrong: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        seen = None
        while not self._stop.wait(0.002):
            try:
                facts = self.path.stat()
                if (facts.st_ino, facts.st_size, facts.st_mtime_ns) == seen:
                    continue
                content = self.path.read_bytes()
            except FileNotFoundError:
                continue
            seen = (facts.st_ino, facts.st_size, facts.st_mtime_ns)
            if content != self.right:
                self.wrong = f"{len(content)} bytes that are not those of the image"


@pytest.fixture
def site(tmp_path: Path, base: Path) -> Iterator[Site]:
    (tmp_path / "served").mkdir()
    with Server(tmp_path / "served") as server:
        yield Site(server, base)


@pytest.fixture(scope="module", autouse=True)
def slow_failures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[str, subprocess.Popen[str]]]]:
    """Downloads that take their time to fail, begun while the other tests run: their URL and process."""
    base = tmp_path_factory.mktemp("slow")
    (base / "served").mkdir()
    with Server(base / "served") as server:
        urls = {"stall": server.url("image.img"), "host": "http://images.invalid/image.img"}
        runs = {}
        for name, url in urls.items():
            site = Site(server, base / name)
            site.fault(Fault(stall_after=1000))
            runs[name] = (url, start(site.vm(url=url), "build", STALL))
        yield runs
        for _, run in runs.values():
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
            run.wait()


@pytest.mark.parametrize("status", [404, 403])
def test_an_answer_that_will_not_change_fails_at_once_with_url_and_status(site: Site, status: int) -> None:
    site.fault(Fault(status=status))
    said = site.refused(site.vm())
    assert site.server.url("image.img") in said and str(status) in said
    assert len(site.gets()) == 1


def test_an_answer_that_may_change_is_asked_for_again(site: Site) -> None:
    site.fault(Fault(status=500, times=1))
    site.build(site.vm()).check_returncode()
    assert site.gets() == [(None, 500), (None, 200)]


def test_a_download_that_is_cut_off_is_gone_on_with(site: Site) -> None:
    site.fault(Fault(cut_after=2_000_000, times=1))
    site.build(site.vm()).check_returncode()
    assert site.gets() == [(None, 200), ("bytes=2000000-", 206)]


def test_a_download_goes_on_as_long_as_more_comes(site: Site) -> None:
    site.put("image.img", big := IMAGE * 4)
    site.fault(Fault(cut_after=1_500_000))
    done = site.build(site.vm(checksum={"value": sum_of(content=big)}), right=big)
    done.check_returncode()
    assert len(site.gets()) == 8


def test_a_download_that_is_always_cut_at_once_fails_and_the_next_run_goes_on(site: Site) -> None:
    site.fault(Fault(cut_after=100_000))
    vm = site.vm()
    said = site.refused(vm)
    assert site.server.url("image.img") in said and "the next run goes on from there" in said
    site.server.faults.clear()
    again = site.build(vm)
    assert "going on with the download" in again.stderr
    assert site.gets()[-1] == ("bytes=400000-", 206)


def test_a_download_that_stalls_once_is_gone_on_with(site: Site) -> None:
    site.fault(Fault(stall_after=PART, times=1))
    site.build(site.vm(), STALL).check_returncode()


def test_the_next_run_goes_on_where_a_killed_one_was(site: Site) -> None:
    vm = site.vm()
    rest = site.kill_in_the_middle(vm, PART)
    again = site.build(vm)
    assert "going on with the download" in again.stderr
    assert site.gets() == [(rest, 206)]


@pytest.mark.parametrize("size", [3_000_000, 3_500_000, PART, 500_000], ids="same longer as-the-part shorter".split())
@pytest.mark.parametrize(
    "server", [Fault(), Fault(ranges=False), Fault(validators=False)], ids="full plain old".split()
)
def test_a_file_that_changed_on_the_server_meanwhile_is_not_mixed_with_the_old_one(
    site: Site, server: Fault, size: int
) -> None:
    vm = site.vm()
    site.kill_in_the_middle(vm, PART, validators=server.validators)
    site.put("image.img", new := random.Random(3).randbytes(size))
    site.fault(server)
    site.build(vm, right=new).check_returncode()


def test_a_file_that_changes_between_two_tries_of_one_run_is_not_mixed(site: Site) -> None:
    vm = site.vm()
    site.fault(Fault(stall_after=PART, times=1))
    with Watch(vm.directory.parent / "images/disk.img", OTHER) as watch:
        run = start(vm, "build", STALL)
        wait_until(lambda: part_size(vm) > PART - 10_000)
        site.put("image.img", OTHER)
        _, said = run.communicate(timeout=60)
    assert run.returncode == 0, said
    assert watch.wrong is None and watch.path.read_bytes() == OTHER


def test_with_a_checksum_a_part_is_gone_on_with_even_when_the_server_names_no_version(site: Site) -> None:
    vm = site.vm(checksum={"value": sum_of()})
    rest = site.kill_in_the_middle(vm, PART, validators=False)
    site.fault(Fault(validators=False))
    site.build(vm).check_returncode()
    assert site.gets() == [(rest, 206)]
    clean(vm)
    rest = site.kill_in_the_middle(vm, PART)
    part = parts(vm)[0]
    part.write_bytes(OTHER[: part.stat().st_size])
    again = site.build(vm)
    assert "starting the download over: sha256 expected" in again.stderr
    assert site.gets() == [(rest, 206), (None, 200)]


def test_a_server_that_ignores_ranges_is_asked_for_the_whole_file_again(site: Site) -> None:
    vm = site.vm()
    rest = site.kill_in_the_middle(vm, PART)
    site.fault(Fault(ranges=False))
    again = site.build(vm)
    assert "starting the download over" in again.stderr
    assert site.gets() == [(rest, 200), (None, 200)]


def test_a_redirect_is_followed(site: Site) -> None:
    site.fault(Fault(redirect=site.server.url("image.img")), "/latest")
    site.build(site.vm(url=site.server.url("latest"))).check_returncode()


def test_a_part_is_gone_on_with_behind_a_redirect(site: Site) -> None:
    site.fault(redirect := Fault(redirect=site.server.url("image.img")), "/latest")
    vm = site.vm(url=site.server.url("latest"))
    site.fault(Fault(cut_after=PART, times=1))
    site.build(vm).check_returncode()
    assert site.server.faults["/latest"] == redirect
    assert site.gets() == [(None, 200), ("bytes=1048576-", 206)]


@pytest.mark.parametrize(("target", "reason"), [("missing", "404"), ("latest", "redirect")])
def test_a_redirect_to_nothing_fails(site: Site, target: str, reason: str) -> None:
    site.fault(Fault(redirect=site.server.url(target)), "/latest")
    said = site.refused(site.vm(url=site.server.url("latest")))
    assert site.server.url("latest") in said and reason in said


def test_a_redirect_to_a_local_file_is_refused(site: Site) -> None:
    site.fault(Fault(redirect="file:///etc/passwd"), "/latest")
    assert "file" in site.refused(site.vm(url=site.server.url("latest")))


def test_an_empty_file_is_no_image(site: Site) -> None:
    site.put("image.img", "")
    said = site.refused(site.vm())
    assert site.server.url("image.img") in said and "empty" in said


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "sha1", "md5"])
def test_what_has_another_checksum_is_refused_with_url_expected_and_actual(site: Site, algorithm: str) -> None:
    site.put("image.img", page := b"<html>Please log in</html>")
    said = site.refused(site.vm(checksum={"algorithm": algorithm, "value": sum_of(algorithm).upper()}))
    assert site.server.url("image.img") in said
    assert f"{algorithm} expected {sum_of(algorithm)}, actual {sum_of(algorithm, page)}" in said
    assert not parts(next_vm(site))
    site.put("image.img", IMAGE)
    site.build(next_vm(site)).check_returncode()


def test_a_cut_that_looks_like_the_end_is_found_out_by_the_checksum(site: Site) -> None:
    site.fault(Fault(cut_after=PART, content_length=False, times=1))
    vm = site.vm(checksum={"value": sum_of()})
    assert sum_of(content=IMAGE[:PART]) in site.refused(vm)
    site.build(vm).check_returncode()


def next_vm(site: Site) -> Vm:
    return Vm(next(site.base.rglob("vm.json")).parent)


def clean(vm: Vm) -> None:
    vm.make("clean-all")
    assert not (vm.directory.parent / "images").exists()


def test_a_server_that_is_not_there_is_named(site: Site) -> None:
    said = site.refused(site.vm(url="http://127.0.0.1:9/image.img"))
    assert "http://127.0.0.1:9/image.img" in said and "connect" in said


def test_a_missing_local_file_is_named(site: Site) -> None:
    said = site.refused(site.vm(url=f"file://{site.base}/missing.img".replace(" ", "%20")))
    assert "missing.img" in said


def test_a_local_file_is_an_image_and_a_part_of_it_is_not_gone_on_with(site: Site) -> None:
    vm = site.vm(url=f"file://{site.server.directory}/image.img")
    site.build(vm).check_returncode()


def test_a_certificate_that_nobody_vouches_for_is_refused(site: Site, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Server(site.server.directory, tls=context) as server:
        vm = site.vm(url=server.url("image.img"))
        assert "certificate" in site.refused(vm)
        done = vm.make("build", environment={"CURL_CA_BUNDLE": str(certificate)})
        assert "downloaded" in done.stderr


@pytest.mark.parametrize("name", ["a+b~c.img", "50% [1] {x}.img", "it's;$HOME`id`&x=*.img", "Ünï 🐧.img", "a#b?c.img"])
def test_a_url_reaches_the_server_as_it_is_written(site: Site, name: str) -> None:
    site.put(name, IMAGE)
    url = site.server.url(name)
    vm = site.vm(url=url + "?token=a%26b&x=$HOME;'y'[1]*")
    site.build(vm).check_returncode()
    request = site.server.requests[-1]
    assert (request.path, request.query) == (f"/{name}", "token=a%26b&x=$HOME;'y'[1]*")


SHA256, SHA512, SHA1, MD5 = (sum_of(algorithm) for algorithm in ("sha256", "sha512", "sha1", "md5"))
WRONG = sum_of(content=OTHER)
SUMS = {
    "GNU text": ("sha256", f"{WRONG}  other.img\n{SHA256}  image.img\n"),
    "GNU binary": ("sha256", f"{WRONG} *other.img\n{SHA256} *image.img\n"),
    "GNU with ./": ("sha256", f"{WRONG}  ./other.img\n{SHA256}  ./image.img\n"),
    "GNU in upper case": ("sha256", f"{SHA256.upper()}  image.img\n"),
    "GNU with CRLF": ("sha256", f"{WRONG}  other.img\r\n{SHA256}  image.img\r\n"),
    "GNU without a last newline": ("sha256", f"{SHA256}  image.img"),
    "sha512": ("sha512", f"{SHA512}  image.img\n"),
    "sha1": ("sha1", f"{SHA1}  image.img\n"),
    "md5": ("md5", f"{MD5}  image.img\n"),
    "several algorithms in one file": ("sha512", f"{MD5}  image.img\n{SHA256}  image.img\n{SHA512}  image.img\n"),
    "BSD": ("sha256", f"MD5 (image.img) = {MD5}\nSHA256 (other.img) = {WRONG}\nSHA256 (image.img) = {SHA256}\n"),
    "BSD with ./": ("sha256", f"SHA256 (./image.img) = {SHA256}\n"),
    "OpenSSL": ("sha256", f"SHA256(other.img)= {WRONG}\nSHA256(image.img)= {SHA256}\n"),
    "OpenSSL 3": ("sha256", f"SHA2-256(other.img)= {WRONG}\nSHA2-256(image.img)= {SHA256}\n"),
    "OpenSSL sha512": ("sha512", f"SHA2-512(image.img)= {SHA512}\n"),
    "bare": ("sha256", f"{SHA256}\n"),
    "bare with CRLF": ("sha256", f"{SHA256}\r\n"),
    "bare in upper case with a comment": ("sha256", f"# made by hand\n{SHA256.upper()}\n"),
    "signed in clear": (
        "sha256",
        f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n# image.img: 3000000 bytes\n"
        f"SHA256 (image.img) = {SHA256}\n-----BEGIN PGP SIGNATURE-----\n\niQEz\n=abcd\n-----END PGP SIGNATURE-----\n",
    ),
    "names that begin or end alike": (
        "sha256",
        f"{WRONG}  image.img.sig\n{WRONG}  my-image.img\n{WRONG}  old/image.img\n{WRONG}  image_img\n"
        f"{WRONG}  image.img image.img\n{SHA256}  image.img\n{WRONG}  image.img~\n",
    ),
    "BSD names that begin or end alike": (
        "sha256",
        f"SHA256 (image.img) = {SHA256[:-1]}\nSHA256 (image.img.sig) = {WRONG}\nSHA256 (my-image.img) = {WRONG}\n"
        f"SHA256 (image.img) = x) = {WRONG}\nSHA256 (image.img) = {SHA256}\n",
    ),
}


def test_sums_files_of_every_form_are_understood(site: Site) -> None:
    """One VM for all of them: the image is checked anew each time that it is built."""
    for algorithm in ("sha256", "sha512", "sha1", "md5"):
        vm = site.vm(checksum={"algorithm": algorithm, "url": site.server.url("SUMS")})
        for form, (wanted, text) in SUMS.items():
            if wanted == algorithm:
                site.put("SUMS", text)
                done = site.build(vm)
                assert done.returncode == 0, f"{form}: {done.stderr}"
                clean(vm)
    site.put("image.img", OTHER)
    vm = site.vm(checksum={"url": site.server.url("SUMS")})
    for form, (wanted, text) in SUMS.items():
        if wanted == "sha256":
            site.put("SUMS", text)
            assert f"expected {SHA256}, actual {WRONG}" in site.refused(vm), form


NO_SUMS = {
    "no line for the name": f"{WRONG}  other.img\n",
    "only names that are alike": f"{SHA256}  image.img.sig\n{SHA256}  my-image.img\n{SHA256}  x/image.img\n",
    "a name in another case": f"{SHA256}  IMAGE.IMG\n",
    "another algorithm": f"{SHA512}  image.img\n{MD5}  image.img\nMD5 (image.img) = {MD5}\n",
    "two bare sums": f"{SHA256}\n{WRONG}\n",
    "a sum that is cut off": f"{SHA256[:-1]}  image.img\n",
    "nothing": "",
    "a page": "<html>image.img</html>\n",
}


def test_a_sums_file_without_the_name_is_refused_before_anything_is_downloaded(site: Site) -> None:
    vm = site.vm(checksum={"url": site.server.url("SUMS")})
    for form, text in NO_SUMS.items():
        site.put("SUMS", text)
        said = site.refused(vm)
        assert f"{site.server.url('SUMS')} has no sha256 sum of 'image.img'" in said, form
    assert site.gets() == []


def test_a_sums_file_that_cannot_be_had_is_named(site: Site) -> None:
    vm = site.vm(checksum={"url": site.server.url("SUMS")})
    said = site.refused(vm)
    assert site.server.url("SUMS") in said and "404" in said
    site.put("SUMS", f"{SHA256}  image.img\n")
    site.fault(Fault(stall_after=10), "/SUMS")
    begin = time.monotonic()
    assert site.server.url("SUMS") in site.refused(vm, STALL)
    assert time.monotonic() - begin < 60
    assert site.gets() == []


KINDS = list(ARCHIVES)


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_is_unpacked_or_refused_when_it_is_not_whole(site: Site, kind: str) -> None:
    pack, other = ARCHIVES[kind].pack, ARCHIVES[KINDS[KINDS.index(kind) - 1]].pack
    whole = pack(IMAGE)
    site.put("image", whole)
    url = site.server.url("image")
    vm = site.vm(url=url, archive={"type": kind}, checksum={"value": sum_of(content=whole)})
    site.build(vm).check_returncode()
    clean(vm)
    vm = site.vm(url=url, archive={"type": kind})
    for content in (whole[:-20], whole[: len(whole) // 2], IMAGE, other(IMAGE)):
        site.put("image", content)
        said = site.refused(vm)
        assert url in said and kind in said
        assert not parts(vm)
    site.put("image", pack(b""))
    assert url in site.refused(vm)
    site.put("image", whole)
    site.build(vm).check_returncode()


def test_of_a_7z_archive_with_several_files_one_has_to_be_named(site: Site) -> None:
    content = seven_zip({"disk of it's.raw": IMAGE, "readme.txt": b"read me", "-o.txt": OTHER, "@list": OTHER})
    site.put("image.7z", content)
    url = site.server.url("image.7z")
    said = site.refused(site.vm(url=url, archive={"type": "7z"}))
    assert "more than one file" in said and "disk of it's.raw" in said and "readme.txt" in said
    said = site.refused(site.vm(url=url, archive={"type": "7z", "path": "disk.raw"}))
    assert "no 'disk.raw'" in said and "disk of it's.raw" in said
    assert len(site.gets("/image.7z")) == 1, "what was downloaded is whole, and stays"
    site.build(site.vm(url=url, archive={"type": "7z", "path": "disk of it's.raw"})).check_returncode()


def test_two_vms_that_share_an_image_download_it_once(site: Site) -> None:
    vms = site.vms("a", "b", "c")
    site.fault(Fault(bytes_per_second=2_000_000))
    with Watch(vms["a"].directory.parent / "images/disk.img", IMAGE) as watch:
        runs = [start(vm, "build") for vm in vms.values()]
        said = [run.communicate(timeout=60)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], said
    assert watch.wrong is None
    assert site.gets() == [(None, 200)]
    assert sum("waiting for another run that downloads" in words for words in said) == 2


def test_when_the_one_that_downloads_is_killed_the_other_goes_on_from_there(site: Site) -> None:
    vms = site.vms("a", "b")
    site.fault(Fault(stall_after=PART, times=1))
    with Watch(vms["a"].directory.parent / "images/disk.img", IMAGE) as watch:
        first = start(vms["a"], "build")
        wait_until(lambda: part_size(vms["a"]) > PART - 10_000)
        second = start(vms["b"], "build")
        assert second.stderr and "waiting for another run" in second.stderr.readline()
        os.killpg(first.pid, signal.SIGKILL)
        _, said = second.communicate(timeout=60)
        first.communicate()
    assert second.returncode == 0, said
    assert watch.wrong is None and watch.path.read_bytes() == IMAGE
    assert [status for _, status in site.gets()] == [200, 206]


@pytest.mark.parametrize(("case", "reason"), [("stall", "exit code 28"), ("host", "resolve")])
def test_what_takes_its_time_to_fail_is_bounded(
    slow_failures: dict[str, tuple[str, subprocess.Popen[str]]], case: str, reason: str
) -> None:
    url, run = slow_failures[case]
    _, said = run.communicate(timeout=60)
    assert run.returncode != 0
    assert url in said and reason in said
