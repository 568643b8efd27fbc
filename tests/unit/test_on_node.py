"""What the node is told where it downloads the image: which libvirt, which image, in words that any shell reads."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from command_line import run

from vmp.schema import uri_on_node

LIB = Path(__file__).parent.parent.parent / "src/vmp/provisioners/v1alpha1/files/lib"


@pytest.mark.parametrize(
    ("uri", "there"),
    [
        ("qemu+ssh://host/system", "qemu:///system"),
        ("qemu+ssh://user@[::1]:2222/session?keyfile=/k&no_verify=1", "qemu:///session"),
        ("qemu+ssh://host/system?socket=/run/a%20b", "qemu+unix:///system?socket=/run/a%20b"),
        ("qemu+ssh://host/system?proxy=native;mode=direct&socket=/s", "qemu+unix:///system?mode=direct&socket=/s"),
        ("xen+ssh://host", "xen:///"),
        ("qemu:///system", ""),
        ("qemu+ssh:///system", ""),
        ("qemu+tcp://host/system", ""),
        ("qemu+libssh://host/system", ""),
    ],
)
def test_the_uri_on_the_node_is_that_of_the_same_libvirt(uri: str, there: str) -> None:
    assert uri_on_node(uri) == there


def registry(download: str | None, **tag: Any) -> dict[str, Any]:
    libvirt: dict[str, Any] = {"connection": {"uri": "qemu+ssh://root@host/system"}}
    if download:
        libvirt["imageDownload"] = download
    volumes = [
        {"name": "disk.img", "poolName": "default", "capacity": "1G", "uploadFile": {"path": ".images/disk.img"}},
        {"name": "own", "poolName": "default", "uploadFile": {"path": "own.img"}},
    ]
    return {
        "nodes": [{"name": "far", "libvirt": libvirt}],
        "images": [
            {
                "name": "guest",
                "tags": [{"pattern": "latest", "url": "https://host/a", "volumeName": "disk.img", **tag}],
            }
        ],
        "vms": [
            {
                "name": name,
                "provisioner": "v1alpha1",
                "nodeName": "far",
                "image": "guest",
                "libvirt": {"domain": {"name": name}, "volumes": volumes},
            }
            for name in ("a", "b")
        ],
    }


def generate(base: Path, download: str | None, **tag: Any) -> Path:
    outcome = run("gen", "--base-dir", str(base), stdin=json.dumps(registry(download, **tag)).encode())
    assert outcome.code == 0, outcome.errors
    return base


def sh(directory: Path, script: str, shell: str = "sh", **environment: str) -> bytes:
    done = subprocess.run(
        [shell, "-euc", script], cwd=directory, capture_output=True, env={"PATH": "/usr/bin:/bin", **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_that_the_client_downloads_need_not_be_said(tmp_path: Path) -> None:
    said, left_out = generate(tmp_path / "said", "client"), generate(tmp_path / "left out", None)
    files = sorted(path.relative_to(said) for path in said.rglob("*") if path.is_file())
    assert Path("a/on-node.sh") not in files
    assert all((said / path).read_bytes() == (left_out / path).read_bytes() for path in files)


@pytest.mark.parametrize("download", ["client", "node"])
def test_the_name_of_its_file_is_only_taken_where_there_is_one(download: str) -> None:
    text = json.dumps(registry(download)).replace("own.img", "on-node.sh")
    outcome = run("check", stdin=text.encode())
    assert ("'on-node.sh' is a file of the provisioner itself" in outcome.errors) == (download == "node")
    assert outcome.code == (1 if download == "node" else 0)


def test_the_definition_is_the_same_whoever_downloads(tmp_path: Path) -> None:
    script = ". ./vm.sh; . lib/definition.sh; print_definition"
    definitions = {sh(generate(tmp_path, download) / "a", script) for download in ("client", "node")}
    assert len(definitions) == 1 and b"upload\0.images/disk.img" in definitions.pop()


def test_the_file_on_the_node_goes_when_the_client_downloads_again(tmp_path: Path) -> None:
    assert (generate(tmp_path, "node") / "a/on-node.sh").exists()
    assert not (generate(tmp_path, "client") / "a/on-node.sh").exists()


def test_vms_share_the_file_on_the_node_only_where_all_that_is_said_of_the_image_is_the_same(tmp_path: Path) -> None:
    sums = [{"value": "0" * 64}, {"value": "1" * 64}, {"url": "https://host/sums"}]
    tags: list[dict[str, Any]] = [{}, {"url": "https://host/b"}, {"archive": {"type": "xz"}}]
    places: list[bytes] = []
    for tag in [*tags, *[{"checksum": checksum} for checksum in sums]]:
        base = generate(tmp_path, "node", **tag)
        found = {sh(base / vm, '. ./on-node.sh; printf "%s" "$image_path"') for vm in ("a", "b")}
        assert len(found) == 1
        places += found
    assert len(set(places)) == len(places)


SHELLS = [name for name in ("sh", "dash", "bash", "busybox", "zsh", "fish", "tcsh", "ksh") if shutil.which(name)]


@pytest.mark.parametrize("login_shell", SHELLS)
def test_any_login_shell_reads_what_the_node_is_told(login_shell: str, tmp_path: Path) -> None:
    """`ssh` gives the node one text, which the login shell of the user there reads first."""
    vm = generate(tmp_path / "vms", "node") / "a"
    (home := tmp_path / 'it\'s a "home" of $USER').mkdir()
    ssh = tmp_path / "ssh"
    words = f"{shutil.which(login_shell)} {'sh' if login_shell == 'busybox' else ''} -c"
    ssh.write_text(f'#!/bin/sh\nfor last; do :; done\nexec {words} "$last"\n')
    ssh.chmod(0o755)
    told = 'printf "%s\\n" "$1 ${V1ALPHA1_COMMAND_TIMEOUT_SECS-} ${PWD##*/}"; cat vm.sh\n'
    (vm / "lib/main.sh").write_text(f'cd -- "${{0%/*}}/.."\n{told}')
    library = "".join(f". {LIB}/{name}.sh; " for name in ("say", "command", "node"))
    facts = f". ./vm.sh; node_ssh_shared=; node_ssh_command={ssh}; V1ALPHA1_COMMAND_TIMEOUT_SECS=7; "
    script = f"nl=; {library}{facts} observe() {{ :; }}; check_pools() {{ :; }}; "
    uuid = sh(vm, '. ./vm.sh; printf "%s" "$domain_uuid"')
    facts_there = (vm / "on-node.sh").read_bytes()
    for _ in range(2):
        said = sh(vm, f"{script} make_volumes_on_node 2>&1", HOME=str(home))
        assert said == b"create/volume 7 " + uuid + b"\n" + facts_there
    assert [path.name for path in (home / ".cache/vmp").iterdir()] == [uuid.decode()]
    assert sh(vm, f"{script} clean_node 2>&1", HOME=str(home)) == b"clean-all  " + uuid + b"\n" + facts_there
    assert not (home / ".cache/vmp").exists()
