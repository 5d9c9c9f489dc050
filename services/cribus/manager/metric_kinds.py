"""Which metrics there are: the table behind ListMetricDescriptors."""

from typing import NamedTuple

from cribus.api.cri.values import MetricType


class Kind(NamedTuple):
    """One metric: what it is called and which reading it shows."""

    name: str
    help: str
    value: str  # field of a Reading
    kind: MetricType = MetricType.GAUGE
    labels: tuple[str, ...] = ()


_C = MetricType.COUNTER
KINDS: tuple[Kind, ...] = (
    Kind("container_cpu_user_seconds_total", "User CPU time", "cpu_user", _C),
    Kind("container_cpu_system_seconds_total", "System CPU time", "cpu_system", _C),
    Kind("container_cpu_usage_seconds_total", "CPU time", "cpu_usage", _C, ("cpu",)),
    Kind("container_cpu_cfs_periods_total", "Elapsed enforcement periods", "cfs_periods", _C),
    Kind("container_cpu_cfs_throttled_periods_total", "Throttled periods", "cfs_throttled", _C),
    Kind("container_cpu_cfs_throttled_seconds_total", "Time throttled", "cfs_throttled_time", _C),
    Kind("container_memory_cache", "Page cache, bytes", "memory_cache"),
    Kind("container_memory_rss", "Resident set, bytes", "memory_rss"),
    Kind("container_memory_kernel_usage", "Kernel memory, bytes", "memory_kernel"),
    Kind("container_memory_mapped_file", "Mapped files, bytes", "memory_mapped"),
    Kind("container_memory_swap", "Swap, bytes", "memory_swap"),
    Kind("container_memory_failcnt", "Times the limit was hit", "memory_failcnt", _C),
    Kind("container_memory_usage_bytes", "Memory, bytes", "memory_usage"),
    Kind("container_memory_max_usage_bytes", "Most memory so far, bytes", "memory_max"),
    Kind("container_memory_working_set_bytes", "Memory that cannot be dropped, bytes", "memory_working_set"),
    Kind("container_memory_total_active_file_bytes", "Active file pages, bytes", "memory_active_file"),
    Kind("container_memory_total_inactive_file_bytes", "Inactive file pages, bytes", "memory_inactive_file"),
    Kind("container_memory_failures_total", "Page faults", "faults", _C, ("failure_type", "scope")),
    Kind("container_oom_events_total", "Kills by the OOM killer", "oom_kills", _C),
    Kind("container_fs_inodes_free", "Free inodes", "fs_inodes_free", labels=("device",)),
    Kind("container_fs_inodes_total", "Inodes", "fs_inodes", labels=("device",)),
    Kind("container_fs_limit_bytes", "Size of the file system, bytes", "fs_limit", labels=("device",)),
    Kind("container_fs_usage_bytes", "Writable layer, bytes", "fs_usage", labels=("device",)),
    Kind("container_fs_reads_bytes_total", "Bytes read", "io_read_bytes", _C, ("device",)),
    Kind("container_fs_reads_total", "Reads", "io_reads", _C, ("device",)),
    Kind("container_fs_writes_bytes_total", "Bytes written", "io_write_bytes", _C, ("device",)),
    Kind("container_fs_writes_total", "Writes", "io_writes", _C, ("device",)),
    Kind(
        "container_blkio_device_usage_total", "Bytes by device and operation", "io_usage", _C, ("device", "operation")
    ),
    Kind("container_processes", "Processes", "processes"),
    Kind("container_file_descriptors", "Open file descriptors", "descriptors"),
    Kind("container_sockets", "Open sockets", "sockets"),
    Kind("container_threads", "Threads", "threads"),
    Kind("container_threads_max", "Most threads allowed; 0 is no limit", "threads_max"),
    Kind("container_last_seen", "When it was last seen, seconds since the epoch", "now"),
    Kind("container_start_time_seconds", "When it started, seconds since the epoch", "started"),
    Kind("container_spec_cpu_period", "CFS period, µs", "spec_cpu_period"),
    Kind("container_spec_cpu_quota", "CFS quota, µs", "spec_cpu_quota"),
    Kind("container_spec_cpu_shares", "CPU shares", "spec_cpu_shares"),
    Kind("container_spec_memory_limit_bytes", "Memory limit, bytes; 0 is none", "spec_memory"),
    Kind("container_spec_memory_reservation_limit_bytes", "Memory reservation, bytes", "spec_reservation"),
    Kind("container_spec_memory_swap_limit_bytes", "Memory and swap limit, bytes", "spec_swap"),
    Kind("container_pressure_cpu_waiting_seconds_total", "Time some waited for CPU", "psi_cpu_some", _C),
    Kind("container_pressure_cpu_stalled_seconds_total", "Time all waited for CPU", "psi_cpu_full", _C),
    Kind("container_pressure_memory_waiting_seconds_total", "Time some waited for memory", "psi_memory_some", _C),
    Kind("container_pressure_memory_stalled_seconds_total", "Time all waited for memory", "psi_memory_full", _C),
    Kind("container_pressure_io_waiting_seconds_total", "Time some waited for IO", "psi_io_some", _C),
    Kind("container_pressure_io_stalled_seconds_total", "Time all waited for IO", "psi_io_full", _C),
)
NETWORK = (
    ("container_network_receive_bytes_total", "Bytes received", "rx_bytes"),
    ("container_network_receive_packets_total", "Packets received", "rx_packets"),
    ("container_network_receive_packets_dropped_total", "Packets dropped when received", "rx_dropped"),
    ("container_network_receive_errors_total", "Errors when receiving", "rx_errors"),
    ("container_network_transmit_bytes_total", "Bytes sent", "tx_bytes"),
    ("container_network_transmit_packets_total", "Packets sent", "tx_packets"),
    ("container_network_transmit_packets_dropped_total", "Packets dropped when sent", "tx_dropped"),
    ("container_network_transmit_errors_total", "Errors when sending", "tx_errors"),
)
