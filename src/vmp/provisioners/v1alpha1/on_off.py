"""The suboptions of virt-install that want a word, `on` or `off`, where a registry may say true or false.

From virt-install 4.1: the arguments with ``is_onoff=True`` in virtinst/cli.py, and their aliases. It refuses a bare
suboption, which true gives elsewhere, for these ("Option 'menu' had no value set").
"""

from __future__ import annotations

import re
from functools import cache

_ON_OFF = {
    "boot": """refresh-machine-type loader.readonly loader_ro loader.secure loader_secure bootmenu.enable menu
        firmware.feature[0-9]*.enabled bios.useserial useserial""",
    "check": "path_in_use disk_size path_exists mac_in_use all",
    "clock": """platform_present pit_present rtc_present hpet_present tsc_present kvmclock_present hypervclock_present
        timer[0-9]*.present""",
    "cloud-init": "root-password-generate disable",
    "cpu": "secure migratable numa.cell[0-9]*.discard",
    "disk": """source.managed readonly shareable transient transient.shareBacking target.removable removable
        driver.copy_on_read copy_on_read""",
    "features": """acpi apic pae privnet hap viridian apic.eoi eoi pmu.state pmu hyperv.reset.state hyperv_reset
        hyperv.vapic.state hyperv_vapic hyperv.relaxed.state hyperv_relaxed hyperv.spinlocks.state hyperv_spinlocks
        hyperv.synic.state hyperv_synic vmport.state vmport kvm.hidden.state kvm_hidden kvm.hint-dedicated.state
        kvm.poll-control.state pvspinlock.state pvspinlock smm.state smm vmcoreinfo.state vmcoreinfo""",
    "filesystem": "readonly binary.xattr binary.lock.posix binary.lock.flock",
    "graphics": "clipboard.copypaste filetransfer.enable gl.enable gl",
    "hostdev": "rom.bar rom_bar",
    "input": "source.repeat",
    "install": "kernel_args_overwrite no_install",
    "iommu": "driver.intremap driver.caching_mode driver.eim driver.iotlb",
    "launchSecurity": "kernelHashes",
    "memballoon": "autodeflate freePageReporting",
    "memdev": "discard target.readonly source.pmem",
    "memory": "hugepages",
    "memorybacking": "hugepages nosharepages locked discard",
    "metadata": "genid_enable",
    "network": "trustGuestRxFilters rom.bar rom_bar",
    "osinfo": "detect require",
    "pm": "suspend_to_mem.enabled suspend_to_mem suspend_to_disk.enabled suspend_to_disk",
    "seclabel": "relabel",
    "tpm": """backend.persistent_state active_pcr_banks.sha1 active_pcr_banks.sha256 active_pcr_banks.sha384
        active_pcr_banks.sha512""",
    "vcpus": "vcpus.vcpu[0-9]*.enabled vcpus.vcpu[0-9]*.hotpluggable",
    "video": "model.acceleration.accel3d accel3d",
    "vsock": "cid.auto auto_cid",
}
_OTHER_NAMES = {"os-variant": "osinfo", "host-device": "hostdev", "launchsecurity": "launchSecurity"}


def is_on_off(option: str, key: str) -> bool:
    """Tell whether a suboption wants `on` or `off`."""
    pattern = _pattern(_OTHER_NAMES.get(option, option))
    return pattern is not None and pattern.fullmatch(key) is not None


@cache
def _pattern(option: str) -> re.Pattern[str] | None:
    names = _ON_OFF.get(option)
    return None if names is None else re.compile("|".join(names.split()).replace(".", r"\."))
