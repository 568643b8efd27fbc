"""What a provisioner is told of its VM: vm.json, plain data. The URI is taken apart here, and every default decided."""

from __future__ import annotations

from typing import Any

from vmp.configuration import Configuration
from vmp.provisioners.v1alpha1.connection import ssh_facts, uri_on_node
from vmp.provisioners.v1alpha1.runtime.facts import FORMAT
from vmp.provisioners.v1alpha1.runtime.knobs import KNOBS
from vmp.provisioners.v1alpha1.virt_install import (
    Words,
    asks_each_time,
    autostarts,
    domain_uuid,
    used_disks,
    used_networks,
)
from vmp.schema import Volume
from vmp.uris import take_apart

Plan = dict[str, Any]


def plan(configuration: Configuration, words: Words) -> Plan:
    """Return the content of vm.json. What is not set is not written."""
    vm = configuration.vm
    pools, volumes = vm.libvirt.pools, vm.libvirt.volumes
    own = {pool.name for pool in pools}
    used = [volume.pool_name for volume in volumes]
    used += [volume.backing_volume.pool_name for volume in volumes if volume.backing_volume]
    ssh = vm.ssh
    found = _set(
        format=FORMAT,
        name=vm.name,
        node=configuration.node.name,
        connection=_connection(configuration),
        domain=_set(
            name=vm.libvirt.domain.name,
            uuid=domain_uuid(configuration),
            autostart=autostarts(vm),
            virtInstall=list(words),
            derivedMacs=words.macs,
            secrets=bool(words.secrets),
            volumes=[volume for volume, _ in used_disks(vm)],
            networks=used_networks(vm),
            usedPools=[name for name in dict.fromkeys(used) if name not in own],
            askEachTime=asks_each_time(vm),
        ),
        image=_image(configuration),
        seed=_set(path=vm.cloud_init.no_cloud.seed.path if vm.cloud_init else ""),
        pools=[
            {"name": pool.name, "path": pool.directory.path, "deletionPolicy": pool.deletion_policy} for pool in pools
        ],
        volumes=[_volume(configuration, volume) for volume in volumes],
        knobs=_knobs(configuration),
    )
    if ssh is not None:
        found["ssh"] = _ssh(configuration)  # also an empty one: the VM can then be reached
    return found


def _set(**facts: Any) -> Plan:
    """Leave out what is empty or false."""
    return {key: value for key, value in facts.items() if value or (value == 0 and value is not False)}


def _connection(configuration: Configuration) -> Plan:
    text = configuration.node.libvirt.connection.uri
    uri = take_apart(text)
    assert uri, text
    on_node = uri_on_node(uri) if node_downloads(configuration) else ""
    return _set(uri=text, ssh=_set(**ssh_facts(uri)), uriOnNode=on_node)


def node_downloads(configuration: Configuration) -> bool:
    """Tell whether the registry wants the node to download images."""
    libvirt = configuration.node.libvirt
    return bool(libvirt) and libvirt.image_download == "node"  # none: that has been reported


def image_path(configuration: Configuration) -> str:
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


def _image(configuration: Configuration) -> Plan:
    image, path = configuration.image, image_path(configuration)
    on_node = path and node_downloads(configuration)
    archive, checksum = image.archive, image.checksum
    return _set(
        reference=f"{image.name}:{image.tag}",
        url=image.url,
        path="" if on_node else path,
        pathOnNode=image.volume_name if on_node else "",
        archive=_set(type=archive.type, path=archive.path) if archive else None,
        checksum=_set(algorithm=checksum.algorithm, value=checksum.value, url=checksum.url) if checksum else None,
    )


def _volume(configuration: Configuration, volume: Volume) -> Plan:
    file, backing = volume.upload_file, volume.backing_volume
    return _set(
        pool=volume.pool_name,
        name=volume.name,
        format=volume.format,
        deletionPolicy=volume.deletion_policy,
        capacity=volume.capacity,
        file=file.path if file else "",
        byNode=file is not None and node_downloads(configuration) and file.path == image_path(configuration),
        backing={"pool": backing.pool_name, "name": backing.name, "format": backing.format} if backing else None,
        readOnly=_is_read_only(configuration, volume),
    )


def _is_read_only(configuration: Configuration, volume: Volume) -> bool:
    """Tell whether no guest writes to a volume: others are backed by it, or its disk is read-only."""
    key = (volume.pool_name, volume.name)
    vm = configuration.vm
    backing = [other.backing_volume for other in vm.libvirt.volumes if other.backing_volume]
    if key in [(base.pool_name, base.name) for base in backing]:
        return True
    return (f"{volume.pool_name}/{volume.name}", True) in used_disks(vm)


def _ssh(configuration: Configuration) -> Plan:
    ssh = configuration.vm.ssh
    assert ssh
    options = [word for key, values in ssh.options.items() for value in values for word in ("-o", f"{key}={value}")]
    return _set(options=options, password=ssh.password is not None)


def _knobs(configuration: Configuration) -> dict[str, str]:
    """Return the knobs that the registry sets. The VM's own ssh wins over a knob of its image or node."""
    names = [knob.name for knob in KNOBS]
    found = {name: configuration.variables[name] for name in names if name in configuration.variables}
    ssh = configuration.vm.ssh
    for name, own in (("V1ALPHA1_SSH_USER", ssh and ssh.user), ("V1ALPHA1_SSH_HOST", ssh and ssh.host)):
        if own and name not in configuration.own_variables:
            found[name] = own
    return dict(sorted(found.items()))
