"""What this machine is: vm.json, read into its records."""

from __future__ import annotations

import os
import re
from typing import Any

from .knobs import Knobs
from .network_records import Reservation, read_network
from .records import Backing, DomainFacts, Drive, Gateway, Image, Member, Pool, Ssh, Volume
from .say import Problem, write
from .vm_json import check_kinds, read_json

FORMAT = 1
"""The form of vm.json that this file reads. A newer form needs the provisioner.py that came with it."""

SIGNED_FORMAT = 2
"""The form of a vm.json whose image is signed: an older provisioner.py would never look at the signature."""

VM_JSON = "vm.json"
IMAGE_KEYS = "image-keys.asc"
"""The public keys whose signature of the image, or of its sums, is good."""
SECRETS = "secrets.json"
SSH_PASSWORD = "ssh-password"
MEMBERS = ".members"
"""Where members of ISO images are put: POOL/VOLUME, below it."""
MEMBER_SUMS = ".members.sum"
"""What each was made from."""
SOCKET = ".node-ssh"
"""The beginning of the name of the socket of the shared SSH connection to the node."""


_GATEWAY = {"knownHosts": "known_hosts"}


_OF_BOTH_PHASES = ("name", "uuid", "autostart", "secrets", "usedPools")
"""What does not change of a domain with the end of its installation."""


class Vm:
    """One machine: its facts, its directory, and the knobs of this run."""

    def __init__(self, directory: str, facts: dict[str, Any]) -> None:
        self.directory = directory
        self.facts = facts
        self.name: str = facts["name"]
        self.node: str = facts["node"]
        self.uri: str = facts["connection"]["uri"]
        ssh = facts["connection"].get("ssh", {})
        self.gateway = Gateway(**{_GATEWAY.get(key, key): value for key, value in ssh.items()})
        domain = facts["domain"]
        self.domain = DomainFacts(
            name=domain["name"],
            uuid=domain["uuid"],
            autostart=domain.get("autostart", False),
            virt_install=tuple(domain["virtInstall"]),
            item_names=tuple(domain.get("itemNames", ())),
            macs=tuple(domain.get("derivedMacs", ())),
            volumes=tuple(domain.get("volumes", ())),
            networks=tuple(domain.get("networks", ())),
            used_pools=tuple(domain.get("usedPools", ())),
            variable=domain.get("askEachTime", False),
        )
        image = facts["image"]
        checksum, archive = image.get("checksum", {}), image.get("archive", {})
        signature = checksum.get("signature", {})
        self.image = Image(
            reference=image["reference"],
            url=image["url"],
            path=image.get("path", ""),
            archive=archive.get("type", ""),
            member=archive.get("path", ""),
            algorithm=checksum.get("algorithm", ""),
            sum=checksum.get("value", "").lower(),
            sums_url=checksum.get("url", ""),
            signature_url=signature.get("url", ""),
            signature_of=signature.get("of", ""),
            keys=signature.get("keys", ""),
        )
        self.image_on_node: str = image.get("pathOnNode", "")
        self.seed: str = facts.get("seed", {}).get("path", "")
        self.config_drives = tuple([Drive(**drive) for drive in facts.get("configDrives", ())])
        self.pools = tuple(
            [
                Pool(pool["name"], pool["path"], pool.get("deletionPolicy") == "Retain")
                for pool in facts.get("pools", ())
            ]
        )
        self.volumes = tuple([_volume(volume) for volume in facts.get("volumes", ())])
        self.networks = tuple([read_network(network) for network in facts.get("networks", ())])
        self.reservations = tuple([Reservation(**reservation) for reservation in facts.get("reservations", ())])
        guest = facts.get("ssh")
        self.ssh = None if guest is None else Ssh(tuple(guest.get("options", ())), guest.get("password", False))
        self.installs = "install" in facts
        """Its system is installed in a first phase, with options of its own."""
        self.make = "make"
        """How messages call the make of this machine; a fleet names the directory."""
        self._knobs: Knobs | None = None

    def while_installing(self) -> Vm:
        """Return this machine as it is while its system is installed."""
        kept = {key: self.facts["domain"][key] for key in _OF_BOTH_PHASES if key in self.facts["domain"]}
        found = Vm(self.directory, {**self.facts, "domain": {**kept, **self.facts["install"]}})
        found.make = self.make
        return found

    @property
    def knobs(self) -> Knobs:
        """Return the knobs of this run; checked when first needed."""
        if self._knobs is None:
            self._knobs = Knobs(self.facts.get("knobs", {}))
        return self._knobs

    def file(self, path: str) -> str:
        """Return the path of a file of the directory, such that no program takes it for an option."""
        return os.path.join(self.directory, path)

    def makes(self, file: str) -> bool:
        """Tell whether a volume's file is made here from documents: the seed, or a config drive."""
        return bool(file) and (file == self.seed or any(file == drive.path for drive in self.config_drives))

    def say(self, text: str) -> None:
        """Tell the user something about this machine."""
        write(f"{self.name}: {text}")

    def secrets(self) -> dict[str, str]:
        """Return the domain's passwords, by what stands for each in the options of virt-install."""
        if not self.facts["domain"].get("secrets"):
            return {}
        found = read_json(self.file(SECRETS), SECRETS, "which holds passwords of the domain")
        wanted = re.findall("secret-[0-9a-f]{32}", " ".join(self.domain.virt_install))
        if not isinstance(found, dict) or not all(isinstance(found.get(name), str) for name in wanted):
            raise Problem(f"{SECRETS} does not hold the passwords that {VM_JSON} names", "'vmp gen' writes both anew")
        return found


def _volume(facts: dict[str, Any]) -> Volume:
    backing = facts.get("backing")
    return Volume(
        pool=facts["pool"],
        name=facts["name"],
        format=facts["format"],
        retained=facts.get("deletionPolicy") == "Retain",
        capacity=bytes_of(facts.get("capacity", "0")),
        capacity_text=facts.get("capacity", ""),
        file=facts.get("file", ""),
        member=Member(**facts["member"]) if "member" in facts else None,
        by_node=facts.get("byNode", False),
        backing=Backing(backing["pool"], backing["name"], backing["format"]) if backing else None,
        read_only=facts.get("readOnly", False),
    )


def bytes_of(capacity: str) -> int:
    """Return the bytes of a capacity in virsh's units: K and KiB are 1024 bytes, KB is 1000."""
    if not re.fullmatch("[0-9]+([kmgtpe](i?b)?|b|bytes?)?", capacity, re.IGNORECASE):
        raise ValueError(f"'{capacity}' is no capacity")
    unit = capacity.lstrip("0123456789").lower()
    power = "kmgtpe".find(unit[:1]) + 1 if unit else 0
    factor = 1000 if unit[1:] == "b" else 1024
    return int(capacity[: len(capacity) - len(unit)]) * int(factor**power)


def read_vm(directory: str, name: str = "") -> Vm:
    """Read the machine of a directory; ``name`` is how messages call the file."""
    facts = read_json(os.path.join(directory, VM_JSON), name or VM_JSON, "")
    if not isinstance(facts, dict) or facts.get("format") not in (FORMAT, SIGNED_FORMAT):
        form = facts.get("format") if isinstance(facts, dict) else None
        raise Problem(
            f"{name or VM_JSON} is of form {form!r}, and this provisioner.py reads forms {FORMAT} and {SIGNED_FORMAT}",
            "'vmp gen' writes both anew; they belong together",
        )
    try:
        check_kinds(facts)
        return Vm(directory, facts)
    except KeyError as error:
        reason = f"{error} is missing"
    except (TypeError, AttributeError, ValueError) as error:
        reason = str(error)
    raise Problem(f"{name or VM_JSON} is not as vmp writes it: {reason}", "'vmp gen' writes it anew")
