"""A configuration to the files of its directory. A pure function: same configuration, same bytes."""

from __future__ import annotations

import posixpath
import re

from vmp.configuration import Configuration
from vmp.document import to_json, to_yaml
from vmp.nodes import Plain
from vmp.provisioners.v1alpha1.plan import image_path, node_downloads, plan
from vmp.provisioners.v1alpha1.runtime.facts import SECRETS, SSH_PASSWORD, VM_JSON
from vmp.provisioners.v1alpha1.static import static_files
from vmp.provisioners.v1alpha1.virt_install import has_secret, virt_install_arguments
from vmp.tree import File, Tree, with_manifest

SECRET = 0o600

_COVERED = re.compile(r"\.images/.*|[^/]*\.(img|iso|qcow2|sum)")
"""Paths that the static lines of .gitignore cover."""

_SPECIAL = re.compile(r"[\\*?\[]| $")
"""What .gitignore takes for a pattern, or cuts off."""


def render(configuration: Configuration) -> Tree:
    """Return the files of one VM's directory."""
    files = dict(static_files())
    if unwanted := _unwanted(configuration):
        ignored = files[".gitignore"]
        files[".gitignore"] = File(ignored.content + unwanted.encode(), ignored.mode)
    words = virt_install_arguments(configuration)
    mode = SECRET if has_secret(configuration.vm) else 0o644
    files[VM_JSON] = File(to_json(plan(configuration, words)).encode(), mode)
    if words.secrets:
        files[SECRETS] = File(to_json(words.secrets).encode(), SECRET)
    ssh = configuration.vm.ssh
    if ssh is not None and ssh.password is not None:
        files[SSH_PASSWORD] = File(ssh.password.encode(), SECRET)
    cloud_init = configuration.vm.cloud_init
    if cloud_init is not None:
        data = cloud_init.no_cloud.data
        documents = {
            "meta-data": (data.meta_data, ""),
            "user-data": (data.user_data, "#cloud-config\n"),
            "vendor-data": (data.vendor_data, "#cloud-config\n"),
            "network-config": (data.network_config, ""),
        }
        for name, (document, header) in documents.items():
            if document is not None:
                files[f"{cloud_init.no_cloud.seed.path}.d/{name}"] = File(_document(document, header), SECRET)
    return with_manifest(files)


def _document(document: Plain, header: str) -> bytes:
    """Return a document of the seed: a string byte for byte, a mapping as YAML below its header."""
    return (document if isinstance(document, str) else header + to_yaml(document)).encode()


def _unwanted(configuration: Configuration) -> str:
    """Return lines for .gitignore: what the targets make at places that the static lines do not cover."""
    cloud_init = configuration.vm.cloud_init
    seed = cloud_init.no_cloud.seed.path if cloud_init else ""
    image = "" if node_downloads(configuration) else image_path(configuration)
    paths = [image, seed, seed and f"{seed}.sum"]
    paths = [posixpath.normpath(path) for path in paths if path]
    inside = [path for path in dict.fromkeys(paths) if not path.startswith(("/", "../"))]
    return "".join([f"/{_SPECIAL.sub(_escaped, path)}\n" for path in inside if not _COVERED.fullmatch(path)])


def _escaped(match: re.Match[str]) -> str:
    return f"\\{match.group()}"
