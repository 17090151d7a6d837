"""For each finding the answers that provoke it: a capture as it is, or with the edits that stand here.

Tables of `nvidia-smi --query-gpu` are written by `cards()` in that query's form, with the figures of the H100 in the
capture smi-h100-550; each case changes the fields that it names. Answers of tools that nobody has published (systemctl,
ls, timedatectl) are written in their form.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from support_doctor import MISSING, capture, failed, ok

from weighbridge.doctor import Answer

H100 = "h100-80g-x8"
NPU = "910b-64g-x8"
FIELDS = {
    "index": "0", "name": "NVIDIA H100 80GB HBM3", "uuid": "GPU-0", "pci.bus_id": "00000000:18:00.0",
    "driver_version": "550.54.15", "memory.total [MiB]": "81559 MiB", "memory.used [MiB]": "0 MiB",
    "memory.free [MiB]": "81007 MiB", "persistence_mode": "Enabled", "compute_mode": "Default",
    "ecc.mode.current": "Enabled", "ecc.errors.uncorrected.volatile.total": "0",
    "ecc.errors.corrected.volatile.total": "0", "mig.mode.current": "Disabled", "pcie.link.gen.current": "5",
    "pcie.link.gen.max": "5", "pcie.link.width.current": "16", "pcie.link.width.max": "16", "power.draw [W]": "88.02 W",
    "power.limit [W]": "700.00 W", "power.default_limit [W]": "700.00 W", "power.max_limit [W]": "700.00 W",
    "temperature.gpu": "28", "pstate": "P0", "clocks.current.sm [MHz]": "345 MHz", "clocks.max.sm [MHz]": "1980 MHz",
    "utilization.gpu [%]": "0 %",
}  # fmt: skip


def cards(count: int = 8, at: int | None = None, **changes: str) -> Answer:
    """The query's table for `count` H100s; `changes` (`_` for `.`) at card `at`, or at all of them."""
    given = {name.split(" ")[0].replace(".", "_"): name for name in FIELDS}
    rows = []
    for n in range(count):
        row = {**FIELDS, "index": str(n), "uuid": f"GPU-{n}"}
        for key, text in changes.items() if at in (None, n) else ():
            row[given[key]] = text
        rows.append(", ".join(row.values()))
    return ok("\n".join([", ".join(FIELDS), *rows]) + "\n")


SMI = ok(capture("smi-h100-550"))
SMI_580 = ok(capture("smi-h100-550", ("550.54.15", "580.95.05"), ("12.4", "13.0")))
NODES = ok(
    "crw-rw-rw- 1 root root 195,   0 Nov 20 10:00 /dev/nvidia0\n"
    "crw-rw-rw- 1 root root 195, 255 Nov 20 10:00 /dev/nvidiactl\n"
    "crw-rw-rw- 1 root root 508,   0 Nov 20 10:00 /dev/nvidia-uvm\n"
)
THROTTLE = "index, clocks_event_reasons.active, {0}\n0, 0x0000000000000000, {1}, {2}, {3}, {4}, Not Active\n"
FABRIC = "index, fabric.state, fabric.status\n0, {0}, {1}\n"
REMAPPED = capture("remapped-after-reset")
NPUS = capture("npu-smi-910b3-x8-24.1.rc2")
VERSIONS = capture("versions-25.3.rc1")
DAVINCI = "\n".join(
    f"crw-rw---- 1 HwHiAiUser HwHiAiUser 236, {n} Nov 20 10:00 /dev/{name}"
    for n, name in enumerate([*(f"davinci{i}" for i in range(8)), "davinci_manager", "devmm_svm", "hisi_hdc"])
)
PRODUCTS = ok(
    "".join(
        f"GPU[{n}]\t\t: Card Series: \t\tAMD Instinct MI300X VF\nGPU[{n}]\t\t: Card Model: \t\t0x74b5\n"
        for n in range(4)
    )
)
KFD = "crw-rw---- 1 root render 235, 0 Nov 20 10:00 /dev/kfd\n"
MEMORY = "MemTotal:       24684096 kB\nMemAvailable:   {0} kB\nSwapTotal:      {1} kB\nSwapFree:       {2} kB\nHugetlb:  {3} kB\n"
STORE: dict[str, Any] = {
    "path": "/srv/models", "exists": True, "folder": True, "writable": True, "free_gib": 900.0, "file_system": "ext4",
    "models": 1, "incomplete": [], "quarantined": [], "read_mb_s": 3000.0,
}  # fmt: skip
ROOT = {"path": "/var/lib/docker", "free_gib": 300.0, "free_inodes_share": 0.9}
PROXIES = {"shell": "", "none": ""}
PORT = {"number": 8000, "taken": False, "appliance": ""}
ROCM = {"id": "mi300x", "family": "rocm", "count": 8, "nodes": 1}


class Case(NamedTuple):
    """What provokes a finding."""

    id: str
    answers: dict[str, Answer]
    profile: str | None = None
    given: dict[str, Any] | None = None


def docker(name: str, *edits: tuple[str, str]) -> dict[str, Answer]:
    return {"docker_info": ok(capture(name, *edits))}


def store(**changes: Any) -> dict[str, Any]:
    return {"store": {**STORE, **changes}}


def reply(url: str, skew: int) -> Answer:
    return ok(f'{{"url": "{url}", "status": 200, "seconds": 0.1, "skew_seconds": {skew}}}')


DOWN, LATE = failed("ConnectError: [Errno -2] Name or service not known"), Answer(status="slow")

HOST = [
    Case("docker-missing", {"docker_info": MISSING}),
    Case("docker-no-permission", {"docker_info": failed("permission denied while trying to connect to the Docker daemon socket")}),
    Case("docker-not-answering", {"docker_info": failed("ERROR: Cannot connect to the Docker daemon at unix:///var/run/docker.sock.")}),
    Case("docker-old", docker("docker-18.06-kata")),
    Case("docker-no-cdi", docker("docker-29.1-cdi", ("Server Version: 29.1.2", "Server Version: 24.0.7")), H100),
    Case("docker-storage-driver", docker("docker-29.4-zfs", ("Storage Driver: overlay2", "Storage Driver: vfs"))),
    Case("docker-disk-full", {}, None, {"docker_root": {**ROOT, "free_gib": 3.2}}),
    Case("docker-disk-low", {}, None, {"docker_root": {**ROOT, "free_gib": 22.0}}),
    Case("docker-inodes-low", {}, None, {"docker_root": {**ROOT, "free_inodes_share": 0.01}}),
    Case("docker-no-limits", docker("docker-29.4-zfs", ("Client:", "WARNING: No swap limit support\nClient:"))),
    Case("docker-live-restore-off", docker("docker-18.03-live-restore", ("Enabled: true", "Enabled: false"))),
    Case("docker-proxy-missing", docker("docker-29.4-zfs"), None, {"proxies": {"shell": "proxy:3128", "none": "localhost"}}),
    Case("proxy-catches-local", {}, None, {"proxies": {"shell": "proxy:3128", "none": "10.0.0.0/8,.example.org"}}),
    Case("cgroup-v1", {"cgroups": ok("tmpfs\n")}),
    Case("kernel-old", {"uname": ok("Linux host 3.10.0-693.el7.x86_64 #1 SMP x86_64 GNU/Linux\n")}),
    Case("kernel-hangs", {"uname": ok("Linux host 5.4.0-187-generic #207-Ubuntu SMP x86_64 GNU/Linux\n")}),
    Case("memory-low", {"meminfo": ok(MEMORY.format(2_000_000, 0, 0, 0))}, "cpu"),
    Case("memory-nominal", {"meminfo": ok(MEMORY.replace("24684096", "8000000").format(7_000_000, 0, 0, 0))}, "cpu"),
    Case("swap-used", {"meminfo": ok(MEMORY.format(9_000_000, 8_000_000, 1_000_000, 0))}),
    Case("overcommit-strict", {"vm": ok("overcommit_memory 2\novercommit_ratio 50\n")}),
    Case("hugepages-reserved", {"meminfo": ok(MEMORY.format(9_000_000, 0, 0, 12_582_912))}),
    Case("cpu-no-avx2", {"cpuinfo": ok("model name : Intel(R) Xeon(R) CPU E5-2670\nflags : fpu sse4_2 avx\n")}, "cpu"),
    Case("cpu-no-avx512", {"cpuinfo": ok("model name : AMD EPYC 7551\nflags : fpu avx avx2\n")}, "cpu"),
    Case("cpu-no-bfloat16", {"cpuinfo": ok("model name : Intel Xeon\nflags : fpu avx2 avx512f avx512vl\n")}, "cpu"),
    Case("files-few", {"limits": ok("Max open files            256                  4096                 files\n")}),
    Case("memlock-low", {"limits": ok("Max locked memory         8388608              8388608              bytes\n")}, "h20-96g-x8-n2"),
    Case("port-taken", {}, None, {"port": {**PORT, "taken": True}}),
    Case("port-own", {}, None, {"port": {**PORT, "taken": True, "appliance": "demo"}}),
    Case("time-unsynchronised", {"time": ok("Timezone=Etc/UTC\nNTP=no\nNTPSynchronized=no\n")}),
    Case("time-wrong", {"hub": DOWN, "registry": reply("https://registry-1.docker.io/v2/", -4000)}),
    Case("hub-unreachable", {"hub": DOWN, "mirror": LATE}),
    Case("hub-slow-path", {"hub": LATE, "mirror": reply("https://www.modelscope.cn", 0)}),
    Case("registry-unreachable", {"registry": DOWN, "registry_ascend": DOWN}),
    Case("selinux-enforcing", {"selinux": ok("Enforcing\n")}),
    Case("iommu-on", {"iommu": ok("dmar0\ndmar1\n87\n"), "cmdline": ok("BOOT_IMAGE=/vmlinuz ro quiet\n")}, "l40s-48g-x4"),
    Case("governor-slow", {"governor": ok("powersave\n")}),
]  # fmt: skip
CUDA = [
    Case("nvidia-driver-missing", {"nvidia_smi": MISSING, "nvidia_pci": ok("")}, H100),
    Case("nvidia-driver-mismatch", {"nvidia_smi": failed(capture("smi-mismatch-550"))}),
    Case("nvidia-driver-broken", {"nvidia_smi": LATE}),
    Case("nvidia-driver-floor", {"nvidia_smi": ok(capture("smi-a10g-470"))}, H100),
    Case("nvidia-driver-old", {"nvidia_smi": SMI}, H100),
    Case("nvidia-toolkit-missing", {"nvidia_smi": SMI, **docker("docker-no-card-runtime")}),
    Case("nvidia-cdi-missing", {"nvidia_smi": SMI, "nvidia_toolkit": ok("NVIDIA Container Toolkit CLI version 1.17.8\n"), "nvidia_cdi": ok("")}),
    Case("nvidia-cards-few", {"nvidia_query": cards(7)}, H100),
    Case("nvidia-cards-other", {"nvidia_query": cards(8, name="NVIDIA H20")}, H100),
    Case("nvidia-cards-mixed", {"nvidia_query": cards(2, at=1, name="NVIDIA A100-SXM4-80GB")}),
    Case("nvidia-memory-used", {"nvidia_query": cards(8, at=3, memory_used="70000 MiB")}),
    Case("nvidia-persistence-off", {"nvidia_query": cards(8, persistence_mode="Disabled")}),
    Case("nvidia-topology-slow", {"nvidia_topo": ok(capture("topo-4xl40s"))}, "h100-80g-x4"),
    Case("nvidia-topology-sockets", {"nvidia_topo": ok(capture("topo-4xl40s"))}, "l40s-48g-x4"),
    Case("nvidia-p2p-off", {"nvidia_p2p_read": ok(capture("p2p-2x5090"))}, "h100-80g-x2"),
    Case("nvidia-p2p-none", {"nvidia_p2p_read": ok(capture("p2p-2x5090"))}, "rtx4090-24g-x2"),
    Case("nvidia-nvlink-down", {"nvidia_nvlink": ok(capture("nvlink-v100-inactive"))}, H100),
    Case("nvidia-fabric-down", {"nvidia_fabricmanager": ok("LoadState=loaded\nActiveState=failed\nSubState=failed\n"), "nvidia_topo": ok(capture("topo-8xh100"))}),
    Case("nvidia-fabric-missing", {"nvidia_fabricmanager": ok("LoadState=not-found\nActiveState=inactive\nSubState=dead\n"), "nvidia_query": cards(8)}, H100),
    Case("nvidia-fabric-state", {"nvidia_query_fabric": ok(FABRIC.format("In Progress", "N/A"))}),
    Case("nvidia-ecc-errors", {"nvidia_query": cards(8, at=5, ecc_errors_uncorrected_volatile_total="2")}),
    Case("nvidia-ecc-off", {"nvidia_query": cards(8, ecc_mode_current="Disabled")}),
    Case("nvidia-rows-pending", {"nvidia_remapped": ok(REMAPPED.replace("0, 1, No, No", "0, 1, Yes, No"))}),
    Case("nvidia-rows-failed", {"nvidia_remapped": ok(REMAPPED.replace("0, 1, No, No", "0, 1, No, Yes"))}),
    Case("nvidia-mig-on", {"nvidia_query": cards(8, at=1, mig_mode_current="Enabled")}, H100),
    Case("nvidia-mig-slices", {"nvidia_query": cards(1, mig_mode_current="Enabled")}, "h100-80g-x1"),
    Case("nvidia-throttle-heat", {"nvidia_query_throttle": ok(THROTTLE.format("…", "Active", "Active", "Not Active", "Not Active"))}),
    Case("nvidia-throttle-power", {"nvidia_query_throttle": ok(THROTTLE.format("…", "Active", "Not Active", "Active", "Not Active"))}),
    Case("nvidia-hot", {"nvidia_query": cards(8, at=0, temperature_gpu="88")}),
    Case("nvidia-pcie-narrow", {"nvidia_query": cards(8, at=2, pcie_link_width_current="8")}),
    Case("nvidia-pcie-slow", {"nvidia_query": cards(8, at=2, pcie_link_gen_current="3", utilization_gpu="97 %")}),
    Case("nvidia-power-limited", {"nvidia_query": cards(8, power_limit="400.00 W")}),
    Case("nvidia-exclusive", {"nvidia_query": cards(8, compute_mode="Exclusive_Process")}),
    Case("nvidia-uvm-missing", {"nvidia_smi": SMI, "nvidia_nodes": ok(NODES.text.replace("nvidia-uvm", "nvidia1"))}),
    Case("nvidia-xid", {"dmesg": ok(capture("xid-79"))}),
    Case("nvidia-xid-program", {"dmesg": ok(capture("xid-31"))}),
]  # fmt: skip
ASCEND = [
    Case("ascend-driver-missing", {"npu_smi": MISSING, "ascend_nodes": ok("")}, NPU),
    Case("ascend-driver-broken", {"npu_smi": failed("dcmi module initialize failed. ret is -8005\n")}),
    Case("ascend-driver-folder", {"npu_smi": ok(NPUS), "ascend_versions": ok("== /usr/local/Ascend/driver/version.info\n")}),
    Case("ascend-driver-old", {"ascend_versions": ok(capture("versions-24.1.rc3"))}, NPU),
    Case("ascend-firmware-mismatch", {"ascend_versions": ok(capture("versions-24.1.rc3", ("Version=7.5.0.1.129", "Version=7.7.0.1.231")))}),
    Case("ascend-cards-few", {"npu_smi": ok(capture("npu-smi-910b3-23.0.5.1"))}, NPU),
    Case("ascend-cards-other", {"npu_smi": ok(capture("npu-smi-910b4-24.1.1"))}, "910b-64g-x2"),
    Case("ascend-health", {"npu_smi": ok(NPUS.replace("| 5     910B3               | OK    ", "| 5     910B3               | Alarm "))}),
    Case("ascend-memory-used", {"npu_smi": ok(capture("npu-smi-910b4-24.1.1"))}),
    Case("ascend-hot", {"npu_smi": ok(NPUS.replace("94.8        41 ", "94.8        91 "))}),
    Case("ascend-nodes-missing", {"npu_smi": ok(NPUS), "ascend_nodes": ok(DAVINCI.replace("/dev/davinci7", "/dev/none"))}),
    Case("ascend-manager-missing", {"npu_smi": ok(NPUS), "ascend_nodes": ok(DAVINCI.replace("/dev/devmm_svm", "/dev/none"))}),
    Case("ascend-nodes-owner", {"ascend_nodes": ok(DAVINCI.replace("HwHiAiUser HwHiAiUser 236, 2", "HwHiAiUser users 236, 2"))}),
    Case("ascend-user-missing", {"npu_smi": ok(NPUS), "ascend_user": failed("id: 'HwHiAiUser': no such user\n")}),
    Case("ascend-network-missing", {"ascend_hccn": MISSING}, "910b-64g-x8-n2"),
    Case("ascend-address-missing", {"ascend_hccn": ok(capture("hccn-no-address"))}),
    Case("ascend-address-twice", {"ascend_hccn": ok(capture("hccn-address") + capture("hccn-address", ("== 3", "== 4")))}),
    Case("ascend-netmask-differs", {"ascend_hccn": ok(capture("hccn-address") + capture("hccn-address", ("== 3", "== 4"), ("255.255.0.0", "255.255.255.0")))}),
    Case("ascend-link-down", {"ascend_hccn": ok(capture("hccn-well", ("link status: UP", "link status: DOWN")))}),
    Case("ascend-network-health", {"ascend_hccn": ok(capture("hccn-well", ("status: Success", "status: Fault")))}),
    Case("ascend-tls-on", {"ascend_hccn": ok(capture("hccn-two-tls"))}),
]  # fmt: skip
OTHERS = [
    Case("rocm-driver-missing", {"rocm_nodes": ok("")}, None, {"profile": ROCM}),
    Case("rocm-tool-missing", {"rocm_smi": MISSING, "rocm_nodes": ok(KFD)}),
    Case("rocm-group-missing", {"rocm_nodes": ok(KFD), "id": ok("uid=1000(ann) gid=1000(ann) groups=1000(ann),999(docker)\n")}),
    Case("rocm-cards-few", {"rocm_products": PRODUCTS}, "mi300x-192g-x8"),
    Case("rocm-cards-other", {"rocm_products": ok(PRODUCTS.text.replace("MI300X", "MI250X"))}, "mi300x-192g-x4"),
    Case("rocm-partitioned", {"rocm_smi": ok(capture("rocm-smi-mi300x", ("NPS1, SPX", "NPS4, CPX")))}),
    Case("rocm-numa-balancing", {"rocm_numa": ok("1\n")}, "mi300x-192g-x8"),
    Case("rocm-memory-used", {"rocm_smi": ok(capture("rocm-smi-mi300x"))}),
    Case("store-missing", {}, None, store(exists=False, folder=False, writable=False)),
    Case("store-no-folder", {}, None, store(folder=False)),
    Case("store-not-writable", {}, None, store(writable=False)),
    Case("store-low", {}, None, store(free_gib=12.0)),
    Case("store-in-memory", {}, None, store(file_system="tmpfs")),
    Case("store-slow", {}, None, store(read_mb_s=90.0)),
    Case("store-incomplete", {}, None, store(incomplete=["/srv/models/.parts/ab.part"])),
    Case("store-quarantined", {}, None, store(quarantined=["/srv/models/.quarantine/a.safetensors.12"])),
]  # fmt: skip
CASES = [*HOST, *CUDA, *ASCEND, *OTHERS]
