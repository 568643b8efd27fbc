"""domain.xml, what libvirt is given: virt-install's answer, kept while nothing has changed that it depends on.

virt-install takes longer than all the rest, so `down` leaves domain.xml, and the next `up` has no need of it.
domain.xml.sum says what it was made from: the definition, and what libvirt and QEMU on the node are. Without it, as
after libvirt has refused domain.xml, the next run asks virt-install.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from .definition import cksum, definition_of
from .facts import Vm
from .files import read_text, remove, write_text
from .libvirt import MARK, NAMESPACE, escape, parse
from .node import connection
from .programs import run_program
from .record import DEFINED, Record, mark_of, new_record
from .say import Problem
from .storage import VolumeFacts, look_at_volumes
from .virsh import Virsh

Volumes = dict[str, "VolumeFacts | None"]
"""What libvirt has of the machine's volumes, by pool/name."""

ElementTree.register_namespace("vmp", NAMESPACE)
ElementTree.register_namespace("libosinfo", "http://libosinfo.org/xmlns/libvirt/domain/1.0")
ElementTree.register_namespace("qemu", "http://libvirt.org/schemas/domain/qemu/1.0")


def domain_xml(vm: Vm, virsh: Virsh, answers: Answers | None, *, exists: bool = False) -> str:
    """Return the path of a domain.xml that is as virt-install would make it now; ``exists`` if there is a domain."""
    return _current_xml(vm, virsh, answers, "domain.xml", exists, lambda root: _mark(root, new_record(vm)))


def install_xml(vm: Vm, virsh: Virsh, answers: Answers | None) -> str:
    """Return the path of the definition that counts while the system is installed: a reboot turns that domain off."""

    def complete(root: Element) -> None:
        for event in ("on_poweroff", "on_reboot"):
            found = root.find(event)
            if found is None:
                found = ElementTree.SubElement(root, event)
            found.text = "destroy"
        _mark(root, new_record(vm, DEFINED))

    return _current_xml(vm.while_installing(), virsh, answers, "install.xml", False, complete)


def _current_xml(
    vm: Vm, virsh: Virsh, answers: Answers | None, name: str, exists: bool, complete: Callable[[Element], None]
) -> str:
    """Return the path of an XML file that is as virt-install would make it now, completed."""
    path, stamp = vm.file(name), vm.file(f"{name}.sum")
    found = look_at_volumes(virsh, [(volume.pool, volume.name) for volume in vm.volumes])
    volumes = dict(zip([volume.key for volume in vm.volumes], found))
    basis = f"{definition_of(vm)} {cksum(_basis(vm, virsh, volumes).encode(errors='surrogateescape'))}"
    text = read_text(path)
    if vm.domain.variable or not text or read_text(stamp) != _stamp(basis, text):
        text = _serialize(_ask(vm, volumes, answers, exists=exists))
    root = parse(text, name)
    _keep_formats(vm, root, volumes)
    complete(root)
    marked = _serialize(root)
    if marked != read_text(path) or read_text(stamp) != _stamp(basis, marked):
        remove(stamp)
        write_text(path, marked)
        write_text(stamp, _stamp(basis, marked))
    return path


def _keep_formats(vm: Vm, root: Element, volumes: Volumes) -> None:
    """Have QEMU read a disk that was made empty as what it was made as.

    libvirt looks into the file for its format, and so does virt-install: a guest could write a header that names any
    file of the node as its backing file.
    """
    made = {volumes[volume.key]: volume.format for volume in vm.volumes if not (volume.file or volume.backing)}
    formats = {facts.path: form for facts, form in made.items() if facts}
    for disk in root.iterfind("devices/disk"):
        source, driver = disk.find("source"), disk.find("driver")
        path = "" if source is None else source.get("file", "")
        if driver is not None and path in formats:
            driver.set("type", formats[path])


def forget(vm: Vm, *names: str) -> None:
    """See to it that the next run asks virt-install for these files."""
    remove(*[vm.file(f"{name}.sum") for name in names])


def _stamp(basis: str, text: str) -> str:
    return f"{basis} {cksum(text.encode(errors='surrogateescape'))}\n"


def _basis(vm: Vm, virsh: Virsh, volumes: Volumes) -> str:
    """Return what the answer depends on beyond the definition: the node, its versions, and where the volumes are."""
    versions = virsh.ask("version", "--daemon")
    abilities = parse(virsh.ask("domcapabilities"), "libvirt's answer about the node's abilities")
    found = [vm.uri, versions, *[abilities.findtext(name) or "" for name in ("path", "domain", "machine", "arch")]]
    for facts in volumes.values():
        found += [facts.path, _driver(facts)] if facts else [""]
    return "\0".join(found)


def _driver(facts: VolumeFacts) -> str:
    """Return how QEMU reads a volume. libvirt calls an ISO raw until it has read it, some time after the upload."""
    return "raw" if facts.format == "iso" else facts.format


def _ask(vm: Vm, volumes: Volumes, answers: Answers | None, *, exists: bool) -> Element:
    """Return virt-install's answer, or that to a machine of the fleet that is alike; with the passwords in it."""
    secrets = vm.secrets()
    question = "" if answers is None or secrets or vm.domain.variable else _question(vm, volumes)
    found = answers.take(question, _own(vm, volumes)) if answers and question else None
    if found is None:
        found = _ask_virt_install(vm, exists=exists)
        if answers and question:
            answers.give(question, found, _own(vm, volumes))
    root = parse(found, "virt-install's answer")
    for element in root.iter():
        for key, value in element.attrib.items():
            if value in secrets:
                element.set(key, secrets[value])
        if element.text in secrets:
            element.text = secrets[str(element.text)]
    return root


def _ask_virt_install(vm: Vm, *, exists: bool) -> str:
    """Ask virt-install. Of a domain that exists it would complain that its own disks and MAC addresses are in use."""
    seconds = vm.knobs.command_timeout
    words = ["virt-install", "--connect", connection(vm), *vm.domain.virt_install, "--print-xml", "1", "--dry-run"]
    words += ["--check=all=off"] if exists else []
    ended = run_program(words, seconds, cwd=vm.directory)
    if ended.timed_out:
        raise Problem(f"virt-install took longer than {seconds} seconds and was ended")
    if ended.code == 127:
        raise Problem("virt-install is not installed; it is needed to make the domain")
    if ended.code:
        reason = (ended.errors or ended.output).strip() or f"it said nothing (exit code {ended.code})"
        raise Problem(f"virt-install refused the definition: {reason}")
    root = parse(ended.output, "virt-install's answer")
    if any(f"&amp;{name};" in ended.output for name in ("amp", "lt", "gt", "quot", "apos")):
        _unescape_twice(vm, root)
    return ElementTree.tostring(root, encoding="unicode")


def _unescape_twice(vm: Vm, root: Element) -> None:
    """Up to 5.0, virt-install escapes attributes twice (https://github.com/virt-manager/virt-manager/issues/838)."""
    words = ["virt-install", "--connect", "test:///default", "--name", "probe", "--memory", "64", "--import"]
    words += ["--disk", "none", "--network", "none", "--osinfo", "detect=off,require=off", "--graphics", "vnc,passwd=&"]
    probe = run_program([*words, "--print-xml", "--dry-run"], vm.knobs.command_timeout).output
    if 'passwd="&amp;"' in probe:
        return
    for element in root.iter():
        for key, value in element.attrib.items():
            for letter, name in (("<", "lt"), (">", "gt"), ('"', "quot"), ("'", "apos"), ("&", "amp")):
                value = value.replace(f"&{name};", letter)
            element.set(key, value)


def _serialize(root: Element) -> str:
    return ElementTree.tostring(root, encoding="unicode").rstrip("\n") + "\n"


def _mark(root: Element, record: Record) -> None:
    """Put our mark into a domain's XML: what it was made from."""
    metadata = root.find("metadata")
    if metadata is None:
        metadata = Element("metadata")
        metadata.tail = "\n  "
        root.insert(1, metadata)
    for old in metadata.findall(MARK):
        metadata.remove(old)
    metadata.insert(0, mark_of(record))


class Answers:
    """Answers of virt-install in one run of a fleet, for machines that are alike but for words of their own.

    When two machines, each for itself, have had the same answer but for these words, the next need not ask.
    """

    def __init__(self) -> None:
        self._once: dict[str, str] = {}
        self._twice: dict[str, str] = {}
        self._lock = threading.Lock()

    def take(self, question: str, own: dict[str, str]) -> str | None:
        """Return the answer to a machine, from those of others."""
        with self._lock:
            found = self._twice.get(question)
        if found is None or any(word not in found for word in own.values()):
            return None
        for value, word in own.items():
            found = found.replace(word, escape(value))
        return found

    def give(self, question: str, answer: str, own: dict[str, str]) -> None:
        """Keep the answer to a machine, with its own words taken out."""
        root = parse(answer, "virt-install's answer")
        for element in root.iter():
            for key, value in element.attrib.items():
                if (element.tag, key) in (("mac", "address"), ("source", "file")):
                    element.set(key, own.get(value, value))
            if element.tag in ("name", "uuid") and element.text:
                element.text = own.get(element.text, element.text)
        text = ElementTree.tostring(root, encoding="unicode")
        with self._lock:
            if self._once.get(question) == text:
                self._twice[question] = text
            self._once[question] = text


def _own(vm: Vm, volumes: Volumes) -> dict[str, str]:
    """Return the machine's own words in the answer, and what stands for each; none of these begins another."""
    own = {vm.domain.name: "vmp-own-name-", vm.domain.uuid: "vmp-own-uuid-"}
    own.update({mac: f"vmp-own-mac-{number}-" for number, mac in enumerate(vm.domain.macs)})
    for number, volume in enumerate(vm.volumes):
        facts = volumes[volume.key]
        if facts and volume.key in vm.domain.volumes:
            own[facts.path] = f"vmp-own-volume-{number}-"
    return own


def _question(vm: Vm, volumes: Volumes) -> str:
    """Return all that virt-install's answer depends on, without the machine's own words."""
    words = []
    for word in vm.domain.virt_install:
        if word in (f"--name={vm.domain.name}", f"--uuid={vm.domain.uuid}"):
            word = word.partition("=")[0]
        for number, mac in enumerate(vm.domain.macs):
            if word.startswith("--network="):
                word = word.replace(f"mac={mac}", f"mac=<{number}>")
        for number, volume in enumerate(vm.volumes):
            if word.startswith("--disk="):
                word = f"{word},".replace(f"vol={volume.key},", f"vol=<{number}>,")[:-1]
        words.append(word)
    for volume in vm.volumes:
        facts = volumes[volume.key]
        pool = "" if any(pool.name == volume.pool for pool in vm.pools) else volume.pool
        words += [pool, _driver(facts) if facts else "", volume.format]
    return "\0".join([vm.uri, *words])
