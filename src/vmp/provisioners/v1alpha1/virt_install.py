"""The domain as virt-install's argument vector (https://github.com/virt-manager/virt-manager, man/virt-install)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from vmp.provisioners.v1alpha1.identity import digest, domain_uuid, given_uuid, mac_address
from vmp.provisioners.v1alpha1.on_off import is_on_off
from vmp.provisioners.v1alpha1.options import PLAIN_OPTIONS, split_suboptions, uses
from vmp.provisioners.v1alpha1.plan import Domain, Item, Plan

_INSTALL_METHODS = ("cdrom", "import", "install", "location", "pxe", "reinstall", "unattended")
_NOT_OPTIONS = ("autostart",)
_SPECIAL = re.compile("""[,'\"\\\\]""")
_SECRET = re.compile("passw|secret|token", re.IGNORECASE)
_PASSWORD = re.compile(r"(.*\.)?passw(or)?d", re.IGNORECASE)


class Words(list[str]):
    """The words of the command line, and beside them what else is known of them.

    ``names`` has what the registry calls each word, `data` of the disks, or ''; ``secrets`` the passwords for which
    placeholders stand in the words; ``macs`` the derived MAC addresses.
    """

    def __init__(self, plan: Plan, others: Mapping[str, str]) -> None:
        self.secrets: dict[str, str] = {}
        self.macs: list[str] = []
        self.names: list[str] = []
        self._plan = plan
        self._others = others

    def placeholder(self, value: str) -> str:
        """Return what stands for a password, so that no process list shows it."""
        known = next((found for found, password in self._others.items() if password == value), "")
        number = len(self._others) + len(self.secrets)
        found = known or f"secret-{digest('secret', self._plan, str(number)).hex()[:32]}"
        self.secrets[found] = value
        return found


def virt_install_arguments(plan: Plan, others: Mapping[str, str] = MappingProxyType({})) -> Words:
    """Return the options that describe the domain, in the order of the registry.

    ``others`` are the passwords in other options of this VM, by their placeholders.
    """
    words = Words(plan, others)
    for name, word in _arguments(plan, words):
        words.append(word)
        words.names.append(name)
    return words


def _arguments(plan: Plan, words: Words) -> Iterator[tuple[str, str]]:
    """Yield the words, each with the name that it has in a list of the registry."""
    options = plan.domain.options
    yield "", f"--name={plan.domain.name}"
    if given_uuid(plan.domain) is None:
        yield "", f"--uuid={domain_uuid(plan)}"
    for option, value in options.items():
        if option in _NOT_OPTIONS:
            continue
        if value is True:
            yield "", f"--{option}"
        elif isinstance(value, str):
            text = value if option in PLAIN_OPTIONS else _without_passwords(value, words)
            yield "", f"--{option}={text}{_derived_mac(plan, words) if option == 'network' else ''}"
        elif isinstance(value, tuple):
            for item in value:
                for text in _item(option, item, plan, words):
                    yield item.name, f"--{option}={text}"
    if not any(method in options for method in _INSTALL_METHODS):
        yield "", "--import"


def _derived_mac(plan: Plan, words: Words) -> str:
    """Return the MAC address for a network that is given as text and has none."""
    ((_, suboptions),) = uses(plan.domain.options, "network")
    if {"mac", "mac.address", "none"} & suboptions.keys() or not suboptions:
        return ""
    words.macs.append(mac_address(plan, "default"))
    return f",mac={words.macs[-1]}"


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


def _item(option: str, item: Item, plan: Plan, words: Words) -> Iterator[str]:
    """Yield the texts of one item: one, but where virt-install takes all behind the first `=` as it is."""
    suboptions = {key: _word(option, key, value) for key, value in item.suboptions.items()}
    suboptions = {key: value for key, value in suboptions.items() if value is not False}
    if option == "network" and not {"mac", "mac.address", "none"} & suboptions.keys():
        words.macs.append(mac_address(plan, item.name))
        suboptions["mac"] = words.macs[-1]
    for key, value in suboptions.items():
        if value is not True and _PASSWORD.fullmatch(key):
            suboptions[key] = words.placeholder(str(value))
    whole = {key: value for key, value in suboptions.items() if _is_taken_whole(option, key)}
    for key, value in whole.items():
        if option == "xml" and "=" in str(value):  # virt-install would split at the last one
            yield f"xpath.set={_suboption(key)},xpath.value={_suboption(str(value))}"
        else:
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


_VARIABLE_OPTIONS = ("cdrom", "location", "install", "unattended", "reinstall", "pxe", "hostdev", "host-device")


def asks_each_time(plan: Plan) -> bool:
    """Tell whether virt-install finds something out on the node: media, devices, disks that are not declared here."""
    declared = {volume.key for volume in plan.volumes}
    if any(disk.volume not in declared for disk in plan.domain.disks):
        return True
    return any(option.startswith(_VARIABLE_OPTIONS) for option in plan.domain.options)


def autostarts(domain: Domain) -> bool:
    """Tell whether the domain starts with its node; virt-install's own option has no place in the XML."""
    return domain.options.get("autostart") is True


def has_secret(domain: Domain) -> bool:
    """Tell whether an option holds a password, such as that of a graphical console."""
    for option, value in domain.options.items():
        keys = [key for item in value for key in item.suboptions] if isinstance(value, tuple) else [str(value)]
        if any(_SECRET.search(key) for key in (option, *keys)):
            return True
    return False
