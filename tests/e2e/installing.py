"""VMs whose system is installed by a boot sector, in a second: it copies the next sector of its own disk, and a good
MiB after that, to the other disk, and turns the machine off. What it installs shows one behaviour (`blank.GUESTS`)."""

from __future__ import annotations

from pathlib import Path

from blank import GUESTS

# Real mode, at 7c00h: prints a line on the serial port, reads a sector, writes 24 times 63.5 KiB from the same place.
_COPY = (
    "fa31c08ed88ec08ed0bc007cfbbe{text}7cbaf803ac84c07403eeebf8be{packet}7cb442b280cd13b918006631c066a3{lba}7c"
    "c606{count}7c7f51b80043b281be{packet}7ccd13668306{lba}7c7f59e2ec"
)
_PACKET = "10000100000000100100000000000000"
_TEXT = b"copying the system\r\n\0".hex()
_INSTALLERS = {
    "reboots": "b006baf90ceef4",  # the reset register of the chipset
    "powers off": "ba0406b80020eff4",  # ACPI's S5
}
_OTHERS = {
    "does nothing": _INSTALLERS["reboots"],
    "never ends": "f4ebfd",
    "panics": "b001ba0505eef4ebfd",  # tells the pvpanic device
}

INSTALLED = """
nodes:
  - name: localhost
    libvirt: {{connection: {{uri: "qemu:///system"}}}}
images:
  - name: installer
    tags:
      - pattern: latest
        url: file://{image}
        volumeName: {image.name}
        format: raw
templates:
  - name: installed
    provisioner: v1alpha1
    nodeName: localhost
    image: installer
    vars:
      V1ALPHA1_STOP_TIMEOUT_SECS: 0
    libvirt:
      domain:
        name: "{{VM_NAME}}"
        virtInstall:
          osinfo: linux2022
          memory: 64
          vcpus: 1
          graphics: none
          video: none
          network: [{{name: first, options: {{network: default}}}}]
          panic: model=isa
          disk:
            - name: system
              options: {{vol: "{{VM_NAME}}/system.qcow2", bus: virtio}}
        install:
          virtInstall:
            memory: 96
            disk:
              - name: system
                options: {{boot.order: 2}}
              - name: media
                options: {{vol: "{{VM_NAME}}/{image.name}", bus: virtio, readonly: true, boot.order: 1}}
      pools:
        - name: "{{VM_NAME}}"
          directory: {{path: "{{DEFAULT_POOL_PATH}}/{{VM_NAME}}"}}
      volumes:
        - name: "{{IMAGE_VOLUME_NAME}}"
          poolName: "{{VM_NAME}}"
          format: raw
          uploadFile: {{path: "../images/{{IMAGE_VOLUME_NAME}}"}}
        - name: system.qcow2
          poolName: "{{VM_NAME}}"
          capacity: 64M
vms:
"""
WEB = "  - {name: web, template: installed}\n"


def _sector(code: str) -> bytes:
    return bytes.fromhex(code).ljust(510, b"\0") + b"\x55\xaa"


def installer_image(directory: Path, how: str, installs: str = "button") -> Path:
    """Return the disk of an installer that ends in this way, and installs that guest."""
    path = directory / f"{how.replace(' ', '-')}.raw"
    code = _OTHERS.get(how) or _installer(_INSTALLERS[how])
    path.write_bytes(_sector(code) + _sector(GUESTS[installs]) + bytes(2**20 - 1024))
    return path


def _installer(end: str) -> str:
    """Return the code of an installer: its data stand behind it, and their places in it."""
    at = len(_COPY.format(text="00", packet="00", lba="00", count="00") + end) // 2
    places = {"packet": at, "count": at + 2, "lba": at + 8, "text": at + 16}
    return _COPY.format(**{name: f"{place:02x}" for name, place in places.items()}) + end + _PACKET + _TEXT


def installed(image: Path, vms: str = WEB) -> str:
    """Return a registry of such VMs: an own pool, the installer in it, and an empty disk."""
    return INSTALLED.format(image=image) + vms
