"""A configuration as the records of v1alpha1: here the schema and that version meet, and nowhere else."""

from __future__ import annotations

from vmp.configuration import Configuration
from vmp.networks import Network
from vmp.nodes import Plain
from vmp.provisioners.v1alpha1 import plan as to
from vmp.provisioners.v1alpha1.options import disks_of, interfaces_of, networks_of
from vmp.schema import CloudInit, NodeEntry, Ssh, Volume
from vmp.uris import Uri, take_apart
from vmp.virt_install import Item


def plan_v1alpha1(configuration: Configuration) -> to.Plan:
    """Return what v1alpha1 needs to know of a VM."""
    vm, image = configuration.vm, configuration.image
    archive, checksum = image.archive, image.checksum
    domain = vm.libvirt.domain
    return to.Plan(
        name=vm.name,
        node=node_plan(configuration.node),
        domain=_domain(domain.name, domain.virt_install),
        image=to.Image(
            reference=f"{image.name}:{image.tag}",
            url=image.url,
            volume_name=image.volume_name,
            archive=to.Archive(type=archive.type, member=archive.path or "") if archive else None,
            checksum=to.Checksum(
                algorithm=checksum.algorithm,
                value=checksum.value or "",
                url=checksum.url or "",
                signature=to.Signature(
                    url=checksum.signature.url, of=checksum.signature.of, keys=configuration.image_keys
                )
                if checksum.signature
                else None,
            )
            if checksum
            else None,
        ),
        seed=_seed(vm.cloud_init) if vm.cloud_init else None,
        drives=tuple([to.Drive(drive.path, drive.label, drive.files) for drive in vm.config_drives or ()]),
        pools=tuple(
            [
                to.Pool(name=pool.name, path=pool.directory.path, retained=pool.deletion_policy == "Retain")
                for pool in vm.libvirt.pools
            ]
        ),
        volumes=tuple([_volume(volume) for volume in vm.libvirt.volumes]),
        ssh=_ssh(vm.ssh) if vm.ssh else None,
        settings={
            name: to.Setting(
                value=value,
                own=name in configuration.own_variables,
                place=configuration.places.get(name),
            )
            for name, value in configuration.variables.items()
            if name.startswith(to.KNOB_PREFIX)
        },
        networks=tuple([_network(network) for network in vm.libvirt.networks]),
        reservations=tuple(
            [
                to.Reservation(
                    network=reservation.network,
                    interface=reservation.interface,
                    address=reservation.address,
                    hostname=reservation.hostname or vm.name,
                )
                for reservation in vm.libvirt.reservations
            ]
        ),
        install=_domain(domain.name, domain.install.virt_install) if domain.install else None,
    )


def node_plan(node: NodeEntry) -> to.Node:
    """Take the URI apart. A node that is wrong has been reported; its VMs are checked all the same."""
    libvirt = node.libvirt
    uri = libvirt.connection.uri if libvirt and libvirt.connection else ""
    parts = take_apart(uri) or Uri()
    return to.Node(
        name=node.name,
        connection=to.Connection(
            uri=uri,
            driver=parts.driver,
            transport=parts.transport,
            user=parts.user,
            host=parts.host,
            port=parts.port,
            path=parts.path,
            parameters=parts.parameters,
        ),
        downloads=bool(libvirt) and libvirt.image_download == "node",
    )


def _domain(name: str, virt_install: dict[str, str | bool | tuple[Item, ...]]) -> to.Domain:
    options: to.Options = {
        option: tuple([to.Item(item.name, item.options or {}) for item in value]) if isinstance(value, tuple) else value
        for option, value in virt_install.items()
    }
    return to.Domain(
        name=name,
        options=options,
        disks=disks_of(options),
        networks=networks_of(options),
        interfaces=interfaces_of(options),
    )


def _seed(cloud_init: CloudInit) -> to.Seed:
    data = cloud_init.no_cloud.data
    documents: dict[str, Plain] = {
        "meta-data": data.meta_data,
        "user-data": data.user_data,
        "vendor-data": data.vendor_data,
        "network-config": data.network_config,
    }
    return to.Seed(
        path=cloud_init.no_cloud.seed.path,
        documents={name: document for name, document in documents.items() if document is not None},
    )


def _volume(volume: Volume) -> to.Volume:
    backing, file = volume.backing_volume, volume.upload_file
    return to.Volume(
        pool=volume.pool_name,
        name=volume.name,
        format=volume.format,
        retained=volume.deletion_policy == "Retain",
        capacity=volume.capacity or "",
        file=file.path if file else "",
        member=(file.member or "") if file else "",
        backing=to.Backing(pool=backing.pool_name, name=backing.name, format=backing.format) if backing else None,
    )


def _network(network: Network) -> to.Network:
    forward, domain, dns = network.forward, network.domain, network.dns
    return to.Network(
        name=network.name,
        mode="" if network.xml else forward.mode if forward else "nat",
        dev=(forward.dev if forward else None) or "",
        bridge=network.bridge or "",
        domain=domain.name if domain else "",
        local_only=domain.local_only if domain else None,
        mtu=network.mtu or "",
        ips=tuple(
            [
                to.Ip(ip.address, ip.prefix, ip.dhcp.start if ip.dhcp else "", ip.dhcp.end if ip.dhcp else "")
                for ip in network.ips
            ]
        ),
        forwarders=dns.forwarders if dns else (),
        hosts=tuple([to.DnsHost(host.ip, host.hostnames) for host in dns.hosts]) if dns else (),
        autostart=network.autostart,
        retained=network.deletion_policy == "Retain",
        xml=network.xml or "",
    )


def _ssh(ssh: Ssh) -> to.Ssh:
    return to.Ssh(user=ssh.user or "", host=ssh.host or "", password=ssh.password or "", options=ssh.options)
