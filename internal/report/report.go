// Package report words a recording for a post-mortem: what was wrong first, then
// what happened and when, who did it, and how far the recording can be trusted. The
// same content is written as a page of HTML that needs nothing beside itself, as
// Markdown, and as JSON. It reads no clock: the same recording makes the same bytes.
package report

// Schema names the form of the JSON. Fields are added within a version, never changed.
const Schema = "twtrace.report/v1"

// Report is all that the forms show. Strings from outside are escaped in it, as
// output.Escape does. Times are RFC 3339, UTC.
type Report struct {
	Schema       string        `json:"schema" doc:"name of this form: twtrace.report/v1"`
	Verdict      string        `json:"verdict" doc:"the worst of findings and storms: crit, warn or ok; unknown if the recording has no limits and no storms"`
	Trace        Trace         `json:"trace" doc:"what was recorded, where and when"`
	Totals       Totals        `json:"totals" doc:"records of the time reported on, by what they tell"`
	Peaks        Peaks         `json:"peaks" doc:"the most of it at a time"`
	Findings     []Finding     `json:"findings" doc:"what the rules of doctor found while the recording was replayed, the worst first"`
	Storms       []Storm       `json:"storms" doc:"storms that the recording tells of, in the order of their begin"`
	Destinations []Destination `json:"destinations" doc:"where clients connected to, the fullest port range first"`
	Owners       []Owner       `json:"owners" doc:"processes, those with most connections first"`
	Lifetimes    Lifetimes     `json:"lifetimes" doc:"how long connections lived"`
	Begins       []Count       `json:"time_wait_begins" doc:"begins of TIME_WAIT by reason"`
	Exits        []Count       `json:"time_wait_ends" doc:"ends of TIME_WAIT by reason"`
	Closes       []Count       `json:"closes" doc:"connections that ended with no TIME_WAIT on this side, by reason"`
	Failures     []Failure     `json:"failures" doc:"calls that failed, the most frequent first"`
	Namespaces   []Namespace   `json:"namespaces" doc:"TIME_WAIT sockets of network namespaces against their limit, the fullest first"`
	Losses       Losses        `json:"losses" doc:"what the recording does not tell"`
	Series       Series        `json:"series" doc:"what happened in each step of time; all arrays are as long as time_s"`
	Omitted      Omitted       `json:"omitted" doc:"how many rows the tables leave out"`
}

// Trace says what was recorded.
type Trace struct {
	Host     string   `json:"host,omitempty" doc:"host name"`
	Kernel   string   `json:"kernel,omitempty" doc:"kernel release"`
	BootID   string   `json:"boot_id,omitempty" doc:"the kernel's random id of this boot"`
	Version  string   `json:"version,omitempty" doc:"version of twtrace that recorded"`
	Begin    string   `json:"begin" doc:"begin of the time reported on"`
	End      string   `json:"end" doc:"its end"`
	Duration float64  `json:"duration_s" doc:"seconds between the two"`
	Why      string   `json:"why,omitempty" doc:"why the trace ended; absent if the recording has no end"`
	Filter   string   `json:"filter,omitempty" doc:"the filter of the recording in words; absent if all was recorded"`
	Hooks    []string `json:"hooks" doc:"kernel hooks in use"`
	Missing  []string `json:"missing" doc:"what the hooks do not see, in words"`
	Limits   []Limits `json:"limits" doc:"limits of network namespaces, those with the same ones together"`
}

// Limits are those of network namespaces that have the same ones.
type Limits struct {
	NetNS   []uint32 `json:"netns" doc:"inode numbers of the network namespaces, the first ones; empty if the recording tells of one only, without its number"`
	More    uint64   `json:"more,omitempty" doc:"how many more namespaces have them"`
	Sysctls []Sysctl `json:"sysctls" doc:"the limits, by name"`
}

// Sysctl is a setting of the kernel.
type Sysctl struct {
	Name  string `json:"name" doc:"its name"`
	Value string `json:"value" doc:"its value"`
}

// Totals count records.
type Totals struct {
	Opened  uint64 `json:"opened" doc:"connections established; one on loopback is two, a client's and a server's"`
	Ended   uint64 `json:"ended" doc:"connections that ended, with TIME_WAIT, without, or with one that was refused"`
	Begins  uint64 `json:"time_wait_begins" doc:"begins of TIME_WAIT"`
	Exits   uint64 `json:"time_wait_ends" doc:"ends of TIME_WAIT"`
	Closed  uint64 `json:"closed" doc:"ends of connections with no TIME_WAIT on this side"`
	Before  uint64 `json:"before" doc:"sockets that were in TIME_WAIT before the trace"`
	Failed  uint64 `json:"failed" doc:"calls that failed"`
	Refused uint64 `json:"refused" doc:"TIME_WAIT sockets that the kernel refused"`
	Lost    uint64 `json:"lost" doc:"events that the trace or the file lost"`
}

// Peaks are the most at a time.
type Peaks struct {
	TimeWait   Peak  `json:"time_wait" doc:"sockets in TIME_WAIT"`
	OpenRate   Peak  `json:"opened_per_s" doc:"connections established per second, in one step of the series"`
	FailRate   Peak  `json:"failed_per_s" doc:"calls failed per second, in one step of the series"`
	PortsShare *Peak `json:"ports_share,omitempty" doc:"share of the local ports towards one destination that was in use; absent if no limit is known"`
}

// Peak is a number and when it was.
type Peak struct {
	Value float64 `json:"value" doc:"the number"`
	At    string  `json:"at,omitempty" doc:"when it was first reached; absent of 0"`
}

// Finding is one of package advice's, as it was at its worst.
type Finding struct {
	ID       string     `json:"id" doc:"the rule; twtrace explain ID has it in full"`
	Severity string     `json:"severity" doc:"crit, warn, info, ok or skip"`
	Title    string     `json:"title" doc:"the rule in a few words"`
	NetNS    uint32     `json:"netns,omitempty" doc:"network namespace"`
	First    string     `json:"first" doc:"when it was first found"`
	Last     string     `json:"last" doc:"when it was last found"`
	At       string     `json:"at" doc:"when it was as told here: at its worst"`
	Foreseen string     `json:"foreseen,omitempty" doc:"the forecast when it was first found"`
	What     string     `json:"what,omitempty" doc:"numbers and their limit"`
	Who      string     `json:"who,omitempty" doc:"the owner"`
	When     string     `json:"when,omitempty" doc:"the forecast at that time"`
	Reason   string     `json:"reason,omitempty" doc:"the evidence in words"`
	Evidence []Evidence `json:"evidence" doc:"the evidence in numbers"`
	Remedies []Remedy   `json:"remedies" doc:"what helps"`
}

// Evidence is one number that a finding rests on.
type Evidence struct {
	Name   string  `json:"name" doc:"what was counted"`
	Value  float64 `json:"value" doc:"the number"`
	Limit  float64 `json:"limit,omitempty" doc:"its limit; absent if it has none"`
	Unit   string  `json:"unit,omitempty" doc:"its unit"`
	Source string  `json:"source" doc:"where it comes from"`
}

// Remedy is something to do.
type Remedy struct {
	Kind    string `json:"kind" doc:"now: helps in a minute; fix: mends the cause"`
	Text    string `json:"text" doc:"what to do"`
	Command string `json:"command,omitempty" doc:"the command for it"`
	Undo    string `json:"undo,omitempty" doc:"the command that undoes it"`
	Risk    string `json:"risk,omitempty" doc:"what may go wrong"`
}

// Storm is what storm records tell together, each number at its highest.
type Storm struct {
	Reason   string   `json:"reason" doc:"ports, buckets or churn"`
	Severity string   `json:"severity" doc:"the worst of it: crit or warn"`
	Begin    string   `json:"begin" doc:"when it began, or was first told"`
	End      string   `json:"end,omitempty" doc:"when it was over; absent if the recording ended before"`
	NetNS    uint32   `json:"netns,omitempty" doc:"network namespace"`
	Laddr    string   `json:"laddr,omitempty" doc:"local address"`
	Raddr    string   `json:"raddr,omitempty" doc:"remote address"`
	Rport    uint16   `json:"rport,omitempty" doc:"remote port"`
	PID      uint32   `json:"pid,omitempty" doc:"process id of the owner"`
	Comm     string   `json:"comm,omitempty" doc:"comm of the owner"`
	Rate     float64  `json:"rate" doc:"connections opened per second; of buckets, TIME_WAIT begun"`
	Used     uint64   `json:"used" doc:"ports in use, or TIME_WAIT sockets"`
	Usable   uint64   `json:"usable,omitempty" doc:"how many there are; absent of churn"`
	Fails    uint64   `json:"fails" doc:"refused for want of room while it lasted"`
	LifeP50  int64    `json:"life_p50_ns,omitempty" doc:"median lifetime of the owner's connections"`
	Foreseen *float64 `json:"exhausts_in_s,omitempty" doc:"seconds to exhaustion as first foreseen"`

	from, to int64
}

// Destination is one remote end of clients.
type Destination struct {
	NetNS   uint32  `json:"netns,omitempty" doc:"network namespace"`
	Laddr   string  `json:"laddr,omitempty" doc:"local address"`
	Raddr   string  `json:"raddr" doc:"remote address"`
	Rport   uint16  `json:"rport" doc:"remote port"`
	Used    uint64  `json:"ports_used,omitempty" doc:"local ports in use, at the most"`
	Usable  uint64  `json:"ports_usable,omitempty" doc:"how many there are; absent if that is not known"`
	UsedAt  string  `json:"at,omitempty" doc:"when they were"`
	Opened  uint64  `json:"opened" doc:"connections established"`
	Begins  uint64  `json:"time_wait_begins" doc:"begins of TIME_WAIT"`
	Failed  uint64  `json:"failed" doc:"calls that failed"`
	NoPort  uint64  `json:"no_port" doc:"of those, connects that found no free port: EADDRNOTAVAIL"`
	LifeP50 *int64  `json:"life_p50_ns,omitempty" doc:"median lifetime, within a tenth"`
	PID     uint32  `json:"pid,omitempty" doc:"process that opened most of them"`
	Comm    string  `json:"comm,omitempty" doc:"its comm"`
	share   float64 // of the ports, at the most
}

// Owner is a process with its connections.
type Owner struct {
	Name      string `json:"name" doc:"comm, or what stands for an owner that is not known"`
	PID       uint32 `json:"pid,omitempty" doc:"process id; absent of many processes, and if it is not known"`
	Processes uint64 `json:"processes,omitempty" doc:"how many processes; absent if that is not known, or only about"`
	Exe       string `json:"exe,omitempty" doc:"executable"`
	Unit      string `json:"unit,omitempty" doc:"systemd unit"`
	Container string `json:"container,omitempty" doc:"container, by name or id"`
	Pod       string `json:"pod,omitempty" doc:"Kubernetes pod, by name or UID"`
	Role      string `json:"role,omitempty" doc:"client or server; absent if both, or not known"`
	Opened    uint64 `json:"opened" doc:"connections established"`
	Begins    uint64 `json:"time_wait_begins" doc:"begins of TIME_WAIT"`
	Closed    uint64 `json:"closed" doc:"ends of connections with no TIME_WAIT on this side"`
	Failed    uint64 `json:"failed" doc:"calls that failed"`
	Refused   uint64 `json:"refused" doc:"TIME_WAIT sockets that the kernel refused"`
	Local     uint64 `json:"closed_first" doc:"connections that this side closed first"`
	Closers   uint64 `json:"closer_known" doc:"connections of which it is known who closed first"`
	LifeP50   *int64 `json:"life_p50_ns,omitempty" doc:"median lifetime, within a tenth"`
	LifeP99   *int64 `json:"life_p99_ns,omitempty" doc:"lifetime of 99 in 100, within a tenth"`
	Alive     uint64 `json:"time_wait" doc:"sockets still in TIME_WAIT at the end"`
}

// Lifetimes are those of connections whose begin and end were both seen.
type Lifetimes struct {
	Known uint64    `json:"known" doc:"connections whose lifetime is known"`
	P50   *int64    `json:"p50_ns,omitempty" doc:"median, within a tenth"`
	P90   *int64    `json:"p90_ns,omitempty" doc:"lifetime of 90 in 100, within a tenth"`
	P99   *int64    `json:"p99_ns,omitempty" doc:"lifetime of 99 in 100, within a tenth"`
	Bars  []LifeBar `json:"bars" doc:"counts by powers of two"`
}

// LifeBar counts lifetimes from From on and below To.
type LifeBar struct {
	From   int64  `json:"from_ns" doc:"from this lifetime on"`
	To     int64  `json:"to_ns,omitempty" doc:"and below this one; absent of the last bar if it has no end"`
	Client uint64 `json:"client" doc:"sockets that connected"`
	Other  uint64 `json:"other" doc:"sockets that were accepted, or whose role is not known"`
}

// Count is how often something was so.
type Count struct {
	Reason string `json:"reason" doc:"why; unknown if that was not seen"`
	N      uint64 `json:"count" doc:"how often"`
}

// Failure is calls that failed alike.
type Failure struct {
	Call  string `json:"call" doc:"connect, bind, accept or socket"`
	Errno string `json:"errno" doc:"its error"`
	PID   uint32 `json:"pid,omitempty" doc:"process that called"`
	Comm  string `json:"comm,omitempty" doc:"its comm"`
	Raddr string `json:"raddr,omitempty" doc:"remote address"`
	Rport uint16 `json:"rport,omitempty" doc:"remote port"`
	N     uint64 `json:"count" doc:"how often"`
	First string `json:"first" doc:"when it first failed"`
	Last  string `json:"last" doc:"when it last failed"`
}

// Namespace is a network namespace and its bucket limit.
type Namespace struct {
	NetNS   uint32 `json:"netns" doc:"inode number of the network namespace"`
	Used    uint64 `json:"time_wait" doc:"TIME_WAIT sockets at the most, those parked in FIN_WAIT2 included"`
	At      string `json:"at" doc:"when they were"`
	Limit   uint64 `json:"limit,omitempty" doc:"tcp_max_tw_buckets; absent if it is not known"`
	Refused uint64 `json:"refused" doc:"TIME_WAIT sockets that the kernel refused"`
	share   float64
}

// Losses say how far the recording can be trusted.
type Losses struct {
	Stages  []StageLoss `json:"stages" doc:"events lost, by where; empty if none were"`
	Damage  []string    `json:"damage" doc:"what is wrong with the file, in words"`
	Drift   []Drift     `json:"drift" doc:"network namespaces where the kernel's own counters grew otherwise"`
	Unnamed []Count     `json:"unnamed" doc:"processes whose records lack details, by why"`
	Late    uint64      `json:"late" doc:"begins of TIME_WAIT that were found at its end only"`
	Alive   *uint64     `json:"alive,omitempty" doc:"sockets in TIME_WAIT or parked when the trace ended, by the kernel's account; absent if the recording has no end"`
}

// StageLoss is how many events were lost where.
type StageLoss struct {
	Stage string `json:"stage" doc:"ring, map, recursion, time_wait, decode or queue"`
	N     uint64 `json:"count" doc:"how many"`
}

// Drift is what the kernel counted less what was traced.
type Drift struct {
	NetNS   uint32 `json:"netns" doc:"network namespace"`
	Births  int64  `json:"births" doc:"of TIME_WAIT sockets"`
	Reused  int64  `json:"reused" doc:"ends by reuse"`
	Refused int64  `json:"refused" doc:"refusals"`
	Alive   int64  `json:"alive" doc:"sockets alive"`
}

// Series is what happened over time, in at most maxSteps steps of the same length.
type Series struct {
	Step        float64    `json:"step_s" doc:"length of a step in seconds"`
	Time        []float64  `json:"time_s" doc:"begin of each step, seconds since the epoch"`
	TimeWait    []uint64   `json:"time_wait" doc:"sockets in TIME_WAIT, the most in the step"`
	Established []uint64   `json:"established" doc:"connections open, the most in the step"`
	Opened      []uint64   `json:"opened" doc:"connections established"`
	Ended       []uint64   `json:"ended" doc:"connections that ended"`
	Begins      []uint64   `json:"time_wait_begins" doc:"begins of TIME_WAIT"`
	Exits       []uint64   `json:"time_wait_ends" doc:"ends of TIME_WAIT"`
	Failed      []uint64   `json:"failed" doc:"calls that failed"`
	Refused     []uint64   `json:"refused" doc:"TIME_WAIT sockets that the kernel refused"`
	Lost        []uint64   `json:"lost" doc:"events lost"`
	PortsShare  []*float64 `json:"ports_share" doc:"share of the local ports in use towards the worst destination, the most in the step; null if it was not looked at, or no limit is known"`

	covered float64 // seconds of the last step
}

// Omitted counts rows that are in no table.
type Omitted struct {
	Findings     uint64 `json:"findings" doc:"findings"`
	Storms       uint64 `json:"storms" doc:"storms"`
	Destinations uint64 `json:"destinations" doc:"destinations"`
	Owners       uint64 `json:"owners" doc:"owners"`
	Failures     uint64 `json:"failures" doc:"failed calls that are in no row"`
	Namespaces   uint64 `json:"namespaces" doc:"network namespaces"`
	Limits       uint64 `json:"limits" doc:"sets of limits"`
	Damage       uint64 `json:"damage" doc:"damages of the file"`
}
