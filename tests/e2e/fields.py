"""Every place of a registry that takes text: how a text gets there, and where the generated directory has it.

`tests/test_fields.py` sees to it that the schema has no field of text that is not in FIELDS.
"""

from __future__ import annotations

import copy
import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from vmp import schema
from vmp.shapes import Choice, ListOf, MapOf, Options, Record, Shape, Text, Truth
from vmp.virt_install import VirtInstall

Registry = dict[str, Any]


class Raw(str):
    """A text that is written with `!raw`: its braces are no variables. `owner` says who put it there."""

    owner: object = None


BASE: Registry = {
    "nodes": [{"name": "here", "libvirt": {"connection": {"uri": "qemu:///system"}}}],
    "images": [
        {
            "name": "guest",
            "tags": [{"pattern": "latest", "url": "file:///nonexistent/disk.img", "volumeName": "image.img"}],
        }
    ],
    "templates": [],
    "vms": [
        {
            "name": "vm",
            "nodeName": "here",
            "image": "guest",
            "provisioner": "v1alpha1",
            "libvirt": {
                "domain": {
                    "name": "domain-of-it",
                    "virtInstall": {
                        "osinfo": "detect=off,require=off",
                        "memory": 64,
                        "graphics": "none",
                        "network": "none",
                        "disk": [{"name": "blank", "options": {"vol": "pool/blank"}}],
                    },
                },
                "pools": [{"name": "pool", "directory": {"path": "/var/lib/libvirt/images/pool"}}],
                "volumes": [
                    {"name": "{IMAGE_VOLUME_NAME}", "poolName": "pool", "uploadFile": {"path": ".images/image.img"}},
                    {"name": "blank", "poolName": "pool", "format": "raw", "capacity": "1MiB"},
                ],
            },
            "cloudInit": {"noCloud": {"seed": {"path": "seed.iso"}, "data": {"user-data": "#cloud-config\n"}}},
            "ssh": {},
        }
    ],
}
"""A registry of one VM, as small as can be started."""


def base(number: int = 0) -> Registry:
    """Return a copy of BASE to put texts into, with names of its own."""
    registry = copy.deepcopy(BASE)
    vm = registry["vms"][0]
    vm["name"], vm["libvirt"]["domain"]["name"] = f"vm{number}", f"domain{number}"
    vm["nodeName"] = registry["nodes"][0]["name"] = f"node{number}"
    vm["image"] = registry["images"][0]["name"] = f"image{number}"
    return registry


def write(*registries: Registry) -> tuple[str, list[object]]:
    """Return registries as one, in YAML (flow style, whatever the texts hold), and who owns the text of each line."""
    lines: list[str] = []
    owners: list[object] = []
    for section in BASE:
        elements = [element for registry in registries for element in registry[section]]
        line = f"{section}: "
        for piece in _pieces(elements):
            if isinstance(piece, Raw):
                lines += [line, f"  !raw {_quoted(piece)}"]
                owners += [None, piece.owner]
                line = "  "
            else:
                line += piece
        lines.append(line)
        owners.append(None)
    return "\n".join(lines) + "\n", owners


def _pieces(value: object) -> Iterator[str]:
    """Return a value in pieces of YAML, with each `Raw` text as it is."""
    if isinstance(value, dict):
        yield "{"
        for key, item in value.items():
            yield "? "  # a key without it has 1024 characters at most
            yield from _pieces(key)
            yield " : "
            yield from _pieces(item)
            yield ", "
        yield "}"
    elif isinstance(value, list):
        yield "["
        for item in value:
            yield from _pieces(item)
            yield ", "
        yield "]"
    elif isinstance(value, Raw):
        yield value
    else:
        yield _quoted(value) if isinstance(value, str) else json.dumps(value)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    if not escaped.isprintable():
        escaped = "".join([c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped])
    return f'"{escaped}"'


def put(registry: Registry, field: Field, text: str, owner: object = None) -> None:
    """Put a text into a field, and write its owner's name on it."""
    field.put(registry, text)
    _own(registry, owner or field)


def _own(value: object, owner: object) -> None:
    if isinstance(value, Raw):
        value.owner = value.owner or owner
    elif isinstance(value, dict):
        for key, item in value.items():
            _own(key, owner)
            _own(item, owner)
    elif isinstance(value, list):
        for item in value:
            _own(item, owner)


def refused(owners: list[object], errors: str) -> set[object]:
    """Return the owners of the texts at which something is reported."""
    return {owners[int(line) - 1] for line in re.findall(r"^<stdin>:(\d+):", errors, re.MULTILINE)}


def astray(owners: list[object], errors: str) -> list[str]:
    """Return what is reported at other places than those texts."""
    found = re.findall(r"^<stdin>:(\d+):(.*)", errors, re.MULTILINE)
    return [text for line, text in found if owners[int(line) - 1] is None][:20]


class Facts:
    """What a generated directory says: its vm.json."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.plan = json.loads((directory / "vm.json").read_text())

    def one(self, *path: str) -> str:
        """Return a plain fact; '' where it is not written."""
        found = self.plan
        for key in path:
            found = found.get(key, {})
        return found or ""

    def column(self, name: str, *path: str) -> list[str]:
        """Return a fact of each element of a list."""
        found: list[Any] = self.plan.get(name, [])
        for key in path:
            found = [element[key] for element in found if key in element]
        return found

    def document(self, name: str) -> str:
        """Return a document of the seed."""
        return (self.directory / f"{self.one('seed', 'path')}.d" / name).read_bytes().decode()

    def suboptions(self, option: str, phase: str = "domain") -> Iterator[tuple[str, str]]:
        """Return what virt-install makes of an option (as virtinst/cli.py has it), later or while installing."""
        for word in self.plan[phase]["virtInstall"]:
            if word.startswith(f"--{option}="):
                splitter = shlex.shlex(word.partition("=")[2], posix=True)
                splitter.commenters, splitter.whitespace, splitter.whitespace_split = "", ",", True
                for part in splitter:
                    yield part.partition("=")[0], part.partition("=")[2]


class Field(NamedTuple):
    """A field of text: its path in the schema, how a text gets there, and what the directory then holds for it."""

    path: str
    put: Callable[[Registry, str], object]
    read: Callable[[Facts], object]
    """Returns the text, or several among which it is; None where the directory does not have it."""


def layers() -> list[list[Field]]:
    """Return the fields in as many groups as it takes so that no two of a group are in each other's way."""
    found: list[list[Field]] = []
    for field in FIELDS:
        taken = [{_SHARED.get(other.path, other.path) for other in layer} for layer in found]
        free = [layer for layer, slots in zip(found, taken, strict=True) if _SHARED.get(field.path) not in slots]
        if free:
            free[0].append(field)
        else:
            found.append([field])
    return found


def _vm(registry: Registry) -> Registry:
    found: Registry = registry["vms"][0]
    return found


def _libvirt(registry: Registry) -> Registry:
    found: Registry = _vm(registry)["libvirt"]
    return found


def _tag(registry: Registry) -> Registry:
    found: Registry = registry["images"][0]["tags"][0]
    return found


def _data(registry: Registry) -> Registry:
    found: Registry = _vm(registry)["cloudInit"]["noCloud"]["data"]
    return found


def _variable(owner: Callable[[Registry], Registry], name: str = "X") -> Callable[[Registry, str], None]:
    def put(registry: Registry, text: str) -> None:
        owner(registry).setdefault("vars", {})[name] = Raw(text)
        _data(registry)["vendor-data"] = f"{{{name}}}"

    return put


def _set(owner: Callable[[Registry], Registry], key: str) -> Callable[[Registry, str], None]:
    def put(registry: Registry, text: str) -> None:
        owner(registry)[key] = Raw(text)

    return put


def _put_node_name(registry: Registry, text: str) -> None:
    registry["nodes"][0]["name"] = _vm(registry)["nodeName"] = Raw(text)


def _put_image_name(registry: Registry, text: str) -> None:
    registry["images"][0]["name"] = _vm(registry)["image"] = Raw(text)


def _put_tag(registry: Registry, text: str) -> None:
    _tag(registry)["pattern"] = Raw(re.escape(text))
    _vm(registry)["image"] = Raw(f"{registry['images'][0]['name']}:{text}")


def _put_pattern(registry: Registry, text: str) -> None:
    _tag(registry)["pattern"] = Raw(f"latest|{text}")


def _put_template(registry: Registry, text: str) -> None:
    registry["templates"] = [{"name": Raw(text), "ssh": {"options": {"SendEnv": "inherited"}}}]
    _vm(registry)["template"] = Raw(text)


def _put_templates(registry: Registry, text: str) -> None:
    _put_template(registry, text)
    del _vm(registry)["template"]
    _vm(registry)["templates"] = [Raw(text)]


def _put_archive(registry: Registry, text: str) -> None:
    _tag(registry)["archive"] = {"type": "7z", "path": Raw(text)}


def _put_checksum(key: str) -> Callable[[Registry, str], None]:
    def put(registry: Registry, text: str) -> None:
        _tag(registry)["checksum"] = {key: Raw(text)}

    return put


KEYS = Path(__file__).parent.parent / "cases/tree-of-a-vm-whose-image-is-signed/registry/keys.asc"
"""A file of public keys."""


def _put_signature(key: str) -> Callable[[Registry, str], None]:
    def put(registry: Registry, text: str) -> None:
        signature = {"url": "https://example.org/SUMS.sign", "keys": str(KEYS), key: Raw(text)}
        _tag(registry)["checksum"] = {"url": "https://example.org/SUMS", "signature": signature}

    return put


def _put_item_name(registry: Registry, text: str) -> None:
    registry["vms"][0]["libvirt"]["domain"]["virtInstall"]["network"] = [{"name": Raw(text), "options": {"none": True}}]


def _put_suboption(option: str, key: str, name: str) -> Callable[[Registry, str], None]:
    def put(registry: Registry, text: str) -> None:
        options = _libvirt(registry)["domain"]["virtInstall"]
        items = options[option] if isinstance(options.get(option), list) else []
        options[option] = [*items, {"name": name, "options": {key: Raw(text)}}]

    return put


def _put_install(registry: Registry, **options: Any) -> None:
    _libvirt(registry)["domain"].setdefault("install", {"virtInstall": {}})["virtInstall"].update(options)


def _put_suboption_name(registry: Registry, text: str) -> None:
    options = _libvirt(registry)["domain"]["virtInstall"]
    options["cpu"] = [{"name": "cpu", "options": {Raw(text): True}}]


def _put_backing(key: str) -> Callable[[Registry, str], None]:
    def put(registry: Registry, text: str) -> None:
        backing = {"name": "base", "poolName": "other", key: Raw(text)}
        _libvirt(registry)["volumes"].append({"name": "layer", "poolName": "pool", "backingVolume": backing})

    return put


def _put_network(**more: Any) -> Callable[[Registry, str], None]:
    """Put a text into a network that is otherwise as it should be: at the place where `more` has TEXT."""

    def put(registry: Registry, text: str) -> None:
        networks = _libvirt(registry).setdefault("networks", [])
        ips = [{"address": "10.0.0.1", "prefix": 8}]
        networks.append({"name": f"net{len(networks)}", "ips": ips, **_with(more, text)})

    return put


def _put_network_xml(registry: Registry, text: str) -> None:
    networks = _libvirt(registry).setdefault("networks", [])
    name = f"net{len(networks)}"
    xml = f"<network><name>{name}</name><title>{text}</title></network>"
    networks.append({"name": name, "xml": Raw(xml)})


def _put_reservation(**more: str) -> Callable[[Registry, str], None]:
    def put(registry: Registry, text: str) -> None:
        network = _with(more.get("network", "default"), text)
        name = _with(more.get("interface", "eth"), text)
        item = {"name": name, "options": {"network": network}}
        _libvirt(registry)["domain"]["virtInstall"]["network"] = [item]
        reservation = {"network": network, "interface": name, "address": "10.0.0.2", **_with(more, text)}
        _libvirt(registry)["reservations"] = [reservation]

    return put


def _put_drive(**more: Any) -> Callable[[Registry, str], None]:
    def put(registry: Registry, text: str) -> None:
        drives = _vm(registry).setdefault("configDrives", [])
        drives.append({"path": f"drive{len(drives)}.iso", "label": "L", "files": {"a": "a"}, **_with(more, text)})

    return put


def _files_of_drives(facts: Facts) -> list[str]:
    found = [facts.directory / f"{drive['path']}.d/a" for drive in facts.plan["configDrives"]]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in found)
    return [path.read_bytes().decode() for path in found]


TEXT = "\0 the text"
"""What stands for the text in the arguments of these."""


def _with(value: Any, text: str) -> Any:
    if isinstance(value, dict):
        return {key: _with(item, text) for key, item in value.items()}
    if isinstance(value, list):
        return [_with(item, text) for item in value]
    return Raw(text) if value == TEXT else value


def _network_texts(*path: str) -> Callable[[Facts], list[str]]:
    """Return what stands at a path of each network; a list on the way stands for each of its items."""

    def read(facts: Facts) -> list[str]:
        found: list[Any] = facts.plan.get("networks", [])
        for key in path:
            found = [element[key] for element in found if key in element]
            found = [item for element in found for item in (element if isinstance(element, list) else [element])]
        return found

    return read


def _put_knob(name: str) -> Callable[[Registry, str], None]:
    def put(registry: Registry, text: str) -> None:
        _vm(registry).setdefault("vars", {})[name] = Raw(text)

    return put


def _password(facts: Facts) -> str:
    return (facts.directory / "ssh-password").read_bytes().decode()


def _secret(facts: Facts) -> list[str]:
    """Return the password of the console, which nothing but secrets.json may hold."""
    ((placeholder, value),) = json.loads((facts.directory / "secrets.json").read_text()).items()
    assert ("passwd", placeholder) in facts.suboptions("graphics")
    return [value]


def _written(name: str) -> Callable[[Facts], str]:
    return lambda facts: facts.document(name)


def _knob(name: str) -> Callable[[Facts], str]:
    return lambda facts: facts.one("knobs", name)


def _option_words(facts: Facts) -> list[str]:
    return [word.partition("=")[2] for word in facts.plan["domain"]["virtInstall"]]


def _suboption_of(option: str, key: str) -> Callable[[Facts], list[str]]:
    return lambda facts: [value for name, value in facts.suboptions(option) if name == key]


FIELDS: tuple[Field, ...] = (
    Field("nodes[].name", _put_node_name, lambda facts: facts.one("node")),
    Field("nodes[].vars.*", _variable(lambda registry: registry["nodes"][0]), _written("vendor-data")),
    Field(
        "nodes[].libvirt.connection.uri",
        lambda registry, text: registry["nodes"][0]["libvirt"]["connection"].update(uri=Raw(text)),
        lambda facts: facts.one("connection", "uri"),
    ),
    Field("images[].name", _put_image_name, lambda facts: facts.one("image", "reference").removesuffix(":latest")),
    Field("images[].vars.*", _variable(lambda registry: registry["images"][0], "Y"), _written("vendor-data")),
    Field("images[].tags[].pattern", _put_pattern, lambda facts: None),
    Field("images[].tags[].url", _set(_tag, "url"), lambda facts: facts.one("image", "url")),
    Field("images[].tags[].volumeName", _set(_tag, "volumeName"), lambda facts: facts.column("volumes", "name")),
    Field("images[].tags[].vars.*", _variable(_tag, "Z"), _written("vendor-data")),
    Field("images[].tags[].archive.path", _put_archive, lambda facts: facts.one("image", "archive", "path")),
    Field(
        "images[].tags[].checksum.value", _put_checksum("value"), lambda facts: facts.one("image", "checksum", "value")
    ),
    Field("images[].tags[].checksum.url", _put_checksum("url"), lambda facts: facts.one("image", "checksum", "url")),
    Field(
        "images[].tags[].checksum.signature.url",
        _put_signature("url"),
        lambda facts: facts.one("image", "checksum", "signature", "url"),
    ),
    Field("images[].tags[].checksum.signature.keys", _put_signature("keys"), lambda facts: None),
    Field("vms[].name", _set(_vm, "name"), lambda facts: facts.one("name")),
    Field("vms[].template", _put_template, lambda facts: None),
    Field("vms[].templates[]", _put_templates, lambda facts: None),
    Field("vms[].vars.*", _variable(_vm), _written("vendor-data")),
    Field("vms[].nodeName", _put_node_name, lambda facts: facts.one("node")),
    Field("vms[].image", _put_tag, lambda facts: facts.one("image", "reference").partition(":")[2]),
    Field("vms[].provisioner", _set(_vm, "provisioner"), lambda facts: "v1alpha1"),
    Field(
        "vms[].libvirt.domain.name",
        _set(lambda registry: _libvirt(registry)["domain"], "name"),
        lambda facts: facts.one("domain", "name"),
    ),
    Field(
        "vms[].libvirt.domain.virtInstall.*",
        _set(lambda registry: _libvirt(registry)["domain"]["virtInstall"], "description"),
        _option_words,
    ),
    Field(
        "vms[].libvirt.domain.install.virtInstall.*",
        lambda registry, text: _put_install(registry, description=Raw(text)),
        lambda facts: [word.partition("=")[2] for word in facts.plan["install"]["virtInstall"]],
    ),
    Field(
        "vms[].libvirt.domain.install.virtInstall.*[].name",
        lambda registry, text: _put_install(registry, network=[{"name": Raw(text), "options": {"none": True}}]),
        lambda facts: None,
    ),
    Field(
        "vms[].libvirt.domain.install.virtInstall.*[].options.*",
        lambda registry, text: _put_install(registry, metadata=[{"name": "title", "options": {"title": Raw(text)}}]),
        lambda facts: [value for name, value in facts.suboptions("metadata", "install") if name == "title"],
    ),
    Field(
        "vms[].libvirt.domain.install.virtInstall.*[].options.(key)",
        lambda registry, text: _put_install(registry, cpu=[{"name": "cpu", "options": {Raw(text): True}}]),
        lambda facts: [name for name, _ in facts.suboptions("cpu", "install")],
    ),
    Field("vms[].libvirt.domain.virtInstall.*[].name", _put_item_name, lambda facts: None),
    Field(
        "vms[].libvirt.domain.virtInstall.*[].options.*",
        _put_suboption("metadata", "title", "title"),
        _suboption_of("metadata", "title"),
    ),
    Field(
        "vms[].libvirt.domain.virtInstall.*[].options.*",
        _put_suboption("sysinfo", "system.serial", "system"),
        _suboption_of("sysinfo", "system.serial"),
    ),
    Field(
        "vms[].libvirt.domain.virtInstall.*[].options.*",
        _put_suboption("boot", "kernel_args", "arguments"),
        _suboption_of("boot", "kernel_args"),
    ),
    Field(
        "vms[].libvirt.domain.virtInstall.*[].options.*",
        _put_suboption("disk", "serial", "serial"),
        _suboption_of("disk", "serial"),
    ),
    Field("vms[].libvirt.domain.virtInstall.*[].options.*", _put_suboption("graphics", "passwd", "console"), _secret),
    Field(
        "vms[].libvirt.domain.virtInstall.*[].options.(key)",
        _put_suboption_name,
        lambda facts: [name for name, _ in facts.suboptions("cpu")],
    ),
    Field(
        "vms[].libvirt.pools[].name",
        lambda registry, text: _libvirt(registry)["pools"].append({"name": Raw(text), "directory": {"path": "/x"}}),
        lambda facts: facts.column("pools", "name"),
    ),
    Field(
        "vms[].libvirt.pools[].directory.path",
        lambda registry, text: _libvirt(registry)["pools"].append({"name": "p", "directory": {"path": Raw(text)}}),
        lambda facts: facts.column("pools", "path"),
    ),
    Field(
        "vms[].libvirt.volumes[].name",
        lambda registry, text: _libvirt(registry)["volumes"].append(
            {"name": Raw(text), "poolName": "pool", "capacity": "1MiB"}
        ),
        lambda facts: facts.column("volumes", "name"),
    ),
    Field(
        "vms[].libvirt.volumes[].poolName",
        lambda registry, text: _libvirt(registry)["volumes"].append(
            {"name": "there", "poolName": Raw(text), "capacity": "1MiB"}
        ),
        lambda facts: facts.column("volumes", "pool"),
    ),
    Field(
        "vms[].libvirt.volumes[].capacity",
        lambda registry, text: _libvirt(registry)["volumes"].append(
            {"name": "big", "poolName": "pool", "capacity": Raw(text)}
        ),
        lambda facts: facts.column("volumes", "capacity"),
    ),
    Field(
        "vms[].libvirt.volumes[].backingVolume.name",
        _put_backing("name"),
        lambda facts: facts.column("volumes", "backing", "name"),
    ),
    Field(
        "vms[].libvirt.volumes[].backingVolume.poolName",
        _put_backing("poolName"),
        lambda facts: facts.column("volumes", "backing", "pool"),
    ),
    Field(
        "vms[].libvirt.volumes[].uploadFile.path",
        lambda registry, text: _libvirt(registry)["volumes"][0]["uploadFile"].update(path=Raw(text)),
        lambda facts: facts.column("volumes", "file"),
    ),
    Field(
        "vms[].libvirt.volumes[].uploadFile.member",
        lambda registry, text: _libvirt(registry)["volumes"].append(
            {"name": "member", "poolName": "pool", "uploadFile": {"path": "x.iso", "member": Raw(text)}}
        ),
        lambda facts: facts.column("volumes", "member", "name"),
    ),
    Field("vms[].configDrives[].name", _put_drive(name=TEXT), lambda facts: None),
    Field("vms[].configDrives[].path", _put_drive(path=TEXT), lambda facts: facts.column("configDrives", "path")),
    Field("vms[].configDrives[].label", _put_drive(label=TEXT), lambda facts: facts.column("configDrives", "label")),
    Field("vms[].configDrives[].files.*", _put_drive(files={"a": TEXT}), _files_of_drives),
    Field(
        "vms[].cloudInit.noCloud.seed.path",
        lambda registry, text: _vm(registry)["cloudInit"]["noCloud"]["seed"].update(path=Raw(text)),
        lambda facts: facts.one("seed", "path"),
    ),
    *[
        Field(f"vms[].libvirt.networks[].{path}", put_it, _network_texts(*path.replace("[]", "").split(".")))
        for path, put_it in (
            ("name", _put_network(name=TEXT)),
            ("forward.dev", _put_network(forward={"mode": "route", "dev": TEXT})),
            ("bridge", _put_network(bridge=TEXT)),
            ("domain.name", _put_network(domain={"name": TEXT})),
            ("mtu", _put_network(mtu=TEXT)),
            ("ips[].address", _put_network(ips=[{"address": TEXT, "prefix": 24}])),
            ("ips[].prefix", _put_network(ips=[{"address": "10.0.0.1", "prefix": TEXT}])),
            *[
                (
                    f"ips[].dhcp.{end}",
                    _put_network(
                        ips=[
                            {
                                "address": "10.0.0.1",
                                "prefix": 8,
                                "dhcp": {"start": "10.0.0.9", "end": "10.0.0.9", end: TEXT},
                            }
                        ]
                    ),
                )
                for end in ("start", "end")
            ],
            ("dns.forwarders[]", _put_network(dns={"forwarders": [TEXT]})),
            ("dns.hosts[].ip", _put_network(dns={"hosts": [{"ip": TEXT, "hostnames": ["a"]}]})),
            ("dns.hosts[].hostnames[]", _put_network(dns={"hosts": [{"ip": "10.0.0.3", "hostnames": [TEXT]}]})),
        )
    ],
    Field(
        "vms[].libvirt.networks[].xml",
        _put_network_xml,
        lambda facts: [
            found.partition("<title>")[2].partition("</title>")[0] for found in _network_texts("xml")(facts)
        ],
    ),
    Field(
        "vms[].libvirt.reservations[].network",
        _put_reservation(network=TEXT),
        lambda facts: facts.column("reservations", "network"),
    ),
    Field("vms[].libvirt.reservations[].interface", _put_reservation(interface=TEXT), lambda facts: None),
    Field(
        "vms[].libvirt.reservations[].address",
        _put_reservation(address=TEXT),
        lambda facts: facts.column("reservations", "address"),
    ),
    Field(
        "vms[].libvirt.reservations[].hostname",
        _put_reservation(hostname=TEXT),
        lambda facts: facts.column("reservations", "hostname"),
    ),
    *[
        Field(f"vms[].cloudInit.noCloud.data.{name}", _set(_data, name), _written(name))
        for name in ("meta-data", "user-data", "vendor-data", "network-config")
    ],
    Field(
        "vms[].ssh.user",
        _set(lambda registry: _vm(registry)["ssh"], "user"),
        lambda facts: facts.one("knobs", "V1ALPHA1_SSH_USER"),
    ),
    Field(
        "vms[].ssh.host",
        _set(lambda registry: _vm(registry)["ssh"], "host"),
        lambda facts: facts.one("knobs", "V1ALPHA1_SSH_HOST"),
    ),
    Field("vms[].ssh.password", _set(lambda registry: _vm(registry)["ssh"], "password"), _password),
    Field(
        "vms[].ssh.options.*",
        lambda registry, text: _vm(registry)["ssh"].update(options={"SetEnv": Raw(text)}),
        lambda facts: [word.removeprefix("SetEnv=") for word in facts.plan["ssh"]["options"]],
    ),
    Field(
        "vms[].ssh.options.*[]",
        lambda registry, text: _vm(registry)["ssh"].update(options={"SetEnv": ["A=b", Raw(text)]}),
        lambda facts: [word.removeprefix("SetEnv=") for word in facts.plan["ssh"]["options"]],
    ),
    *[
        Field(f"vms[].vars.{name}", _put_knob(name), _knob(name))
        for name in (
            "V1ALPHA1_SSH_HOST",
            "V1ALPHA1_SSH_USER",
            "V1ALPHA1_SSH_OPTS",
            "V1ALPHA1_SSH_EXTRA_OPTS",
            "V1ALPHA1_IP_CMD",
            "V1ALPHA1_STOP_TIMEOUT_SECS",
        )
    ],
)


_SHARED = {
    "images[].name": "image",
    "images[].tags[].checksum.signature.keys": "checksum",
    "images[].tags[].checksum.signature.url": "checksum",
    "images[].tags[].checksum.url": "checksum",
    "images[].tags[].checksum.value": "checksum",
    "images[].tags[].pattern": "image",
    "images[].tags[].vars.*": "vendor-data",
    "images[].tags[].volumeName": "volume",
    "images[].vars.*": "vendor-data",
    "nodes[].name": "node",
    "nodes[].vars.*": "vendor-data",
    "vms[].cloudInit.noCloud.data.vendor-data": "vendor-data",
    "vms[].cloudInit.noCloud.seed.path": "file",
    "vms[].configDrives[].path": "file",
    "vms[].image": "image",
    "vms[].libvirt.domain.virtInstall.*[].name": "network",
    **{f"vms[].libvirt.reservations[].{key}": "network" for key in ("network", "interface", "address", "hostname")},
    "vms[].libvirt.volumes[].backingVolume.name": "backing",
    "vms[].libvirt.volumes[].backingVolume.poolName": "backing",
    "vms[].libvirt.volumes[].name": "volume",
    "vms[].libvirt.volumes[].uploadFile.path": "file",
    "vms[].nodeName": "node",
    "vms[].ssh.host": "host",
    "vms[].ssh.options.*": "options",
    "vms[].ssh.options.*[]": "options",
    "vms[].ssh.user": "user",
    "vms[].template": "template",
    "vms[].templates[]": "template",
    "vms[].vars.*": "vendor-data",
    "vms[].vars.V1ALPHA1_SSH_HOST": "host",
    "vms[].vars.V1ALPHA1_SSH_USER": "user",
}
"""Fields that are in each other's way, and what they share."""


def fields_of_schema(shape: Shape[Any] = schema.REGISTRY, path: str = "") -> Iterator[str]:
    """Return the paths of the schema at which any text may stand (those of templates are those of VMs)."""
    if isinstance(shape, Record):
        for name, key in shape.keys.items():
            if path or name != "templates":
                yield from fields_of_schema(key.shape, f"{path}.{name}" if path else name)
    elif isinstance(shape, ListOf):
        yield from fields_of_schema(shape.item, f"{path}[]")
    elif isinstance(shape, MapOf):
        yield from fields_of_schema(shape.value, f"{path}.*")
    elif isinstance(shape, Options):
        yield from (f"{path}.*", f"{path}.(key)")
    elif isinstance(shape, VirtInstall):
        yield f"{path}.*"
        yield from fields_of_schema(shape.items, f"{path}.*")
    elif isinstance(shape, schema.SshOption):
        yield from (path, f"{path}[]")
    elif isinstance(shape, (Text, schema.Document)):
        if not isinstance(shape, Choice):
            yield path
    elif isinstance(shape, Truth):
        pass  # holds no text
    else:
        raise AssertionError(f"{path}: a shape that may hold text is not known here: {shape}")
