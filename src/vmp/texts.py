"""The judges of single texts: what a name, a path, a URL, a host or a capacity must look like.

They know nothing of the schema, so a version of the provisioner may ask them, too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

Judgement: TypeAlias = "tuple[str, str | None] | None"
"""None where a text is fine, else what is wrong and how to put it right."""

FIXED_VARIABLES = ("IMAGE_FORMAT", "IMAGE_NAME", "IMAGE_TAG", "IMAGE_URL", "IMAGE_VOLUME_NAME", "NODE_NAME", "VM_NAME")
"""Variables that vmp computes for each VM; ``vars`` cannot set them."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CAPACITY = re.compile(r"(?=.*[1-9])[0-9]+(b|bytes?|[kmgtpe](i?b)?)?", re.IGNORECASE)
_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}")
_LABEL = re.compile("[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_DOMAIN = re.compile(rf"{_LABEL.pattern}(\.{_LABEL.pattern})*")
_HOST = re.compile(r"[\w.:%@+][\w.:%@+-]*")
"""A host or user: ssh hands them on to a shell where a node is in between (see CVE-2023-51385)."""


def check_variable_name(name: str) -> Judgement:
    """Judge a key of ``vars``."""
    if not _VARIABLE.fullmatch(name):
        return f"{name!r} is not a variable's name", "letters, digits and _ only, not beginning with a digit"
    if name in FIXED_VARIABLES:
        return f"{name!r} is computed by vmp and cannot be set", "choose another name"
    return None


def check_name(name: str) -> Judgement:
    """Judge what becomes a directory's and a domain's name (libvirt takes any but ``/`` and newline)."""
    wrong = None
    if not name:
        wrong = "is empty"
    elif "/" in name:
        wrong = "has a '/'"
    elif not name.isprintable():
        wrong = "has a character that cannot be printed"
    elif name[0] in ".-":
        wrong = f"begins with {name[0]!r}"
    elif name != name.strip():
        wrong = "begins or ends with a space"
    elif len(name.encode(errors="replace")) > 200:
        wrong = "is longer than 200 bytes"
    return None if wrong is None else (f"the name {name[:80]!r} {wrong}", "it becomes a directory and a libvirt domain")


def check_object_name(name: str) -> Judgement:
    """Judge the name of a pool or volume."""
    if not name or "/" in name or name in (".", "..") or not name.isprintable() or name != name.strip():
        return f"{name!r} cannot name a pool or volume", "it becomes a file name: printable, not empty, without '/'"
    if len(name.encode(errors="replace")) > 200:
        return f"{name[:80]!r}… cannot name a pool or volume", "it becomes a file name: 200 bytes at most"
    return None


def check_network_name(name: str) -> Judgement:
    """Judge the name of a network: libvirt and dnsmasq name their files after it."""
    if not name or "/" in name or name in (".", "..") or not name.isprintable() or name != name.strip():
        return f"{name!r} cannot name a network", "printable, not empty, without '/' and without spaces around it"
    if len(name.encode(errors="replace")) > 200:
        return f"{name[:80]!r}… cannot name a network", "200 bytes at most"
    return None


def check_device(name: str) -> Judgement:
    """Judge the name of a bridge or another device of the kernel, which takes 15 bytes (IFNAMSIZ)."""
    if _DEVICE.fullmatch(name) and name not in (".", ".."):
        return None
    help_ = "1 to 15 characters: letters and digits of ASCII, and . _ - but not at its beginning"
    return f"{name[:80]!r} cannot name a bridge or device", help_


def check_address(text: str) -> Judgement:
    """Judge an address of IPv4 or IPv6, without a prefix and without a zone."""
    return None if address_of(text) else (f"{text!r} is not an IP address", "like 10.20.0.11 or fd00:20::11")


def address_of(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a text spells; None where it spells none."""
    import ipaddress  # only registries with networks pay for it

    try:
        return None if "%" in text else ipaddress.ip_address(text)
    except ValueError:
        return None


def check_prefix(text: str) -> Judgement:
    """Judge the length of a prefix; whether it fits its address is judged beside that."""
    if re.fullmatch("[1-9][0-9]{0,2}", text) and int(text) <= 128:
        return None
    return f"{text!r} is not the length of a prefix", "a number of bits, like 24, or 64 with IPv6"


def check_mtu(text: str) -> Judgement:
    """Judge an MTU: the kernel takes 68 to 65535 bytes for a bridge."""
    if re.fullmatch("[1-9][0-9]{1,4}", text) and 68 <= int(text) <= 65535:
        return None
    return f"{text!r} is not an MTU", "a whole number of bytes, from 68 to 65535"


def check_host_name(name: str) -> Judgement:
    """Judge a name that DNS answers to, one label or several (RFC 1123)."""
    if _DOMAIN.fullmatch(name) and len(name) <= 253:
        return None
    return f"{name[:80]!r} is not a name that DNS can have", "letters, digits and '-', in parts joined by dots"


def check_guest_name(name: str) -> Judgement:
    """Judge the name that DHCP gives a guest: one label, which must begin with a letter (libvirt, network_conf.c)."""
    if _LABEL.fullmatch(name) and name[0].isalpha():
        return None
    help_ = "letters, digits and '-', 63 at most, beginning with a letter; no dots: the network adds its domain"
    return f"{name[:80]!r} cannot be the host name of a reservation", help_


def check_network_xml(text: str) -> Judgement:
    """Judge the XML of a network: it must be well-formed, and its root `<network>`."""
    from xml.etree import ElementTree  # only a registry with such XML pays for it

    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return "the XML of a network declares a document type", "write it without <!DOCTYPE and <!ENTITY"
    if found := re.search(r"""\A\s*<\?xml[^>]*encoding=["'](?!utf-8["'])([^"']*)""", text, re.IGNORECASE):
        return f"the XML of a network says that it is {found[1]!r}", "it is written as UTF-8; leave out encoding="
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        return f"not XML: {error}", "a whole <network> element, as virsh net-dumpxml prints it"
    if root.tag != "network":
        return f"the XML of a network is <{root.tag}>, not <network>", "as virsh net-dumpxml prints it"
    return None


def check_url(url: str) -> Judgement:
    """Judge what curl is to download: curl refuses white space, and reads `@FILE` as a list of URLs from 8.13 on."""
    if not url:
        return "it is empty", None
    if re.search(r"[\x00-\x20\x7f-\xa0\u2028\u2029]", url):
        return f"{url!r} is not a URL: it has white space or a control character", "write a space as %20"
    if url[0] in "@-":
        return f"{url!r} is not a URL: it begins with {url[0]!r}", "like https://example.org/disk.qcow2"
    return None


def check_member(path: str) -> Judgement:
    """Judge the path of an archive's member: 7z takes `@` for a list of files and `-` for an option."""
    if not path or path[0] in "@-" or not path.isprintable():
        return f"{path!r} cannot name a member of an archive", "not empty, printable, not beginning with '@' or '-'"
    return None


def check_not_empty(text: str) -> Judgement:
    """Judge a text of which only emptiness is wrong."""
    return None if text else ("it is empty", None)


def check_password(text: str) -> Judgement:
    """Judge a password: ssh reads the first line of what askpass prints, of at most 1023 bytes."""
    if text and "\n" not in text and "\r" not in text and len(text.encode(errors="replace")) < 1000:
        return None
    return "not a password that ssh can be given", "one line, not empty, shorter than 1000 bytes"


def check_image_name(name: str) -> Judgement:
    """Judge the name of an image, which references split at the first colon."""
    if not name or ":" in name:
        return f"{name!r} cannot name an image", "not empty, and without ':', which separates the tag"
    return None


def check_pattern(pattern: str) -> Judgement:
    """Judge a tag pattern."""
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return f"not a regular expression: {error}", "the syntax is that of Python's re module"
    return None


def check_capacity(text: str) -> Judgement:
    """Judge a size in virsh's units (https://libvirt.org/manpages/virsh.html, "NOTES")."""
    if _CAPACITY.fullmatch(text) and text.isascii():
        return None
    return f"{text!r} is not a capacity", "write it like 12GiB, 12G or a number of bytes"


def check_directory(path: str) -> Judgement:
    """Judge the directory of a pool, a path on the node."""
    if not path.startswith("/") or path.startswith("//") or not path.isprintable():
        return f"{path!r} is not an absolute path", "a pool's directory is a path on the node that begins with '/'"
    if is_too_long(path):
        return f"the path {path[:80]!r}… is too long", "255 bytes at most between two slashes, 1000 in all"
    return None


def is_too_long(path: str, part: int = 255) -> bool:
    """Tell whether a path is longer than file systems take (with room for the directory that it is relative to)."""
    parts = path.encode(errors="replace").split(b"/")
    return max(map(len, parts)) > part or sum(map(len, parts)) > 1000


def check_host(text: str) -> Judgement:
    """Judge what ssh gets as user or host: it must not pass for an option."""
    if _HOST.fullmatch(text):
        return None
    return f"{text!r} cannot be passed to ssh", "letters, digits and . _ : % @ + only, not beginning with '-'"


def check_ssh_option(name: str) -> Judgement:
    """Judge the name of an ssh_config option."""
    if re.fullmatch("[A-Za-z][A-Za-z0-9]*", name):
        return None
    return f"{name!r} is not an option of ssh_config", "like StrictHostKeyChecking"
