"""vm.json: what provisioner.py is told of its VM, as plain data. What is not set is not written."""

from __future__ import annotations

from typing import Any

from vmp.provisioners.v1alpha1.connection import ssh_facts, uri_on_node
from vmp.provisioners.v1alpha1.identity import domain_uuid, mac_of
from vmp.provisioners.v1alpha1.plan import Checksum, Disk, Network, Plan, Ssh, Volume
from vmp.provisioners.v1alpha1.runtime.facts import FORMAT, MEMBERS, SIGNED_FORMAT
from vmp.provisioners.v1alpha1.runtime.knobs import KNOBS
from vmp.provisioners.v1alpha1.virt_install import Words, asks_each_time, autostarts

Facts = dict[str, Any]


def vm_json(plan: Plan, words: Words, installing: Words | None = None) -> Facts:
    """Return the content of vm.json; the words are the options of virt-install, later and while installing."""
    found = _set(
        format=SIGNED_FORMAT if plan.image.checksum and plan.image.checksum.signature else FORMAT,
        name=plan.name,
        node=plan.node.name,
        connection=_connection(plan),
        domain=_domain(plan, words, bool(words.secrets or (installing and installing.secrets))),
        install=_install(plan, installing) if installing else None,
        image=_image(plan),
        seed=_set(path=plan.seed.path if plan.seed else ""),
        configDrives=[{"path": drive.path, "label": drive.label} for drive in plan.drives],
        pools=[{"name": pool.name, "path": pool.path, "deletionPolicy": _policy(pool.retained)} for pool in plan.pools],
        volumes=[_volume(plan, volume) for volume in plan.volumes],
        networks=[_network(network) for network in plan.networks],
        reservations=[
            {
                "network": reservation.network,
                "mac": mac_of(plan, reservation.interface),
                "address": reservation.address,
                "hostname": reservation.hostname,
            }
            for reservation in plan.reservations
        ],
        knobs=_knobs(plan),
    )
    if plan.ssh is not None:
        found["ssh"] = _ssh(plan.ssh)  # also an empty one: the VM can then be reached
    return found


def installing_plan(plan: Plan) -> Plan:
    """Return the plan of the VM while its system is installed."""
    assert plan.install
    return plan._replace(domain=plan.install)


def _domain(plan: Plan, words: Words, secrets: bool) -> Facts:
    return _set(
        name=plan.domain.name,
        uuid=domain_uuid(plan),
        autostart=autostarts(plan.domain),
        virtInstall=list(words),
        itemNames=words.names if any(words.names) else [],
        derivedMacs=words.macs,
        secrets=secrets,
        volumes=[disk.volume for disk in plan.domain.disks if disk.volume],
        networks=list(plan.domain.networks),
        usedPools=_used_pools(plan),
        askEachTime=asks_each_time(plan),
    )


def _install(plan: Plan, words: Words) -> Facts:
    """Return what the domain has otherwise while the system is installed."""
    found = _domain(installing_plan(plan), words, False)
    return {key: value for key, value in found.items() if key not in ("name", "uuid", "autostart", "usedPools")}


def _set(**facts: Any) -> Facts:
    """Leave out what is empty or false."""
    return {key: value for key, value in facts.items() if value or (value == 0 and value is not False)}


def _policy(retained: bool) -> str:
    return "Retain" if retained else "Delete"


def _connection(plan: Plan) -> Facts:
    connection = plan.node.connection
    on_node = uri_on_node(connection) if plan.node.downloads else ""
    return _set(uri=connection.uri, ssh=_set(**ssh_facts(connection)), uriOnNode=on_node)


def _used_pools(plan: Plan) -> list[str]:
    """Return the pools of volumes and their backing volumes that are not the VM's own."""
    used = [volume.pool for volume in plan.volumes]
    used += [volume.backing.pool for volume in plan.volumes if volume.backing]
    own = {pool.name for pool in plan.pools}
    return [name for name in dict.fromkeys(used) if name not in own]


def image_path(plan: Plan) -> str:
    """Return where the image is downloaded to: the file of the volume that is named after the image."""
    name = plan.image.volume_name
    filled = [volume for volume in plan.volumes if volume.file]
    named = [volume.file for volume in filled if volume.name == name]
    named += [volume.file for volume in filled if volume.file.rpartition("/")[2] == name]
    return named[0] if named else ""


def member_file(volume: Volume) -> str:
    """Return where a member of an ISO image is put, for its volume to be filled from it."""
    return f"{MEMBERS}/{volume.key}"


def _image(plan: Plan) -> Facts:
    image, path = plan.image, image_path(plan)
    on_node = path and plan.node.downloads
    archive, checksum = image.archive, image.checksum
    return _set(
        reference=image.reference,
        url=image.url,
        path="" if on_node else path,
        pathOnNode=image.volume_name if on_node else "",
        archive=_set(type=archive.type, path=archive.member) if archive else None,
        checksum=_checksum(checksum) if checksum else None,
    )


def _checksum(checksum: Checksum) -> Facts:
    signature = checksum.signature
    return _set(
        algorithm=checksum.algorithm,
        value=checksum.value,
        url=checksum.url,
        signature={"url": signature.url, "of": signature.of} if signature else None,
    )


def _volume(plan: Plan, volume: Volume) -> Facts:
    backing = volume.backing
    return _set(
        pool=volume.pool,
        name=volume.name,
        format=volume.format,
        deletionPolicy=_policy(volume.retained),
        capacity=volume.capacity,
        file=member_file(volume) if volume.member else volume.file,
        member={"path": volume.file, "name": volume.member} if volume.member else None,
        byNode=bool(volume.file) and plan.node.downloads and volume.file == image_path(plan),
        backing={"pool": backing.pool, "name": backing.name, "format": backing.format} if backing else None,
        readOnly=_is_read_only(plan, volume),
    )


def _is_read_only(plan: Plan, volume: Volume) -> bool:
    """Tell whether no guest writes to a volume: others are backed by it, or its disk is read-only.

    One with a member of an ISO image may be no disk at all, but a kernel. A disk that is given by its path may be any.
    """
    backing = [other.backing for other in plan.volumes if other.backing]
    if (volume.pool, volume.name) in [(base.pool, base.name) for base in backing]:
        return True
    disks = [disk for domain in (plan.domain, plan.install) if domain for disk in domain.disks]
    if Disk(volume.key, read_only=True) in disks:
        return True
    return bool(volume.member) and not any(disk.volume in ("", volume.key) and not disk.read_only for disk in disks)


def _network(network: Network) -> Facts:
    local_only = {} if network.local_only is None else {"localOnly": network.local_only}
    return _set(
        name=network.name,
        forward=_set(mode=network.mode, dev=network.dev),
        bridge=network.bridge,
        domain={"name": network.domain, **local_only} if network.domain else None,
        mtu=network.mtu,
        ips=[
            _set(address=ip.address, prefix=ip.prefix, dhcp={"start": ip.start, "end": ip.end} if ip.start else None)
            for ip in network.ips
        ],
        dns=_set(
            forwarders=list(network.forwarders),
            hosts=[{"ip": host.ip, "hostnames": list(host.hostnames)} for host in network.hosts],
        ),
        autostart=network.autostart,
        deletionPolicy=_policy(network.retained),
        xml=network.xml,
    )


def _ssh(ssh: Ssh) -> Facts:
    options = [word for key, values in ssh.options.items() for value in values for word in ("-o", f"{key}={value}")]
    return _set(options=options, password=bool(ssh.password))


def _knobs(plan: Plan) -> dict[str, str]:
    """Return the knobs that the registry sets. The VM's own ssh wins over a knob of its image or node.

    Without any of these, the address is that of the first reservation.
    """
    settings = plan.settings
    found = {knob.name: settings[knob.name].value for knob in KNOBS if knob.name in settings}
    if plan.ssh:
        for name, word in (("V1ALPHA1_SSH_USER", plan.ssh.user), ("V1ALPHA1_SSH_HOST", plan.ssh.host)):
            if word and not (name in settings and settings[name].own):
                found[name] = word
    if plan.reservations and not found.keys() & {"V1ALPHA1_SSH_HOST", "V1ALPHA1_IP_CMD"}:
        found["V1ALPHA1_SSH_HOST"] = plan.reservations[0].address
    return dict(sorted(found.items()))
