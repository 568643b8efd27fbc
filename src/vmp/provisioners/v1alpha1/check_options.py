"""What virt-install or libvirt would refuse, cut off, change or misunderstand, said at the word in the registry."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from vmp.diagnostics import Report, Span, nearest
from vmp.nodes import Mapping, Node, Sequence
from vmp.provisioners.v1alpha1.on_off import is_on_off
from vmp.provisioners.v1alpha1.options import PLAIN_OPTIONS, split_suboptions, uses
from vmp.provisioners.v1alpha1.places import DOMAIN, at, place_of
from vmp.provisioners.v1alpha1.plan import Plan

_NOT_IN_XML = re.compile("[\0-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
"""What XML 1.0 has no way to write, DEL, and the carriage return, which every reader of XML turns into a newline.

(XML names what is allowed; a class of that, negated, takes 6 ms to compile.)"""

_SERIAL = re.compile("[A-Za-z0-9_ .+-]*")
"""What libvirt allows in the serial number of a disk (qemu_validate.c)."""

_MAC = re.compile("([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}")
_CPU_MODES = ("host-passthrough", "host-model", "maximum")
_CPU_WORDS = ("host-passthrough", "host-model", "host-model-only", "host", "none")
"""What virt-install takes for a mode where the model stands; any other word is a model to it."""


_INSTALLERS = {
    "location": "its kernel is deleted before the domain starts",
    "install": "its kernel is deleted before the domain starts",
    "unattended": "its files are deleted before the domain starts",
    "reinstall": "the domain would be installed at each start",
    "initrd-inject": "it goes with 'location'",
    "extra-args": "it goes with 'location'",
}
"""Options that begin an installation which virt-install itself would have to end."""

_INSTEAD = {
    "extra-args": "'boot: kernel=…,initrd=…,kernel_args=…' in libvirt.domain.install.virtInstall",
    "initrd-inject": "a config drive (configDrives), which the installer reads",
}


def check_options(plan: Plan, vm: Mapping, report: Report) -> None:
    """Report what is wrong with the options of virt-install."""
    options = plan.domain.options
    _check_installers(plan, vm, report)
    for option, value in options.items():
        if isinstance(value, str):
            span = partial(place_of, vm, *DOMAIN, option)
            _check_carried(value, span, report)
            if option not in PLAIN_OPTIONS and re.search("['\"\\\\]", value):
                _check_quotes(option, value, span(), report)
        for item in value if isinstance(value, tuple) else ():
            for key, suboption in item.suboptions.items():
                span = partial(_suboption_span, vm, option, item.name, key)
                _check_key(option, key, suboption, span, report)
                if isinstance(suboption, str):
                    _check_carried(suboption, span, report)
                    _check_suboption(option, key, suboption, span, report)
    _check_macs(plan, vm, report)
    _check_sizes(plan, vm, report)
    _check_cpu(plan, vm, report)
    _check_disks(plan, vm, report)
    _check_shared_memory(plan, vm, report)


def _check_installers(plan: Plan, vm: Mapping, report: Report) -> None:
    """Report options that cannot work in a directory that is used again and again, and name the way."""
    for option in plan.domain.options:
        if option in _INSTALLERS:
            message = f"{option!r} cannot work here: {_INSTALLERS[option]}"
            way = _INSTEAD.get(option, "libvirt.domain.install says what the domain has while its system is installed")
            report.error("bad-value", message, place_of(vm, *DOMAIN, option), help=f"instead: {way}")
        elif option == "cloud-init":
            message = "'cloud-init' cannot work here: its image is deleted before the domain starts"
            report.error("bad-value", message, place_of(vm, *DOMAIN, option), help="instead: cloudInit of the VM")


def _check_carried(text: str, span: Callable[[], Span], report: Report) -> None:
    if found := _NOT_IN_XML.search(text):
        message = f"a domain cannot have the character {found.group()!r}"
        help_ = "XML cannot carry control characters other than tab and newline"
        report.error("bad-value", message, span(), help=help_)


def _check_quotes(option: str, text: str, span: Span, report: Report) -> None:
    try:
        split_suboptions(text)
    except ValueError:
        message = f"a quote or backslash in {option!r} has no counterpart"
        help_ = "virt-install splits this at commas, with quotes as in a shell; a list of 'options' needs none"
        report.error("bad-value", message, span, help=help_)


def _check_key(option: str, key: str, suboption: str | bool, span: Callable[..., Span], report: Report) -> None:
    message = f"{key!r} is not a suboption of {option!r}"
    if option == "xml" and "[" in key and not key.startswith("xpath."):
        help_ = f"write it in two: xpath.set: {key!r}, and xpath.value with the value"
        report.error("bad-value", message, span(at_key=True), help=help_)
    elif re.search(r"\{[A-Za-z_][A-Za-z0-9_]*\}", key):
        help_ = "variables are expanded in values, not in keys"
        report.error("bad-value", message, span(at_key=True), help=help_)
    elif not key or re.search(r"""[\s,='"\\]""", key) or not key.isprintable():
        report.error("bad-value", message, span(at_key=True), help="a name; what comes after '=' is its value")
    elif suboption is True and re.fullmatch(r"\w+(\.\w+)+", key) and not is_on_off(option, key):
        message = f"{key!r} wants a word, and true gives none"
        help_ = "write the word that libvirt wants there: 'on' or 'off', 'yes' or 'no', in quotes"
        report.error("bad-value", message, span(at_key=True), help=help_)


def _check_suboption(option: str, key: str, text: str, span: Callable[[], Span], report: Report) -> None:
    if option == "disk" and key == "serial" and not _SERIAL.fullmatch(text):
        help_ = "libvirt allows letters of ASCII, digits, space and _ . + - there"
        report.error("bad-value", f"{text!r} cannot be the serial number of a disk", span(), help=help_)
    elif option == "metadata" and key == "title" and "\n" in text:
        report.error("bad-value", "a domain's title is one line", span(), help="use 'description' for more")
    elif key in ("passwd", "password") and ("\n" in text or "\t" in text):
        report.error("bad-value", "a password is one line", span())


def _check_macs(plan: Plan, vm: Mapping, report: Report) -> None:
    seen: dict[str, str] = {}
    for use in uses(plan.domain.options, "network"):
        for key in ("mac", "mac.address"):
            mac = use.suboptions.get(key, "")
            if not mac or mac.lower() == "random":
                continue
            wrong, help_ = "", "six pairs of hexadecimal digits with colons, like 52:54:00:12:34:56"
            if not _MAC.fullmatch(mac):
                wrong = f"{mac!r} is not a MAC address"
            elif int(mac[:2], 16) & 1:
                wrong, help_ = (
                    f"{mac!r} is a multicast address",
                    "the second digit must be even, as in 52:54:00:12:34:56",
                )
            elif mac.lower() in seen:
                wrong = f"the interfaces {seen[mac.lower()]!r} and {use.name!r} have one MAC address, {mac!r}"
                help_ = "give each its own, or leave it out: vmp derives one from the names"
            if wrong:
                report.error("bad-value", wrong, _suboption_span(vm, "network", use.name, key), help=help_)
            seen.setdefault(mac.lower(), use.name)


def _check_sizes(plan: Plan, vm: Mapping, report: Report) -> None:
    memory = plan.domain.options.get("memory")
    if isinstance(memory, str) and re.fullmatch(r"[0-9.]+\s*[A-Za-z]+", memory):
        message, help_ = f"{memory!r} is not a size of memory", "a number of MiB, without a unit"
        report.error("bad-value", message, place_of(vm, *DOMAIN, "memory"), help=help_)
    wanted = {
        "memory": (("memory", "currentMemory", "maxmemory"), "a number of MiB, such as 2048"),
        "vcpus": (("vcpu", "vcpus", "maxvcpus", "vcpu.current"), "a number of CPUs, at least 1"),
    }
    for option, (keys, help_) in wanted.items():
        for use in uses(plan.domain.options, option):
            for key, word in use.suboptions.items():
                number = word if key in keys else key if not word else ""
                if re.fullmatch("0+(\\.0*)?", number):
                    message = f"a machine cannot have {number} for {option!r}"
                    report.error("bad-value", message, _suboption_span(vm, option, use.name, key), help=help_)


def _check_cpu(plan: Plan, vm: Mapping, report: Report) -> None:
    for use in uses(plan.domain.options, "cpu"):
        for key, word in use.suboptions.items():
            model = word if key == "model" else key if not word else ""
            spelled = model.lower().replace("_", "-")
            if spelled == "maximum":
                help_ = "write 'mode=maximum', or in a list {mode: maximum}"
            elif model in _CPU_WORDS or not spelled.startswith("host"):
                continue
            else:
                help_ = nearest(spelled, _CPU_MODES) or "the modes are host-passthrough, host-model and maximum"
            message = f"{model!r} would be the name of a CPU model, and there is none of that name"
            report.error("bad-value", message, _suboption_span(vm, "cpu", use.name, key), help=help_)


def _check_disks(plan: Plan, vm: Mapping, report: Report) -> None:
    """Report disks that virt-install itself was to make: it only describes the domain here, and makes none."""
    own_pools = {pool.name for pool in plan.pools}
    volumes = {volume.key: None for volume in plan.volumes}
    for use in uses(plan.domain.options, "disk"):
        found = use.suboptions
        if not found.keys() & {"vol", "path"} and found.keys() & {"size", "pool"}:
            pool, size = found.get("pool", "default"), found.get("size", "10")
            name = f"{plan.name}-{use.name}.qcow2"
            report.error(
                "bad-value",
                "no disk is made from 'size' and 'pool': the domain could never start",
                _suboption_span(vm, "disk", use.name, "size" if "size" in found else "pool"),
                help=f"declare it: libvirt.volumes: [{{name: {name}, poolName: {pool}, capacity: {size}GiB}}], "
                f"and here vol: {pool}/{name}",
            )
        volume = found.get("vol", "")
        if volume and volume.partition("/")[0] in own_pools and volume not in volumes:
            message = f"disk {use.name!r} is volume {volume!r}, which is not among 'volumes'"
            report.error(
                "bad-value", message, _suboption_span(vm, "disk", use.name, "vol"), help=report.nearest(volume, volumes)
            )


def _check_shared_memory(plan: Plan, vm: Mapping, report: Report) -> None:
    """Report virtiofs without memory that QEMU shares with virtiofsd (https://libvirt.org/kbase/virtiofs.html)."""
    shared = any(
        "shared" in (use.suboptions.get("access.mode"), use.suboptions.get("access_mode"))
        for use in uses(plan.domain.options, "memorybacking")
    ) or any(
        word == "shared" and key.endswith(".memAccess")
        for use in uses(plan.domain.options, "cpu")
        for key, word in use.suboptions.items()
    )
    for use in uses(plan.domain.options, "filesystem"):
        for key in ("driver.type", "fsdriver"):
            if use.suboptions.get(key) == "virtiofs" and not shared:
                message = "virtiofs needs memory that is shared with the host"
                help_ = "add to virtInstall: memorybacking: source.type=memfd,access.mode=shared"
                report.error("bad-value", message, _suboption_span(vm, "filesystem", use.name, key), help=help_)


def _suboption_span(vm: Mapping, option: str, name: str, key: str = "", *, at_key: bool = False) -> Span:
    """Return the place of a suboption. It is looked for only where something is wrong: every VM has many."""
    return _item_span(at(vm, *DOMAIN, option), name, key, at_key) or place_of(vm, *DOMAIN, option)


def _item_span(items: Node | None, name: str, key: str, at_key: bool = False) -> Span | None:
    for node in items.items if isinstance(items, Sequence) else ():
        if getattr(at(node, "name"), "text", None) == name:
            options = at(node, "options")
            if at_key and isinstance(options, Mapping):
                return options.span_of(key)
            return place_of(node, "options", key)
    return None
