"""The options of virt-install, read as virt-install does: their suboptions, and the disks and networks they give."""

from __future__ import annotations

import re
from typing import NamedTuple

from vmp.provisioners.v1alpha1.plan import Disk, Interface, Options

PLAIN_OPTIONS = frozenset("arch cdrom description extra-args initrd-inject machine uuid virt-type wait".split())
"""Options whose value virt-install does not split at commas."""

_QUOTES = re.compile("['\"\\\\]")


class Use(NamedTuple):
    """One use of an option: what the registry calls it, and its suboptions, '' for a bare one."""

    name: str
    suboptions: dict[str, str]


def split_suboptions(text: str) -> list[str]:
    """Split as virt-install does (virtinst/cli.py, parse_optstr_tuples); ValueError where a quote is not closed."""
    if not _QUOTES.search(text):
        return [part for part in text.split(",") if part]
    import shlex  # only quotes pay for it

    splitter = shlex.shlex(text, posix=True)
    splitter.commenters, splitter.whitespace, splitter.whitespace_split = "", ",", True
    return list(splitter)


def uses(options: Options, option: str) -> list[Use]:
    """Return each use of an option, whether the registry has it as a list or as text; none where a quote is open."""
    value = options.get(option)
    if isinstance(value, tuple):
        return [
            Use(
                item.name,
                {key: "" if word is True else str(word) for key, word in item.suboptions.items() if word is not False},
            )
            for item in value
        ]
    if isinstance(value, str):
        try:
            pairs = [part.partition("=") for part in split_suboptions(value)]
        except ValueError:
            return []  # check_options reports it
        return [Use(option, {key: word for key, _, word in pairs})]
    return []


def disks_of(options: Options) -> tuple[Disk, ...]:
    """Return the disks that the options give the domain."""
    found = []
    for _, suboptions in uses(options, "disk"):
        if "none" not in suboptions:
            read_only = suboptions.get("readonly", "no") in ("", "on", "yes") or suboptions.get("device") == "cdrom"
            found.append(Disk(suboptions.get("vol", ""), read_only))
    return tuple(found)


def interfaces_of(options: Options) -> tuple[Interface, ...]:
    """Return the network interfaces that the options give the domain."""
    found = []
    as_text = not isinstance(options.get("network"), tuple)
    for name, suboptions in uses(options, "network"):
        if "none" not in suboptions:
            mac = suboptions.get("mac") or suboptions.get("mac.address", "")
            found.append(Interface("default" if as_text else name, _network_of(suboptions), mac))
    return tuple(found)


def networks_of(options: Options) -> tuple[str, ...]:
    """Return the networks of libvirt that the domain's interfaces are on."""
    found = [_network_of(suboptions) for _, suboptions in uses(options, "network")]
    return tuple(dict.fromkeys(filter(None, found)))


def _network_of(suboptions: dict[str, str]) -> str:
    """Return the network of libvirt that an interface is on, or ''."""
    kind = suboptions.get("type") or next((key for key, word in suboptions.items() if not word), "")
    name = suboptions.get("network", "")
    if kind == "network" or suboptions.get("type") == "network":
        return suboptions.get("source", name)
    if kind.startswith("network:"):
        return kind.partition(":")[2]
    return "default" if kind == "default" and not name else name
