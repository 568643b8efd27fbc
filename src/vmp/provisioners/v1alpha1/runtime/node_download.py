"""Where the node downloads the image itself: this same file runs there, on facts of a machine with those volumes."""

from __future__ import annotations

import json
from typing import Any

from .facts import Vm
from .files import read_text
from .node import check_node_answer, send_to_node
from .say import moving_line
from .signature import armored_keys

_CHECK = 'python3 -I -S -c "import sys; sys.exit(sys.version_info < (3, 9))" 2>/dev/null || exit 127'
_TAKE = (
    'umask 077; mkdir -p "$cache/$1" && cd "$cache/$1" && python3 -I -S -c "'
    "import sys; data, a = sys.stdin.buffer.read(), sys.argv; n = int(a[1]); len(data) == int(a[2]) or sys.exit(1); "
    "open(a[3], a[5]).write(data[:n]); open(a[4], a[5]).write(data[n:])"
    '" "$2" "$3" provisioner.py vm.json wb || exit 126'
)
_RUN = (
    'export LANG="${LANG:-C.UTF-8}" V1ALPHA1_COMMAND_TIMEOUT_SECS="$4" VMP_PROGRESS="${5-}"; '
    "exec python3 -I -S provisioner.py create/volume </dev/null >&2"
)
_CLEAN = (
    'cd "$cache" 2>/dev/null || exit 0; '
    'if [ -e "$1/provisioner.py" ]; then ' + _CHECK + '; python3 -I -S "$1/provisioner.py" clean-all || exit; fi; '
    'rm -rf "$1" || exit; rmdir images 2>/dev/null; cd ..; rmdir vmp 2>/dev/null; exit 0'
)


def make_volumes_on_node(vm: Vm) -> None:
    """Have the node download the image, and make the volumes that are filled from it."""
    facts = json.dumps(facts_for_node(vm)).encode()
    program, timeout = read_text(__file__).encode(), str(vm.knobs.command_timeout)
    with moving_line.lent() as columns:
        code = make_there(vm, program, facts, timeout, str(columns))
    check_node_answer(vm, code, "did not make the volumes of the image")


def make_there(vm: Vm, program: bytes, facts: bytes, *words: str) -> int:
    """Run a program with facts on the node; return the exit code."""
    data = program + facts
    lengths = (str(len(program)), str(len(data)))
    return send_to_node(vm, f"{_CHECK}; {_TAKE}; {_RUN}", data, vm.domain.uuid, *lengths, *words)


def clean_node(vm: Vm) -> None:
    """Remove what was put on the node for this machine, its image file too."""
    code = send_to_node(vm, _CLEAN, b"", vm.domain.uuid)
    check_node_answer(vm, code, "could not remove what was put there for this VM")


def facts_for_node(vm: Vm) -> dict[str, Any]:
    """Return vm.json for the node. The name says in every message where it is done."""
    volumes = [{**volume, "byNode": False} for volume in vm.facts["volumes"] if volume.get("byNode")]
    place = _place(vm)
    for volume in volumes:
        if "member" in volume:
            volume["member"] = {**volume["member"], "path": place}
        else:
            volume["file"] = place
    pools = {volume["pool"] for volume in volumes}
    own = [pool for pool in vm.facts.get("pools", ()) if pool["name"] in pools]
    used = sorted(pools - {pool["name"] for pool in own})
    image = {**vm.facts["image"], "path": place}
    image.pop("pathOnNode")
    if vm.image.signature_url:
        signature = {**image["checksum"]["signature"], "keys": armored_keys(vm).decode("latin-1")}
        image["checksum"] = {**image["checksum"], "signature": signature}
    return {
        "format": vm.facts["format"],
        "name": f"{vm.name} on {vm.node}",
        "node": vm.node,
        "connection": {"uri": vm.facts["connection"]["uriOnNode"]},
        "domain": {"name": vm.domain.name, "uuid": vm.domain.uuid, "virtInstall": [], "usedPools": used},
        "image": image,
        "pools": own,
        "volumes": volumes,
    }


def _place(vm: Vm) -> str:
    """Return where the image is on the node, beside the machine's directory: machines of one image share the file."""
    import hashlib

    image = vm.image
    parts = [image.url, image.archive, image.member]
    parts += [image.algorithm, image.sum, image.sums_url] if image.algorithm else []
    if image.signature_url:  # who trusts other keys does not take what these were enough for
        parts += [image.signature_url, image.signature_of, armored_keys(vm).decode("latin-1")]
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    return f"../images/{digest}/{vm.image_on_node}"
