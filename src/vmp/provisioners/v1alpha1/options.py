"""The options of virt-install, read as virt-install does: their suboptions, and the disks and networks they give."""

from __future__ import annotations

import re
from typing import NamedTuple

from vmp.provisioners.v1alpha1.plan import Disk, Options

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


def networks_of(options: Options) -> tuple[str, ...]:
    """Return the networks of libvirt that the domain's interfaces are on."""
    found: list[str] = []
    for _, suboptions in uses(options, "network"):
        kind = suboptions.get("type") or next((key for key, word in suboptions.items() if not word), "")
        name = suboptions.get("network", "")
        if kind == "network" or suboptions.get("type") == "network":
            name = suboptions.get("source", name)
        elif kind.startswith("network:"):
            name = kind.partition(":")[2]
        elif kind == "default" and not name:
            name = "default"
        found += [name] if name else []
    return tuple(dict.fromkeys(found))
