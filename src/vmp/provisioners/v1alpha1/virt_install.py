"""The domain as virt-install's argument vector (https://github.com/virt-manager/virt-manager, man/virt-install).

A domain's UUID and MAC addresses are derived from the names of its node and VM, so the same registry
makes the same machine everywhere, and a domain of the same name that is not ours shows by its UUID.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from vmp.configuration import Configuration
from vmp.provisioners.v1alpha1.on_off import is_on_off
from vmp.schema import VmEntry
from vmp.virt_install import Item

_INSTALL_METHODS = ("cdrom", "import", "install", "location", "pxe", "reinstall", "unattended")
_NOT_OPTIONS = ("autostart",)
_SPECIAL = re.compile("""[,'\"\\\\]""")
_SECRET = re.compile("passw|secret|token", re.IGNORECASE)
_PASSWORD = re.compile(r"(.*\.)?passw(or)?d", re.IGNORECASE)
PLAIN_OPTIONS = frozenset("arch cdrom description extra-args initrd-inject machine uuid virt-type wait".split())
"""Options whose value virt-install does not split at commas."""


class Words(list[str]):
    """The words of the command line, the passwords for which placeholders stand in them, and derived MAC addresses."""

    def __init__(self, configuration: Configuration) -> None:
        self.secrets: dict[str, str] = {}
        self.macs: list[str] = []
        self._configuration = configuration

    def placeholder(self, value: str) -> str:
        """Return what stands for a password, so that no process list shows it."""
        found = f"secret-{_digest('secret', self._configuration, str(len(self.secrets))).hex()[:32]}"
        self.secrets[found] = value
        return found


def virt_install_arguments(configuration: Configuration) -> Words:
    """Return the options that describe the domain, in the order of the registry."""
    words = Words(configuration)
    words.extend(_arguments(configuration, words))
    return words


def _arguments(configuration: Configuration, words: Words) -> Iterator[str]:
    options = configuration.vm.libvirt.domain.virt_install
    yield f"--name={configuration.vm.libvirt.domain.name}"
    if given_uuid(configuration.vm) is None:
        yield f"--uuid={domain_uuid(configuration)}"
    for option, value in options.items():
        if option in _NOT_OPTIONS:
            continue
        if value is True:
            yield f"--{option}"
        elif isinstance(value, str):
            text = value if option in PLAIN_OPTIONS else _without_passwords(value, words)
            yield f"--{option}={text}{_derived_mac(configuration, words) if option == 'network' else ''}"
        elif isinstance(value, tuple):
            for item in value:
                for text in _item(option, item, configuration, words):
                    yield f"--{option}={text}"
    if not any(method in options for method in _INSTALL_METHODS):
        yield "--import"


def _derived_mac(configuration: Configuration, words: Words) -> str:
    """Return the MAC address for a network that is given as text and has none."""
    (suboptions,) = _options_of(configuration.vm, "network")
    if {"mac", "mac.address", "none"} & suboptions.keys() or not suboptions:
        return ""
    words.macs.append(mac_address(configuration, "default"))
    return f",mac={words.macs[-1]}"


def split_suboptions(text: str) -> list[str]:
    """Split as virt-install does (virtinst/cli.py, parse_optstr_tuples); ValueError where a quote is not closed."""
    import shlex  # only passwords and quotes pay for it

    splitter = shlex.shlex(text, posix=True)
    splitter.commenters, splitter.whitespace, splitter.whitespace_split = "", ",", True
    return list(splitter)


def _without_passwords(text: str, words: Words) -> str:
    pairs = [part.partition("=") for part in split_suboptions(text)] if _SECRET.search(text) else []
    if not any(_PASSWORD.fullmatch(key) for key, _, _ in pairs):
        return text
    return ",".join(
        [
            f"{key}={words.placeholder(value) if _PASSWORD.fullmatch(key) else _suboption(value)}"
            if equals
            else _suboption(key)
            for key, equals, value in pairs
        ]
    )


def _item(option: str, item: Item, configuration: Configuration, words: Words) -> Iterator[str]:
    """Yield the texts of one item: one, but where virt-install takes all behind the first `=` as it is."""
    suboptions = {key: _word(option, key, value) for key, value in (item.options or {}).items()}
    suboptions = {key: value for key, value in suboptions.items() if value is not False}
    if option == "network" and not {"mac", "mac.address", "none"} & suboptions.keys():
        words.macs.append(mac_address(configuration, item.name))
        suboptions["mac"] = words.macs[-1]
    for key, value in suboptions.items():
        if value is not True and _PASSWORD.fullmatch(key):
            suboptions[key] = words.placeholder(str(value))
    whole = {key: value for key, value in suboptions.items() if _is_taken_whole(option, key)}
    for key, value in whole.items():
        yield key if value is True else f"{key}={value}"
    rest = {key: value for key, value in suboptions.items() if key not in whole}
    if rest:
        yield ",".join([key if value is True else f"{key}={_suboption(str(value))}" for key, value in rest.items()])


def _word(option: str, key: str, value: str | bool) -> str | bool:
    """Return `on` and `off` for true and false, where virt-install wants these words."""
    return ("on" if value else "off") if isinstance(value, bool) and is_on_off(option, key) else value


def _is_taken_whole(option: str, key: str) -> bool:
    """Tell whether virt-install splits nothing here: `--xml ./…=…`, and arguments for QEMU (virtinst/cli.py)."""
    return option == "qemu-commandline" or (option == "xml" and not key.startswith("xpath."))


def _suboption(value: str) -> str:
    """Quote a value as virt-install splits it: by Python's shlex, with the comma for white space.

    A doubled comma, as older manuals have it, is read as one by a few suboptions only, and breaks the others.
    """
    if not _SPECIAL.search(value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def domain_uuid(configuration: Configuration) -> str:
    """Return the UUID of the domain: as the registry says, or a version 8 UUID (RFC 9562) of the names."""
    given = given_uuid(configuration.vm)
    if given is not None:
        return given.lower()
    found = bytearray(_digest("domain", configuration)[:16])
    found[6] = found[6] & 0x0F | 0x80
    found[8] = found[8] & 0x3F | 0x80
    text = found.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def given_uuid(vm: VmEntry) -> str | None:
    """Return the UUID that the registry gives the domain, if any."""
    options = vm.libvirt.domain.virt_install
    found = options.get("uuid")
    metadata = options.get("metadata")
    for item in metadata if isinstance(metadata, tuple) else ():
        found = (item.options or {}).get("uuid", found)
    return found if isinstance(found, str) else None


def mac_address(configuration: Configuration, interface: str) -> str:
    """Return the locally administered MAC address of an interface, 40 bits of it from the names."""
    return ":".join(f"{byte:02x}" for byte in (0x52, *_digest("mac", configuration, interface)[:5]))


def _digest(purpose: str, configuration: Configuration, *more: str) -> bytes:
    parts = (purpose, configuration.node.name, configuration.vm.name, *more)
    return hashlib.sha256("\0".join(parts).encode()).digest()


def used_networks(vm: VmEntry) -> list[str]:
    """Return the libvirt networks that the domain's interfaces are on."""
    found: list[str] = []
    for suboptions in _options_of(vm, "network"):
        kind = suboptions.get("type") or next((key for key, word in suboptions.items() if not word), "")
        name = suboptions.get("network", "")
        if kind == "network" or suboptions.get("type") == "network":
            name = suboptions.get("source", name)
        elif kind.startswith("network:"):
            name = kind.partition(":")[2]
        elif kind == "default" and not name:
            name = "default"
        found += [name] if name else []
    return list(dict.fromkeys(found))


def used_disks(vm: VmEntry) -> list[tuple[str, bool]]:
    """Return the volumes that are disks of the domain, as POOL/NAME, and whether the guest cannot write to them."""
    found = []
    for suboptions in _options_of(vm, "disk"):
        if volume := suboptions.get("vol", ""):
            read_only = suboptions.get("readonly", "no") in ("", "on", "yes") or suboptions.get("device") == "cdrom"
            found.append((volume, read_only))
    return found


_VARIABLE_OPTIONS = ("cdrom", "location", "install", "unattended", "reinstall", "pxe", "hostdev", "host-device")


def asks_each_time(vm: VmEntry) -> bool:
    """Tell whether virt-install finds something out on the node: media, devices, disks that are not declared here."""
    declared = {f"{volume.pool_name}/{volume.name}" for volume in vm.libvirt.volumes}
    disks = _options_of(vm, "disk")
    if any(disk.get("vol") not in declared and "none" not in disk for disk in disks):
        return True
    return any(option.startswith(_VARIABLE_OPTIONS) for option in vm.libvirt.domain.virt_install)


def _options_of(vm: VmEntry, option: str) -> list[dict[str, str]]:
    """Return the suboptions of each use of an option, whether the registry has it as a list or as text."""
    value = vm.libvirt.domain.virt_install.get(option)
    if isinstance(value, tuple):
        return [
            {key: "" if word is True else str(word) for key, word in (item.options or {}).items() if word is not False}
            for item in value
        ]
    if isinstance(value, str):
        pairs = [part.partition("=") for part in split_suboptions(value)]
        return [{key: word for key, _, word in pairs}]
    return []


def autostarts(vm: VmEntry) -> bool:
    """Tell whether the domain starts with its node; virt-install's own option has no place in the XML."""
    return vm.libvirt.domain.virt_install.get("autostart") is True


def has_secret(vm: VmEntry) -> bool:
    """Tell whether an option holds a password, such as that of a graphical console."""
    for option, value in vm.libvirt.domain.virt_install.items():
        keys = [key for item in value for key in item.options or {}] if isinstance(value, tuple) else [str(value)]
        if any(_SECRET.search(key) for key in (option, *keys)):
            return True
    return False
