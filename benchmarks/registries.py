"""Registries of any size for the benchmarks: cloud VMs over four levels of templates."""

from __future__ import annotations

HEAD = r"""
nodes:
  - name: hv1
    libvirt:
      connection:
        uri: qemu:///system
images:
  - name: debian
    vars:
      V1ALPHA1_SSH_USER: debian
    tags:
      - pattern: ^(?P<major>\d+)-(?P<build>\d+-\d+)$
        url: https://cloud.debian.org/images/cloud/{codename}/{build}/debian-{major}-generic-amd64-{build}.qcow2
        volumeName: debian-{major}-generic-amd64-{build}.qcow2
        vars:
          codename: bookworm
        checksum:
          algorithm: sha512
          url: https://cloud.debian.org/images/cloud/{codename}/{build}/SHA512SUMS
templates:
  - name: common
    provisioner: v1alpha1
    nodeName: hv1
    libvirt:
      domain:
        name: "{VM_NAME}"
        virtInstall:
          osinfo: linux2022
          memory: 1024
          vcpus: 1
          network:
            - name: default
              options:
                network: "{DEFAULT_NETWORK_NAME}"
                model: virtio
  - name: cloud
    template: common
    vars:
      POOL_PATH: "{DEFAULT_POOL_PATH}/{VM_NAME}"
    libvirt:
      domain:
        virtInstall:
          disk:
            - name: boot
              options:
                vol: "{VM_NAME}/boot.qcow2"
                bus: virtio
            - name: seed
              options:
                vol: "{VM_NAME}/seed.iso"
                bus: virtio
                readonly: "on"
      pools:
        - name: "{VM_NAME}"
          directory:
            path: "{POOL_PATH}"
      volumes:
        - name: "{IMAGE_VOLUME_NAME}"
          poolName: "{DEFAULT_POOL_NAME}"
          deletionPolicy: Retain
          uploadFile:
            path: "{DEFAULT_IMAGE_DIR}/{IMAGE_VOLUME_NAME}"
        - name: boot.qcow2
          poolName: "{VM_NAME}"
          capacity: 20GiB
          backingVolume:
            name: "{IMAGE_VOLUME_NAME}"
            poolName: "{DEFAULT_POOL_NAME}"
        - name: seed.iso
          poolName: "{VM_NAME}"
          format: raw
          uploadFile:
            path: seed.iso
    cloudInit:
      noCloud:
        seed:
          path: seed.iso
        data:
          meta-data:
            instance-id: "{VM_NAME}"
            local-hostname: "{VM_NAME}"
          user-data:
            package_update: true
            packages:
              - curl
              - vim
  - name: ssh
    template: cloud
    ssh: {}
    cloudInit:
      noCloud:
        data:
          user-data:
            users:
              - name: admin
                sudo: ALL=(ALL) NOPASSWD:ALL
                shell: /bin/bash
                ssh_authorized_keys:
                  - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExample admin@example
  - name: web
    template: ssh
    vars:
      ROLE: web
    cloudInit:
      noCloud:
        data:
          user-data:
            write_files:
              - path: /etc/role
                content: "{ROLE} {VM_NAME}\n"
"""

VM = """\
  - name: web-{number:05}
    template: web
    image: debian:12-20241110-1927
    libvirt:
      domain:
        virtInstall:
          memory: {memory}
          vcpus: {vcpus}
"""


def registry(count: int) -> str:
    """Return a registry of ``count`` VMs as one file."""
    return f"{HEAD.lstrip()}vms:\n{''.join(map(_vm, range(count)))}"


def _vm(number: int) -> str:
    return VM.format(number=number, memory=1024 + number % 7 * 512, vcpus=1 + number % 4)


def split_registry(count: int) -> dict[str, str]:
    """Return the same registry as files by path: what VMs share in one, and each VM in one of its own."""
    files = {f"vms/{number:05}.yaml": f"vms:\n{_vm(number)}" for number in range(count)}
    return {"shared.yaml": HEAD.lstrip(), **files}
