package output

// What text prints without --fields: the first of these that fits the terminal, and the
// first of all where there is none. With IPv4 they take 115, 99, 90, 80, 76, 71, 67 and
// 57 columns.
var textArrangements = [][]string{
	{"time", "event", "pid", "comm", "laddr", "lport", "dir", "raddr", "rport", "life_ns", "reason:13"},
	{"time", "event", "pid", "comm", "lport", "dir", "raddr", "rport", "life_ns", "reason:13"},
	{"time", "event", "pid", "comm", "port", "raddr", "life_ns", "reason:13"},
	{"clock", "event", "pid", "comm", "port", "raddr", "reason:13"},
	{"clock", "event", "pid", "comm", "port", "raddr", "reason:9"},
	{"clock", "event", "comm", "port", "raddr", "reason:13"},
	{"clock", "event", "comm", "port", "raddr", "reason:9"},
	{"clock", "event", "comm", "port", "raddr"},
}

// The same with --states all.
var stateArrangements = [][]string{
	{"time", "event", "pid", "comm", "laddr", "lport", "dir", "raddr", "rport", "oldstate", "newstate", "state_ns", "life_ns", "reason:13"},
	{"time", "event", "pid", "comm", "lport", "dir", "raddr", "rport", "oldstate", "newstate", "state_ns", "reason:13"},
	{"time", "event", "pid", "comm", "port", "raddr", "oldstate", "newstate", "state_ns", "reason:13"},
	{"time", "event", "pid", "comm", "port", "raddr", "oldstate", "newstate"},
	{"clock", "pid", "comm", "port", "raddr", "oldstate", "newstate"},
	{"clock", "comm", "port", "raddr", "oldstate", "newstate"},
	{"clock", "comm", "port", "oldstate", "newstate"},
}

// What wide prints.
var wideFields = []string{"time", "event", "netns", "cookie", "pid", "comm", "owner", "role", "closed_by",
	"closer_pid", "closer_comm", "uid", "ppid", "pcomm", "unit", "container", "laddr", "lport", "raddr", "rport", "life_ns", "state_ns",
	"remaining_ns", "timestamps", "reason", "call", "errno"}

// defaultArrangements are what is printed where o names no fields.
func defaultArrangements(o Options) [][]string {
	switch {
	case o.Format == Wide && o.States:
		return [][]string{withStates(wideFields)}
	case o.Format == Wide:
		return [][]string{wideFields}
	case len(o.Arrangements) > 0:
		return o.Arrangements
	case o.States:
		return stateArrangements
	}
	return textArrangements
}

// withStates puts the states in front of how long the old one lasted.
func withStates(fields []string) []string {
	var out []string
	for _, f := range fields {
		if f == "state_ns" {
			out = append(out, "oldstate", "newstate")
		}
		out = append(out, f)
	}
	return out
}
