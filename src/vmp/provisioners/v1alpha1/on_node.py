"""What the node is told where it downloads the image itself: the image, and the volumes that are filled from it.

The same library runs there, on facts of the same form: a VM that is nothing but these volumes.
"""

from __future__ import annotations

import hashlib

from vmp.configuration import Configuration
from vmp.images import Image
from vmp.provisioners.v1alpha1.virt_install import Words, domain_uuid
from vmp.schema import Connection, Domain, Libvirt, NodeEntry, NodeLibvirt, UploadFile, VmEntry, Volume, uri_on_node

ON_NODE = "on-node.sh"
"""The file with these facts."""


def node_downloads(configuration: Configuration) -> bool:
    """Tell whether the registry wants the node to download images."""
    libvirt = configuration.node.libvirt
    return bool(libvirt) and libvirt.image_download == "node"  # none: that has been reported


def on_node(configuration: Configuration, image_path: str) -> Configuration:
    """Return what is to be done on the node. The name says in every message where it is done."""
    vm, node, image = configuration.vm, configuration.node, configuration.image
    volumes = tuple([_from(_place(image), volume) for volume in vm.libvirt.volumes if is_filled(volume, image_path)])
    used = {volume.pool_name for volume in volumes}
    return Configuration(
        vm=VmEntry(
            name=f"{vm.name} on {node.name}",
            node_name=node.name,
            image=vm.image,
            provisioner=vm.provisioner,
            libvirt=Libvirt(
                domain=Domain(name=vm.libvirt.domain.name, virt_install={"uuid": domain_uuid(configuration)}),
                pools=tuple([pool for pool in vm.libvirt.pools if pool.name in used]),
                volumes=volumes,
            ),
        ),
        node=NodeEntry(
            name=node.name,
            libvirt=NodeLibvirt(connection=Connection(uri=uri_on_node(node.libvirt.connection.uri))),
        ),
        image=image,
        variables={},
        own_variables=frozenset(),
        places={},
    )


def is_filled(volume: Volume, image_path: str) -> bool:
    """Tell whether a volume is filled from the image."""
    return volume.upload_file is not None and volume.upload_file.path == image_path


def disks_on_node(configuration: Configuration, there: Configuration, words: Words) -> Words:
    """Return what tells the library on the node which of the volumes no guest writes to, as options of virt-install."""
    names = [f"{volume.pool_name}/{volume.name}" for volume in there.vm.libvirt.volumes]
    backing = [volume.backing_volume for volume in configuration.vm.libvirt.volumes if volume.backing_volume]
    bases = {f"{volume.pool_name}/{volume.name}" for volume in backing}
    found = Words(there)
    found += [f"--disk=vol={name},readonly=on" for name in names if name in bases]
    found += [word for word in words if word.startswith("--disk=") and any(f"vol={name}" in word for name in names)]
    return found


def _from(path: str, volume: Volume) -> Volume:
    return Volume(
        name=volume.name,
        pool_name=volume.pool_name,
        format=volume.format,
        deletion_policy=volume.deletion_policy,
        capacity=volume.capacity,
        upload_file=UploadFile(path=path),
    )


def _place(image: Image) -> str:
    """Return where the image is on the node, beside the VM's directory: VMs of the same image share the file."""
    archive, checksum = image.archive, image.checksum
    parts = [image.url]
    parts += [archive.type, archive.path or ""] if archive else ["", ""]
    parts += [checksum.algorithm, checksum.value or "", checksum.url or ""] if checksum else []
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    return f"../images/{digest}/{image.volume_name}"
