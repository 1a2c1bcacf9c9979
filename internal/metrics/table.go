package metrics

import (
	"slices"

	dto "github.com/prometheus/client_model/go"
)

// Detail says how much is exposed.
type Detail uint8

// Details.
const (
	Full  Detail = iota // by owner and by destination
	Basic               // by owner role only, and no destinations: for large fleets
)

// metric is one metric: a row of docs/metrics.md.
type metric struct {
	name   string
	kind   dto.MetricType
	labels []string
	full   []string // further labels, with Full only
	only   bool     // with Full only
	unit   string
	help   string
	series string // how many there are at most
}

// ownerLabels name an owner. What does not fit is comm="_other".
var ownerLabels = []string{"comm", "unit", "container", "pod"}

var destinationLabels = []string{"netns", "laddr", "raddr", "rport"}

// Kinds of metrics.
const (
	counter   = dto.MetricType_COUNTER
	gauge     = dto.MetricType_GAUGE
	histogram = dto.MetricType_HISTOGRAM
)

// The metrics. They are exposed in the order of their names.
var (
	buildInfo = &metric{name: "twtrace_build_info", kind: gauge, labels: []string{"version", "revision", "goversion"},
		help: "1; the labels have the version of twtrace.", series: "1"}
	traceInfo = &metric{name: "twtrace_trace_info", kind: gauge, labels: []string{"hooks", "kernel", "syscalls"},
		help: "1; the labels have the hook set in use, the release of the kernel, and whether system calls are traced. Absent before the first trace.", series: "1"}
	traceUp = &metric{name: "twtrace_trace_up", kind: gauge,
		help: "1 while the kernel is traced, 0 while it is not.", series: "1"}
	sampleTime = &metric{name: "twtrace_last_sample_timestamp_seconds", kind: gauge, unit: "seconds",
		help: "When the state that these metrics show was taken, since the epoch. Of a replay, the time in the recording.", series: "1"}

	timeWait = &metric{name: "twtrace_time_wait_sockets", kind: gauge, labels: []string{"netns"}, unit: "sockets",
		help: "Sockets in TIME_WAIT now.", series: "S"}
	parked = &metric{name: "twtrace_time_wait_parked_sockets", kind: gauge, labels: []string{"netns"}, unit: "sockets",
		help: "Mini-sockets that are parked in FIN_WAIT2 now.", series: "S"}
	twLimit = &metric{name: "twtrace_time_wait_limit_sockets", kind: gauge, labels: []string{"netns"}, unit: "sockets",
		help: "The TIME_WAIT bucket limit, net.ipv4.tcp_max_tw_buckets, for both together. Absent where it is not known or there is none.", series: "S"}
	entered = &metric{name: "twtrace_time_wait_entered_total", kind: counter, labels: []string{"reason"},
		help: "Starts of TIME_WAIT, by reason.", series: "4"}
	exited = &metric{name: "twtrace_time_wait_exited_total", kind: counter, labels: []string{"reason"},
		help: "Ends of TIME_WAIT, by reason.", series: "7"}
	refused = &metric{name: "twtrace_time_wait_refused_total", kind: counter, labels: []string{"reason"},
		help: "TIME_WAIT sockets that the kernel refused to create: at the bucket limit, or without memory.", series: "3"}
	twDuration = &metric{name: "twtrace_time_wait_duration_seconds", kind: histogram, unit: "seconds",
		help: "How long TIME_WAIT lasted, where its start is known.", series: "11"}

	opened = &metric{name: "twtrace_connections_opened_total", kind: counter, labels: []string{"role"}, full: ownerLabels,
		help: "Connections established.", series: "K + 3"}
	closed = &metric{name: "twtrace_connections_closed_total", kind: counter, labels: []string{"role", "closed_by"}, full: ownerLabels,
		help: "Connections that ended, with TIME_WAIT or without, by the side whose FIN came first.", series: "4 (K + 3)"}
	shortLived = &metric{name: "twtrace_connections_short_lived_total", kind: counter, labels: []string{"role"}, full: ownerLabels,
		help: "Connections that ended within 1 s of being established.", series: "K + 3"}
	open = &metric{name: "twtrace_connections_open", kind: gauge, labels: []string{"role"}, full: ownerLabels, unit: "connections",
		help: "Connections that are open now, or closing without a mini-socket yet.", series: "K + 3"}
	ownerTW = &metric{name: "twtrace_owner_time_wait_sockets", kind: gauge, labels: []string{"role"}, full: ownerLabels, only: true, unit: "sockets",
		help: "Sockets in TIME_WAIT now, by who opened or accepted the connection.", series: "K + 3"}
	failed = &metric{name: "twtrace_connections_failed_total", kind: counter, labels: []string{"role", "call", "errno", "cause"}, full: ownerLabels,
		help: "Calls that failed, by errno and, where the errno has several causes, by cause: no_port is a connect() that found no free local port.", series: "2K + 150"}
	lifetime = &metric{name: "twtrace_connection_lifetime_seconds", kind: histogram, labels: []string{"role"}, unit: "seconds",
		help: "How long connections were established, up to the first FIN or reset.", series: "3 * 18"}
	portSearch = &metric{name: "twtrace_connect_port_search_seconds", kind: histogram, unit: "seconds",
		help: "How long connect() searched for a local port before it failed because none was free.", series: "14"}

	worstRatio = &metric{name: "twtrace_ports_worst_ratio", kind: gauge, labels: []string{"netns"}, unit: "ratio",
		help: "Share of the local ports that are blocked towards the fullest destination: in use, but for those in TIME_WAIT that connect() may take over.", series: "S"}
	worstExhausts = &metric{name: "twtrace_ports_worst_exhausts_in_seconds", kind: gauge, labels: []string{"netns"}, unit: "seconds",
		help: "Time until the first destination has no free local port, at the present rates: 0 if there is one now, +Inf if that is not foreseen.", series: "S"}
	portsUsed = &metric{name: "twtrace_ports_used", kind: gauge, labels: destinationLabels, only: true, unit: "ports",
		help: "Local ports in use towards a destination.", series: "5D"}
	portsUsable = &metric{name: "twtrace_ports_usable", kind: gauge, labels: destinationLabels, only: true, unit: "ports",
		help: "Local ports that connect() may use towards a destination. Absent where the limits are not known.", series: "5D"}
	portsTW = &metric{name: "twtrace_ports_time_wait", kind: gauge, labels: destinationLabels, only: true, unit: "ports",
		help: "Of the ports in use, those in TIME_WAIT.", series: "5D"}
	portsReusable = &metric{name: "twtrace_ports_reusable", kind: gauge, labels: destinationLabels, only: true, unit: "ports",
		help: "Of the ports in TIME_WAIT, those that connect() would take over now.", series: "5D"}
	portsExhausts = &metric{name: "twtrace_ports_exhausts_in_seconds", kind: gauge, labels: destinationLabels, only: true, unit: "seconds",
		help: "Time until no local port is free towards a destination, at the present rates: 0 if there is none now, +Inf if that is not foreseen.", series: "5D"}
	portsOwner = &metric{name: "twtrace_ports_owner_info", kind: gauge, labels: slices.Concat(destinationLabels, ownerLabels), only: true,
		help: "1; who holds most of the ports towards a destination, to join owners and destinations.", series: "5D"}
	localPorts = &metric{name: "twtrace_local_ports_used_ratio", kind: gauge, labels: []string{"netns"}, unit: "ratio",
		help: "Share of the local ports in use that programs have bound before they connected, at the fullest local address.", series: "S"}

	stormActive = &metric{name: "twtrace_storm_active", kind: gauge, labels: []string{"reason", "severity"}, unit: "storms",
		help: "Storms in progress.", series: "6"}
	storms = &metric{name: "twtrace_storms_total", kind: counter, labels: []string{"reason"},
		help: "Storms that have started.", series: "3"}
	finding = &metric{name: "twtrace_finding_active", kind: gauge, labels: []string{"id", "severity"}, unit: "findings",
		help: "How often a finding is present now; twtrace explain ID explains it. Absent where it is not.", series: "3 per finding"}

	events = &metric{name: "twtrace_events_total", kind: counter, labels: []string{"kind"},
		help: "Events that were read, by kind. Events of others that no filter asks for count too.", series: "12"}
	lost = &metric{name: "twtrace_events_lost_total", kind: counter, labels: []string{"stage"},
		help: "Events that were lost, by stage.", series: "7"}
	drift = &metric{name: "twtrace_kernel_drift", kind: gauge, labels: []string{"counter"},
		help: "By how much the kernel's own counters differ from the trace, summed over the network namespaces; 0 if they agree.", series: "4"}
	unknown = &metric{name: "twtrace_owners_unknown", kind: gauge, labels: []string{"why"}, unit: "sockets",
		help: "Sockets whose owner is not known: from before the trace, or else.", series: "2"}
	ringUsed = &metric{name: "twtrace_ring_used_bytes", kind: gauge, unit: "bytes",
		help: "Bytes in the ring buffer that wait to be read. A live trace only.", series: "1"}
	ringSize = &metric{name: "twtrace_ring_size_bytes", kind: gauge, unit: "bytes",
		help: "Size of the ring buffer. A live trace only.", series: "1"}
	mapEntries = &metric{name: "twtrace_map_entries", kind: gauge, labels: []string{"map"}, unit: "entries",
		help: "Connections in the kernel's table of owners when it was last compared with the kernel's sockets, every 5 minutes. A live trace only.", series: "1"}
	mapCapacity = &metric{name: "twtrace_map_capacity", kind: gauge, labels: []string{"map"}, unit: "entries",
		help: "For how many connections the kernel's table of owners has room. A live trace only.", series: "1"}
	unnamed = &metric{name: "twtrace_processes_unnamed_total", kind: counter, labels: []string{"why"},
		help: "Processes whose unit, container and pod are not known: they were gone before they could be read, or too many came at once. A live trace only.", series: "2"}
	processCPU = &metric{name: "twtrace_process_cpu_seconds_total", kind: counter, labels: []string{"process"}, unit: "seconds",
		help: "User and system time that the processes of the agent have taken: its tracer and its speaker. What BPF programs take is not in it. An agent only.", series: "2"}
	processMemory = &metric{name: "twtrace_process_resident_memory_bytes", kind: gauge, labels: []string{"process"}, unit: "bytes",
		help: "Resident memory of the processes of the agent. They share the pages of their program, which are in both. An agent only.", series: "2"}
	bpfSeconds = &metric{name: "twtrace_bpf_run_seconds_total", kind: counter, labels: []string{"program"}, unit: "seconds",
		help: "Time that the BPF programs took. Only while the kernel counts it: sysctl kernel.bpf_stats_enabled.", series: "20"}
	bpfRuns = &metric{name: "twtrace_bpf_runs_total", kind: counter, labels: []string{"program"},
		help: "Runs of the BPF programs. Only while the kernel counts them: sysctl kernel.bpf_stats_enabled.", series: "20"}
	bpfSkipped = &metric{name: "twtrace_bpf_recursion_total", kind: counter, labels: []string{"program"},
		help: "Runs of the BPF programs that the kernel skipped, since the program had interrupted itself. What was lost by that is in twtrace_events_lost_total. A live trace only.", series: "20"}
	folded = &metric{name: "twtrace_series_folded_total", kind: counter, labels: []string{"metric"},
		help: "What had no room for series of its own: owners, destinations and network namespaces; of twtrace_connections_failed_total, calls.", series: "9"}
	retired = &metric{name: "twtrace_series_retired_value_total", kind: counter, labels: []string{"metric"}, only: true,
		help: "What the counters of owners had reached that gave their series up to others. With it, the sum over all owners is the total since the start.", series: "4"}

	reloaded = &metric{name: "twtrace_config_last_reload_successful", kind: gauge,
		help: "1 if the last reload of the configuration worked, 0 if it did not. Absent before the first.", series: "1"}
	reloadedAt = &metric{name: "twtrace_config_last_reload_success_timestamp_seconds", kind: gauge, unit: "seconds",
		help: "When the configuration was last reloaded with success, since the epoch. Absent before the first.", series: "1"}
)

// table has all metrics, and docs/metrics.md is made from it.
var table = []*metric{
	buildInfo, traceInfo, traceUp, sampleTime,
	timeWait, parked, twLimit, entered, exited, refused, twDuration,
	opened, closed, shortLived, open, ownerTW, failed, lifetime, portSearch,
	worstRatio, worstExhausts, portsUsed, portsUsable, portsTW, portsReusable, portsExhausts, portsOwner, localPorts,
	stormActive, storms, finding,
	events, lost, drift, unknown, unnamed, ringUsed, ringSize, mapEntries, mapCapacity, processCPU, processMemory, bpfSeconds, bpfRuns, bpfSkipped, folded, retired,
	reloaded, reloadedAt,
}

// labelsAt are the labels that m has with a detail.
func (m *metric) labelsAt(d Detail) []string {
	if d == Basic {
		return m.labels
	}
	return slices.Concat(m.full, m.labels)
}
