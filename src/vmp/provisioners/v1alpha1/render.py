"""A configuration to the files of its directory. A pure function: same configuration, same bytes."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from vmp.configuration import Configuration
from vmp.document import to_yaml
from vmp.nodes import Plain
from vmp.provisioners.v1alpha1.check import KNOBS
from vmp.provisioners.v1alpha1.on_node import ON_NODE, disks_on_node, is_filled, node_downloads, on_node
from vmp.provisioners.v1alpha1.shell import arguments, assignment, default, each
from vmp.provisioners.v1alpha1.static import static_files
from vmp.provisioners.v1alpha1.virt_install import (
    Words,
    autostarts,
    domain_uuid,
    has_secret,
    used_networks,
    virt_install_arguments,
)
from vmp.schema import Volume, ssh_gateway
from vmp.tree import File, Tree, with_manifest

SECRET = 0o600

_COVERED = re.compile(r"\.images/.*|[^/]*\.(img|iso|qcow2|sum)")
"""Paths that the static lines of .gitignore cover."""

_SPECIAL = re.compile(r"[\\*?\[]| $")
"""What .gitignore takes for a pattern, or cuts off."""

_ON_NODE_HEADER = """\
# For the node, which downloads the image: lib/ runs there on this file, in ~/.cache/vmp/UUID (domain_uuid), to which
# paths are relative. No domain is made; its disks below say which volumes no guest writes to.
"""
_HEADER = """\
# shellcheck shell=sh disable=SC2034
# What this VM is: the facts from which the scripts in lib/ work. Written by vmp; change the registry instead.
# Every value is quoted data and is never evaluated. A list is a function that calls "$@" with the facts of each
# element.

"""


def render(configuration: Configuration) -> Tree:
    """Return the files of one VM's directory."""
    files = dict(static_files())
    if unwanted := _unwanted(configuration):
        ignored = files[".gitignore"]
        files[".gitignore"] = File(ignored.content + unwanted.encode(), ignored.mode)
    words = virt_install_arguments(configuration)
    facts = "".join(_facts(configuration, words)).encode()
    files["vm.sh"] = File(facts, SECRET if has_secret(configuration.vm) else 0o644)
    if image_path := _path_on_node(configuration):
        there = on_node(configuration, image_path)
        facts = "".join([_ON_NODE_HEADER, *_facts(there, disks_on_node(configuration, there, words))]).encode()
        files[ON_NODE] = File(facts, files["vm.sh"].mode)
    if words.secrets:
        text = each(
            "each_secret",
            "passwords of the domain: what stands for one in vm.sh, and what it is",
            words.secrets.items(),
        )
        files["secrets.sh"] = File(f"# shellcheck shell=sh\n{text}".encode(), SECRET)
    ssh = configuration.vm.ssh
    if ssh is not None and ssh.password is not None:
        files["ssh-password"] = File(ssh.password.encode(), SECRET)
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


def _facts(configuration: Configuration, virt_install: Words) -> Iterator[str]:
    vm, node, image = configuration.vm, configuration.node, configuration.image
    ssh, cloud_init = vm.ssh, vm.cloud_init
    archive, checksum = image.archive, image.checksum
    gateway = ssh_gateway(node.libvirt.connection.uri)
    image_on_node = _path_on_node(configuration)
    yield _HEADER
    yield assignment("vm_name", vm.name)
    yield assignment("node_name", node.name)
    yield assignment("libvirt_uri", node.libvirt.connection.uri)
    yield assignment("domain_name", vm.libvirt.domain.name)
    yield assignment("domain_uuid", domain_uuid(configuration))
    yield assignment("domain_autostart", "yes" if autostarts(vm) else "")
    yield assignment("secrets_file", "secrets.sh" if virt_install.secrets else "")
    yield "\n# the image, downloaded to image_path; no path: no volume is made from it\n"
    yield assignment("image_reference", f"{image.name}:{image.tag}")
    yield assignment("image_path", "" if image_on_node else _image_path(configuration))
    yield assignment("image_url", image.url)
    yield assignment("image_archive_type", archive.type if archive else "")
    yield assignment("image_archive_path", (archive.path or "") if archive else "")
    yield assignment("image_checksum_algorithm", checksum.algorithm if checksum else "")
    yield assignment("image_checksum_value", (checksum.value or "").lower() if checksum else "")
    yield assignment("image_checksum_url", (checksum.url or "") if checksum else "")
    if image_on_node:
        yield f"# the node downloads it, and fills the volumes that say so, as {ON_NODE} tells it\n"
        yield assignment("image_on_node", "yes")
    yield "\n# the cloud-init seed, made from the documents in its .d directory; no path: no cloud-init\n"
    yield assignment("seed_path", cloud_init.no_cloud.seed.path if cloud_init else "")
    yield "\n# how the guest is reached\n"
    yield assignment("ssh_enabled", "yes" if ssh else "")
    yield assignment("ssh_password_file", "ssh-password" if ssh and ssh.password is not None else "")
    yield assignment("node_ssh_host", gateway.host)
    yield assignment("node_ssh_user", gateway.user)
    yield assignment("node_ssh_port", gateway.port)
    yield assignment("node_ssh_command", gateway.command)
    yield assignment("node_ssh_keyfile", gateway.keyfile)
    yield assignment("node_ssh_no_verify", "yes" if gateway.no_verify else "")
    yield assignment("node_ssh_shared", "yes" if gateway.shared else "")
    yield "\n# knobs: make's command line and the environment win over the registry\n"
    for name, value in _knobs(configuration).items():
        yield default(name, value)
    yield "\n"
    pools, volumes = vm.libvirt.pools, vm.libvirt.volumes
    own = {pool.name for pool in pools}
    yield each(
        "each_pool",
        "the pools that belong to this VM: name, directory, deletion policy",
        [(pool.name, pool.directory.path, pool.deletion_policy) for pool in pools],
    )
    yield each(
        "each_volume",
        "its volumes, in the order to create: pool, name, format, deletion policy, capacity, and what fills it",
        [_volume(volume, image_on_node) for volume in volumes],
    )
    used = [volume.pool_name for volume in volumes]
    used += [volume.backing_volume.pool_name for volume in volumes if volume.backing_volume]
    used_pools = [name for name in dict.fromkeys(used) if name not in own]
    yield each("each_used_pool", "pools that are only used", [(name,) for name in used_pools])
    yield each("each_used_network", "libvirt networks that are used", [(name,) for name in used_networks(vm)])
    macs = [(mac,) for mac in virt_install.macs]
    yield each("each_derived_mac", "MAC addresses that are derived from the names of node, VM and interface", macs)
    options = ssh.options if ssh else {}
    words = [word for key, values in options.items() for value in values for word in ("-o", f"{key}={value}")]
    yield arguments("ssh_options", "options of ssh, before all defaults", words)
    yield arguments("virt_install_options", "the domain, as virt-install is told", virt_install)


def _volume(volume: Volume, image_on_node: str) -> tuple[str, ...]:
    head = (volume.pool_name, volume.name, volume.format, volume.deletion_policy, volume.capacity or "")
    if volume.upload_file:
        return (*head, "node" if is_filled(volume, image_on_node) else "upload", volume.upload_file.path)
    if volume.backing_volume:
        backing = volume.backing_volume
        return (*head, "backing", backing.pool_name, backing.name, backing.format)
    return (*head, "blank")


def _image_path(configuration: Configuration) -> str:
    """Return where the image is downloaded to: the file of the volume that is named after the image."""
    name = configuration.image.volume_name
    uploads = [volume for volume in configuration.vm.libvirt.volumes if volume.upload_file]
    for volume in uploads:
        if volume.name == name and volume.upload_file:
            return volume.upload_file.path
    for volume in uploads:
        if volume.upload_file and volume.upload_file.path.rpartition("/")[2] == name:
            return volume.upload_file.path
    return ""


def _path_on_node(configuration: Configuration) -> str:
    """Return the path by which the registry calls the image that the node downloads; empty where it does not."""
    return _image_path(configuration) if node_downloads(configuration) else ""


def _unwanted(configuration: Configuration) -> str:
    """Return lines for .gitignore: what the targets make at places that the static lines do not cover."""
    cloud_init = configuration.vm.cloud_init
    seed = cloud_init.no_cloud.seed.path if cloud_init else ""
    image = "" if node_downloads(configuration) else _image_path(configuration)
    paths = [image, seed, seed and f"{seed}.sum"]
    paths = [posixpath.normpath(path) for path in paths if path]
    inside = [path for path in dict.fromkeys(paths) if not path.startswith(("/", "../"))]
    return "".join([f"/{_SPECIAL.sub(_escaped, path)}\n" for path in inside if not _COVERED.fullmatch(path)])


def _escaped(match: re.Match[str]) -> str:
    return f"\\{match.group()}"


def _knobs(configuration: Configuration) -> dict[str, str]:
    """Return the knobs that the registry sets. The VM's own ssh wins over a knob of its image or node."""
    found = {name: configuration.variables[name] for name in KNOBS if name in configuration.variables}
    ssh = configuration.vm.ssh
    for name, own in (("V1ALPHA1_SSH_USER", ssh and ssh.user), ("V1ALPHA1_SSH_HOST", ssh and ssh.host)):
        if own and name not in configuration.own_variables:
            found[name] = own
    return found
