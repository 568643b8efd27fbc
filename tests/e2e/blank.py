"""VMs without an operating system: their disk is empty but for a boot sector that shows one behaviour, and they start
in no time. For tests of what libvirt, and not a guest, has to be right about."""

from __future__ import annotations

import subprocess
from pathlib import Path

# Real mode, at 7c00h. On q35 the firmware puts the ACPI event, enable and control registers at 600h, 602h and 604h.
ON_POWER_BUTTON = (
    "fb"  # sti
    "ba0206 b80001 ef"  # enable the event of the power button
    "f4 ba0006 ed f6c401 74f6"  # until there is one: wait for a tick of the clock
    "b9{ticks} f4 e2fd"  # some more ticks, of which a second has 18
    "ba0406 b8{control} ef"
    "ebe7"  # begin anew
)
GUESTS = {
    "deaf": "f4 ebfd",  # halts, and hears nothing
    "button": ON_POWER_BUTTON.format(ticks="3600", control="0020"),  # turns itself off (S5), after three seconds
    "sleepy": ON_POWER_BUTTON.format(ticks="0100", control="0024"),  # suspends to memory (S3)
    "panicky": "b001 ba0505 ee f4 ebfd",  # tells the pvpanic device of a panic
}

BLANK = """
nodes:
  - name: localhost
    libvirt: {{connection: {{uri: "qemu:///system"}}}}
images:
  - name: blank
    tags:
      - pattern: latest
        url: file://{image}
        volumeName: {image.name}
templates:
  - name: blank
    provisioner: v1alpha1
    nodeName: localhost
    image: blank
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
          network: none
          events: on_crash=preserve
          panic: model=isa
          pm: suspend_to_mem.enabled=on
          disk:
            - name: boot
              options: {{vol: "{{VM_NAME}}/boot.qcow2", bus: virtio}}
      pools:
        - name: "{{VM_NAME}}"
          directory: {{path: "{{DEFAULT_POOL_PATH}}/{{VM_NAME}}"}}
      volumes:
        - name: "{{IMAGE_VOLUME_NAME}}"
          poolName: "{{DEFAULT_POOL_NAME}}"
          deletionPolicy: Retain
          uploadFile: {{path: "../images of all/{{IMAGE_VOLUME_NAME}}"}}
        - name: boot.qcow2
          poolName: "{{VM_NAME}}"
          backingVolume: {{name: "{{IMAGE_VOLUME_NAME}}", poolName: "{{DEFAULT_POOL_NAME}}"}}
vms:
"""

WEB = "  - {name: web, template: blank}\n"


def with_data(volume: str, more: str, disk: str = "") -> str:
    """Return WEB with a second disk of 1 MiB, and ``more`` to say of its volume and of the disk."""
    return f"""
  - name: web
    template: blank
    libvirt:
      domain:
        virtInstall:
          disk:
            - name: data
              options: {{vol: web/{volume}, bus: virtio{disk}}}
      volumes:
        - {{name: {volume}, poolName: web, capacity: 1M, {more}}}
"""


def blank_image(directory: Path, guest: str) -> Path:
    """Return a disk of 8 MiB with the boot sector of that guest, to serve as an image."""
    path = directory / f"{guest}.qcow2"
    if not path.exists():
        raw = directory / f"{guest}.raw"
        raw.write_bytes(bytes.fromhex(GUESTS[guest]).ljust(510, b"\0") + b"\x55\xaa" + bytes(2**23 - 512))
        subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, path], check=True)
        raw.unlink()
    return path


def blank(image: Path, vms: str = WEB) -> str:
    """Return a registry of such VMs: an own pool, and in it a layer over an image in the pool `default`."""
    return BLANK.format(image=image) + vms
