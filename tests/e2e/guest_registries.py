"""Registries for the guests of the tests."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def live(iso: Path) -> str:
    """Return the registry of examples/basic, with the test's own ISO image in place of Alpine's."""
    text = (ROOT / "examples/basic/registry.yaml").read_text()
    url = next(line for line in text.splitlines() if "url:" in line)
    return text.replace(url.split("url: ")[1], f"file://{iso}")


CLOUD = """
nodes:
  - name: localhost
    libvirt: {{connection: {{uri: "qemu:///system"}}}}
images:
  - name: guest
    tags:
      - pattern: latest
        url: file://{image}
        volumeName: {image.name}
templates:
  - name: cloud
    provisioner: v1alpha1
    nodeName: localhost
    image: guest
    vars:
      V1ALPHA1_WAIT_FOR_READY_INTERVAL_SECS: 1
    libvirt:
      domain:
        name: "{{VM_NAME}}"
        virtInstall:
          osinfo: linux2022
          memory: {memory}
          vcpus: 1
          graphics: none
          disk:
            - name: boot
              options: {{vol: "{{VM_NAME}}/boot.qcow2", bus: virtio}}
            - name: seed
              options: {{vol: "{{VM_NAME}}/seed.iso", bus: virtio, readonly: "on"}}
          network:
            - name: default
              options: {{network: "{{DEFAULT_NETWORK_NAME}}", model: virtio}}
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
          capacity: {capacity}
          backingVolume: {{name: "{{IMAGE_VOLUME_NAME}}", poolName: "{{DEFAULT_POOL_NAME}}"}}
        - name: seed.iso
          poolName: "{{VM_NAME}}"
          format: raw
          uploadFile: {{path: seed.iso}}
    cloudInit:
      noCloud:
        seed: {{path: seed.iso}}
        data:
          meta-data:
            instance-id: "{{VM_NAME}}"
            local-hostname: "host-of-{{VM_NAME}}"
          user-data:
            users:
              - name: admin
                gecos: the user of the seed
                shell: /bin/sh
                sudo: ALL=(ALL) NOPASSWD:ALL
                lock_passwd: false
                plain_text_passwd: 'pass "word" $HOME'
                ssh_authorized_keys: ["{key}"]
            ssh_pwauth: true
    ssh:
      user: admin
      options:
        IdentityFile: {identity}
        IdentitiesOnly: "yes"
"""


def cloud(image: Path, key: Path, vms: str, *, memory: int = 256, capacity: str = "1G") -> str:
    """Return a registry of cloud VMs: own pool, a layer over the shared image, a seed on a virtio disk."""
    public = key.with_suffix(".pub").read_text().strip()
    head = CLOUD.format(image=image, key=public, identity=key, memory=memory, capacity=capacity)
    return f"{head}vms:\n{vms}"
