"""What tells a domain from others: its UUID and MAC addresses, derived from the names of its node and VM.

So the same registry makes the same machine everywhere, and the UUID tells our domain from another of that name.
"""

from __future__ import annotations

import hashlib

from vmp.provisioners.v1alpha1.plan import Domain, Plan


def domain_uuid(plan: Plan) -> str:
    """Return the UUID of the domain: as the registry says, or a version 8 UUID (RFC 9562) of the names."""
    given = given_uuid(plan.domain)
    if given is not None:
        return given.lower()
    found = bytearray(digest("domain", plan)[:16])
    found[6] = found[6] & 0x0F | 0x80
    found[8] = found[8] & 0x3F | 0x80
    text = found.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def given_uuid(domain: Domain) -> str | None:
    """Return the UUID that the registry gives the domain, if any."""
    found = domain.options.get("uuid")
    metadata = domain.options.get("metadata")
    for item in metadata if isinstance(metadata, tuple) else ():
        found = item.suboptions.get("uuid", found)
    return found if isinstance(found, str) else None


def mac_address(plan: Plan, interface: str) -> str:
    """Return the locally administered MAC address of an interface, 40 bits of it from the names."""
    return ":".join(f"{byte:02x}" for byte in (0x52, *digest("mac", plan, interface)[:5]))


def mac_of(plan: Plan, interface: str) -> str:
    """Return the MAC address of an interface, given or derived; '' where virt-install draws it, or there is none."""
    for found in plan.domain.interfaces:
        if found.name == interface:
            return "" if found.mac.lower() == "random" else found.mac.lower() or mac_address(plan, interface)
    return ""


def digest(purpose: str, plan: Plan, *more: str) -> bytes:
    """Return what only this VM of this node has for this purpose."""
    parts = (purpose, plan.node.name, plan.name, *more)
    return hashlib.sha256("\0".join(parts).encode()).digest()
