"""virt-install's options: which of them a registry may give, and how they are decoded.

What a version of the provisioner makes of them is its own affair.
"""

from __future__ import annotations

from vmp.nodes import Mapping, Node, Sequence, describe, is_null
from vmp.shapes import (
    PATCH,
    Decoding,
    JsonSchema,
    ListOf,
    Options,
    Path,
    Record,
    Shape,
    Text,
    option_scalar,
    optional,
    record,
    required,
    show,
)
from vmp.texts import check_not_empty

VIRT_INSTALL_OPTIONS = frozenset(
    """arch audio autoconsole autostart blkiotune boot cdrom channel check clock cloud-init console container controller
    cpu cputune description destroy-on-exit disk events extra-args features filesystem graphics host-device hostdev hvm
    idmap import initrd-inject input install iommu iothreads keywrap launchSecurity launchsecurity location machine
    memballoon memdev memory memorybacking memtune metadata network noautoconsole nodisks nographics nonetworks noreboot
    numatune os-variant osinfo panic parallel paravirt pm pstore pxe qemu-commandline redirdev reinstall resource rng
    seclabel security serial shmem smartcard sound sysinfo throttle-groups tpm unattended uuid vcpus video
    virt-type vsock wait watchdog xml""".split()
)
"""The options of virt-install 2 to 5 that describe a domain."""

FORMER_OPTIONS = {
    "accelerate": "leave it out: KVM is used where it is there",
    "file": "write 'disk'",
    "file-size": "write 'disk', and the capacity in libvirt.volumes",
    "mac": "write it in 'network': {mac: 52:54:00:12:34:56}",
    "maxvcpus": "write 'vcpus': \"2,maxvcpus=4\"",
    "os-type": "leave it out: 'osinfo' says it",
    "os_type": "leave it out: 'osinfo' says it",
    "ram": "write 'memory'",
    "vnc": "write 'graphics': vnc",
}
"""Options that virt-install had once, or that are another option's, and what to write today."""

RESERVED_OPTIONS = {
    "connect": "the connection comes from the VM's node",
    "debug": "'make up V=1' shows the command of virt-install",
    "dry-run": "the provisioner decides how virt-install runs",
    "name": "the name comes from libvirt.domain.name",
    "print-step": "the provisioner decides how virt-install runs",
    "print-xml": "the provisioner decides how virt-install runs",
    "quiet": "the provisioner decides how virt-install runs",
    "transient": "the provisioner defines the domain",
}
"""Options of virt-install that a provisioner gives itself, and why."""


@record
class Item:
    """One use of an option that may be given several times, such as a disk."""

    name: str = required(
        Text("a name", check_not_empty), "What merging knows it by; virt-install never sees it.", always=True
    )
    options: dict[str, str | bool] | None = optional(
        Options(),
        "Suboptions: a string or number gives `key=value`, true gives `key`, false or null leaves it out. Where "
        "virt-install wants `on` or `off`, true and false give these. `options: null` drops the whole item.",
    )


class VirtInstall(Shape["dict[str, str | bool | tuple[Item, ...]]"]):
    """virt-install's options in the order of the registry."""

    wanted = "a mapping"
    items = ListOf(Record(Item))

    def decode(self, node: Node, path: Path, decoding: Decoding) -> dict[str, str | bool | tuple[Item, ...]]:
        if not isinstance(node, Mapping):
            decoding.wrong_type(node, self.wanted, path)
            return {}
        found: dict[str, str | bool | tuple[Item, ...]] = {}
        for option, (key, value) in node.entries.items():
            if option in RESERVED_OPTIONS:
                decoding.error("reserved-option", f"{option!r} cannot be set", key, RESERVED_OPTIONS[option])
            elif option not in VIRT_INSTALL_OPTIONS:
                message = f"unknown key {option!r} in {'.'.join(path)}"
                help_ = FORMER_OPTIONS.get(option) or decoding.report.nearest(option, VIRT_INSTALL_OPTIONS)
                decoding.error("unknown-key", message, key, help_)
            if isinstance(value, Sequence):
                for item in value.items:
                    if not isinstance(item, Mapping):
                        shown = f"{show((*path, option))}[] is {describe(item)}, not a mapping"
                        decoding.error("wrong-type", shown, item, "write it as {name: NAME, options: {KEY: VALUE}}")
                value = Sequence(tuple([item for item in value.items if isinstance(item, Mapping)]), value.span)
                items = self.items.decode(value, (*path, option), decoding)
                found[option] = tuple([item for item in items if item is not None and item.options is not None])
            elif isinstance(value, Mapping):
                message = f"{show((*path, option))} is a mapping, not a string, a number, a boolean or a list"
                pairs = ", ".join([f"{name}: …" for name in list(value.entries)[:3]])
                help_ = f"write it as a list: [{{name: {option}, options: {{{pairs}}}}}]"
                decoding.error("wrong-type", message, value, help_)
            elif not is_null(value) and (decoded := option_scalar(value)) is not False:
                found[option] = decoded
        return found

    def json_schema(self, definitions: dict[str, JsonSchema]) -> JsonSchema:
        either: JsonSchema = {
            "anyOf": [{"type": ["string", "number", "boolean", "null"]}, self.items.json_schema(definitions)]
        }
        return {
            "type": "object",
            "properties": {**dict.fromkeys(sorted(VIRT_INSTALL_OPTIONS), either), "$patch": PATCH},
            "additionalProperties": False,
        }

    def summary(self) -> str:
        return "mapping to string \\| number \\| boolean \\| list of [Item](#item)"
