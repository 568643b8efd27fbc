"""A plan to the files of its directory. A pure function: same plan, same bytes."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Mapping

from vmp.document import to_json, to_yaml
from vmp.nodes import Plain
from vmp.provisioners.v1alpha1.drive_files import CLOUD_CONFIG, drive_files
from vmp.provisioners.v1alpha1.plan import Plan
from vmp.provisioners.v1alpha1.runtime.facts import IMAGE_KEYS, MEMBER_SUMS, MEMBERS, SECRETS, SSH_PASSWORD, VM_JSON
from vmp.provisioners.v1alpha1.static import static_files
from vmp.provisioners.v1alpha1.virt_install import has_secret, virt_install_arguments
from vmp.provisioners.v1alpha1.vm_json import image_path, installing_plan, vm_json
from vmp.tree import File, Tree, with_manifest

SECRET = 0o600

_COVERED = re.compile(r"\.images/.*|[^/]*\.(img|iso|qcow2|sum)")
"""Paths that the static lines of .gitignore cover."""

_SPECIAL = re.compile(r"[\\*?\[]| $")
"""What .gitignore takes for a pattern, or cuts off."""


def render(plan: Plan) -> Tree:
    """Return the files of one VM's directory."""
    files = dict(static_files())
    if unwanted := _unwanted(plan):
        ignored = files[".gitignore"]
        files[".gitignore"] = File(ignored.content + unwanted.encode(), ignored.mode)
    words = virt_install_arguments(plan)
    installing = virt_install_arguments(installing_plan(plan), words.secrets) if plan.install else None
    secret = any(has_secret(domain) for domain in (plan.domain, plan.install) if domain)
    files[VM_JSON] = File(to_json(vm_json(plan, words, installing)).encode(), SECRET if secret else 0o644)
    if secrets := {**words.secrets, **(installing.secrets if installing else {})}:
        files[SECRETS] = File(to_json(secrets).encode(), SECRET)
    if plan.ssh and plan.ssh.password:
        files[SSH_PASSWORD] = File(plan.ssh.password.encode(), SECRET)
    if plan.image.checksum and plan.image.checksum.signature:
        files[IMAGE_KEYS] = File(plan.image.checksum.signature.keys)
    if plan.seed:
        for name, content in _seed_documents(plan.seed.documents).items():
            files[f"{plan.seed.path}.d/{name}"] = File(content, SECRET)
    for drive in plan.drives:
        for name, content in drive_files(drive).items():
            files[f"{drive.path}.d/{name}"] = File(content, SECRET)
    return with_manifest(files)


def _seed_documents(documents: Mapping[str, Plain]) -> dict[str, bytes]:
    """Return the documents of the seed by name. `instance-id: auto` is an id of what all of them say."""
    written = {name: _document(name, document) for name, document in documents.items()}
    meta_data = documents.get("meta-data")
    if isinstance(meta_data, dict) and meta_data.get("instance-id") == "auto":
        digest = hashlib.sha256(
            b"\0".join([part for name in sorted(written) for part in (name.encode(), written[name])])
        )
        named = {**meta_data, "instance-id": f"iid-{digest.hexdigest()[:16]}"}
        written["meta-data"] = _document("meta-data", named)
    return written


def _document(name: str, document: Plain) -> bytes:
    """Return a document of the seed: a string byte for byte, a mapping as YAML below its header."""
    header = "#cloud-config\n" if name in CLOUD_CONFIG else ""
    return (document if isinstance(document, str) else header + to_yaml(document)).encode()


def _unwanted(plan: Plan) -> str:
    """Return lines for .gitignore: what the targets make at places that the static lines do not cover."""
    image = "" if plan.node.downloads else image_path(plan)
    drives = [*([plan.seed.path] if plan.seed else []), *[drive.path for drive in plan.drives]]
    paths = [image, *[path for drive in drives for path in (drive, f"{drive}.sum")]]
    paths += [f"{MEMBERS}/", f"{MEMBER_SUMS}/"] if any(volume.member for volume in plan.volumes) else []
    paths = [posixpath.normpath(path) for path in paths if path]
    inside = [path for path in dict.fromkeys(paths) if not path.startswith(("/", "../"))]
    return "".join([f"/{_SPECIAL.sub(_escaped, path)}\n" for path in inside if not _COVERED.fullmatch(path)])


def _escaped(match: re.Match[str]) -> str:
    return f"\\{match.group()}"
