package view

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// rowField is one column of the tables for scripts, and one field of the objects; its
// title is the name in capitals.
type rowField struct {
	name string
	typ  fieldType
	doc  string
	cell func(r *Row) string // "" if it is not known
}

// rowFields are those of a row. Scripts count the columns: none is ever moved or
// removed, and new ones come last.
var rowFields = []rowField{
	{"sev", severityField, "`!` (in objects `crit`): ports are refused, or will be within five minutes; `~` (`warn`): they come near",
		func(r *Row) string { return strings.TrimSpace(r.Severity.mark()) }},
	{"comm", textField, "what the row is called: the owner's comm, or what `--by` groups by",
		func(r *Row) string { return r.name() }},
	{"pid", countField, "the owner, if it is one process", batchPID},
	{"dir", textField, "`out`: these sockets connected; `in`: they were accepted", batchDirection},
	{"peer", textField, "remote address and port; `*` if there are several", batchPeer},
	{"tw", countField, "sockets in TIME_WAIT", func(r *Row) string { return strconv.FormatUint(r.TimeWait, 10) }},
	{"tw_s", rateField, "how that changes: `in_s` less `out_s`", func(r *Row) string { return batchRate(r.In - r.Out) }},
	{"port_pct", countField, "percent of the local ports to that destination that are in use, by anyone; of several destinations the fullest", batchPorts},
	{"open_s", rateField, "connections established", func(r *Row) string { return batchRate(r.Open) }},
	{"close_s", rateField, "connections ended", func(r *Row) string { return batchRate(r.Close) }},
	{"fail_s", rateField, "calls failed", func(r *Row) string { return batchRate(r.Fail) }},
	{"life50_ms", rateField, "median lifetime of the connections", func(r *Row) string { return batchLife(r, 0.5) }},
	{"closer", textField, "the side whose FIN comes first most often: `local`, `remote` or `both`",
		func(r *Row) string { side, _, _ := r.closer(); return side.String() }},
	{"closer_pct", countField, "how often, in percent of those known", batchCloserShare},
	{"in_s", rateField, "begins of TIME_WAIT", func(r *Row) string { return batchRate(r.In) }},
	{"out_s", rateField, "ends of TIME_WAIT", func(r *Row) string { return batchRate(r.Out) }},
	{"parked", countField, "sockets in FIN_WAIT2 without a process", func(r *Row) string { return strconv.FormatUint(r.Parked, 10) }},
	{"est", countField, "open connections", func(r *Row) string { return strconv.FormatUint(r.Established, 10) }},
	{"life99_ms", rateField, "lifetime that one connection in a hundred exceeds", func(r *Row) string { return batchLife(r, 0.99) }},
	{"local", textField, "local address, and of servers the port", batchLocal},
	{"netns", countField, "network namespace", func(r *Row) string { return batchNumber(uint64(r.NetNS)) }},
	{"pids", countField, "how many processes", func(r *Row) string { return batchNumber(uint64(r.PIDs)) }},
	{"peers", countField, "destinations of a client, remote addresses of a server", batchPeers},
	{"ppid", countField, "the owner's parent", batchParent},
	{"pcomm", textField, "the parent's comm", func(r *Row) string { return r.who().PComm }},
	{"uid", countField, "the owner's user", batchUID},
	{"exe", textField, "the owner's executable", func(r *Row) string { return r.who().Exe }},
	{"unit", textField, "its systemd unit", func(r *Row) string { return r.who().Unit }},
	{"container", textField, "its container, by name if that is known", func(r *Row) string { return either(r.who().ContainerName, r.who().Container) }},
	{"pod", textField, "its pod, by name if that is known", func(r *Row) string { return either(r.who().PodName, r.who().Pod) }},
}

func batchParent(r *Row) string { return batchNumber(uint64(r.who().PPID)) }

func batchUID(r *Row) string {
	if !r.who().HasUID {
		return ""
	}
	return decimal(r.who().UID)
}

func batchNumber(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

func batchPID(r *Row) string { return batchNumber(uint64(r.Owner.PID)) }

func batchDirection(r *Row) string {
	switch r.Role {
	case event.Client:
		return "out"
	case event.Server:
		return "in"
	}
	return ""
}

// batchPeer is "*" where there are many, as a server's clients.
func batchPeer(r *Row) string {
	switch {
	case r.Remote.IsValid():
		return r.Remote.String()
	case r.Role == event.Server || r.Peers > 1:
		return "*"
	}
	return ""
}

func batchLocal(r *Row) string {
	switch {
	case !r.Local.Addr().IsValid():
		return ""
	case r.Local.Port() == 0:
		return r.Local.Addr().String()
	}
	return r.Local.String()
}

// batchPeers is how many peers the row has: destinations of a client, remote
// addresses of a server.
func batchPeers(r *Row) string {
	if r.Role == event.Server {
		return batchNumber(uint64(r.Clients))
	}
	return batchNumber(uint64(r.Peers))
}

func batchPorts(r *Row) string {
	if r.Usable <= 0 {
		return ""
	}
	return strconv.Itoa(int(100 * float64(r.Ports) / float64(r.Usable)))
}

func batchCloserShare(r *Row) string {
	_, n, of := r.closer()
	if of == 0 {
		return ""
	}
	return strconv.FormatUint(100*n/of, 10)
}

// batchRate has one decimal below ten, where it says something.
func batchRate(v float64) string {
	switch {
	case !known(v):
		return ""
	case math.Abs(v) < 9.95 && math.Abs(v-math.Round(v)) >= 0.05:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatInt(int64(math.Round(v)), 10)
}

// batchLife is in milliseconds, with three digits.
func batchLife(r *Row, q float64) string {
	d, ok := r.Life.Quantile(q)
	if !ok {
		return ""
	}
	ms := float64(d) / float64(time.Millisecond)
	if ms <= 0 {
		return "0"
	}
	unit := math.Pow10(int(math.Floor(math.Log10(ms))) - 2)
	return strconv.FormatFloat(math.Round(ms/unit)*unit, 'f', max(0, 2-int(math.Floor(math.Log10(ms)))), 64)
}
