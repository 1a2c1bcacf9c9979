package report

import (
	"encoding/json"
	"io"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/pressure"
)

// Schema names the form of the JSON. Fields are added within a version, never changed.
const Schema = "twtrace.report/v2"

// Report is all that the forms show. Strings from outside are escaped in it, as
// output.Escape does. Times are RFC 3339, UTC. A field without a doc tag has the
// documentation of the term of its name.
type Report struct {
	Schema       string        `json:"schema" doc:"name of this form: twtrace.report/v2"`
	Verdict      string        `json:"verdict" doc:"the worst of findings and storms: crit, warn or ok; unknown if the recording has neither limits nor storms"`
	Trace        Trace         `json:"trace" doc:"what was recorded, where and when"`
	Totals       Totals        `json:"totals" doc:"numbers of records"`
	Peaks        Peaks         `json:"peaks" doc:"highest values"`
	Outages      []Outage      `json:"outages" doc:"times in which calls failed for want of a port or the kernel refused TIME_WAIT, by start time"`
	Changes      []Change      `json:"sysctl_changes" doc:"sysctls that changed during the recording, in order"`
	Findings     []Finding     `json:"findings" doc:"findings of the doctor's rules during the replay, the worst first"`
	Storms       []Storm       `json:"storms" doc:"storms of the recording, by start time"`
	Destinations []Destination `json:"destinations" doc:"destinations of clients, by share of ports in use"`
	Owners       []Owner       `json:"owners" doc:"processes, by number of connections"`
	Lifetimes    Lifetimes     `json:"lifetimes" doc:"lifetimes of connections"`
	Begins       []Count       `json:"time_wait_enters" doc:"sockets that entered TIME_WAIT, by reason"`
	Exits        []Count       `json:"time_wait_exits" doc:"sockets that left TIME_WAIT, by reason"`
	Closes       []Count       `json:"closes" doc:"connections that ended with no TIME_WAIT on this side, by reason"`
	Failures     []Failure     `json:"failures" doc:"failed calls, the most frequent first"`
	Namespaces   []Namespace   `json:"namespaces" doc:"network namespaces with their TIME_WAIT sockets and limit, the fullest first"`
	Losses       Losses        `json:"losses" doc:"what the recording misses"`
	Series       Series        `json:"series" doc:"activity in steps of time; all arrays have the length of time_s"`
	Omitted      Omitted       `json:"omitted" doc:"how many rows the tables leave out"`

	names  namer
	zone   *time.Location
	lost   []loss
	judged advice.Verdict
}

// Outage is a time in which calls failed for want of a port, or the kernel refused TIME_WAIT.
type Outage struct {
	What      string  `json:"what" doc:"ports: connect() found no free local port; local_ports: bind() found none; buckets: the kernel refused TIME_WAIT"`
	Begin     string  `json:"start" doc:"the first failure"`
	End       string  `json:"end,omitempty" doc:"the last failure, or when something was free again after it; absent if the recording ended before"`
	Duration  float64 `json:"duration_s" doc:"seconds between the two, or to the end of the recording"`
	N         uint64  `json:"refused_total" doc:"failures: calls, or for buckets TIME_WAIT sockets"`
	NetNS     uint32  `json:"netns,omitempty" doc:"network namespace"`
	NetNSName string  `json:"netns_name,omitempty" doc:"its name"`
	Laddr     string  `json:"laddr,omitempty"`
	Raddr     string  `json:"raddr,omitempty"`
	Rport     uint16  `json:"rport,omitempty"`
	Shares    []Share `json:"contributors,omitempty" doc:"the programs whose calls failed, the most first"`

	key      pressure.Key
	from, to int64 // ns since the epoch; to 0: it lasts
}

// Change is a sysctl that changed during the recording.
type Change struct {
	At        string   `json:"at" doc:"when its new value was read"`
	Within    *float64 `json:"within_s,omitempty" doc:"it changed at most that many seconds before; absent if that is not known"`
	NetNS     uint32   `json:"netns" doc:"network namespace"`
	NetNSName string   `json:"netns_name,omitempty" doc:"its name"`
	Name      string   `json:"name" doc:"its name"`
	Before    string   `json:"before" doc:"the value before"`
	Value     string   `json:"value" doc:"the new value"`

	at    int64
	since int64 // when its old value was read last, or at
}

// Trace says what was recorded.
type Trace struct {
	Host     string   `json:"host,omitempty"`
	Kernel   string   `json:"kernel,omitempty"`
	BootID   string   `json:"boot_id,omitempty"`
	Version  string   `json:"version,omitempty" doc:"version of twtrace that recorded"`
	Begin    string   `json:"start" doc:"start of the time reported on"`
	End      string   `json:"end" doc:"its end"`
	Duration float64  `json:"duration_s" doc:"seconds between the two"`
	Why      string   `json:"stopped_by,omitempty" doc:"why the trace ended; absent if the recording has no end"`
	Filter   string   `json:"filter,omitempty" doc:"the filter of the recording in words; absent if all was recorded"`
	Hooks    []string `json:"hooks" doc:"kernel hooks in use"`
	Missing  []string `json:"missing" doc:"what the hooks cannot see, in words"`
	Limits   []Limits `json:"limits" doc:"limits of network namespaces; namespaces with equal limits share an entry"`
}

// Limits are those of network namespaces that have the same ones.
type Limits struct {
	NetNS   []uint32 `json:"netns" doc:"inode numbers of the network namespaces, the first ones; empty if the recording has limits of one namespace, without its number"`
	More    uint64   `json:"more,omitempty" doc:"number of further namespaces with these limits"`
	Sysctls []Sysctl `json:"sysctls" doc:"the limits, by name"`
}

// Sysctl is a setting of the kernel.
type Sysctl struct {
	Name  string `json:"name" doc:"its name"`
	Value string `json:"value" doc:"its value"`
}

// Totals count records.
type Totals struct {
	Opened  uint64 `json:"opens_total"`
	Ended   uint64 `json:"ended_total"`
	Begins  uint64 `json:"time_wait_enters_total"`
	Exits   uint64 `json:"time_wait_exits_total"`
	Closed  uint64 `json:"closes_total"`
	Before  uint64 `json:"snapshots_total" doc:"sockets that were in TIME_WAIT before the trace started"`
	Failed  uint64 `json:"fails_total"`
	Refused uint64 `json:"time_wait_refused_total"`
	Lost    uint64 `json:"lost_total" doc:"events that the trace or the file lost"`
}

// Peaks are the highest values.
type Peaks struct {
	TimeWait   Peak  `json:"time_wait" doc:"sockets in TIME_WAIT"`
	OpenRate   Peak  `json:"opens_per_s" doc:"connections established per second, in one step of the series"`
	FailRate   Peak  `json:"fails_per_s" doc:"failed calls per second, in one step of the series"`
	PortsShare *Peak `json:"used_share,omitempty" doc:"share of the local ports in use to one destination; absent if no limit is known"`
}

// Peak is a number and when it was.
type Peak struct {
	Value float64 `json:"value" doc:"the number"`
	At    string  `json:"at,omitempty" doc:"when it was first reached; absent if the value is 0"`
}

// Finding is one of package advice's, as it was at its worst.
type Finding struct {
	ID        string     `json:"id" doc:"ID of the rule, for twtrace explain ID"`
	Severity  string     `json:"severity" doc:"crit, warn, info, ok or skip"`
	Title     string     `json:"title" doc:"the rule in a few words"`
	NetNS     uint32     `json:"netns,omitempty" doc:"network namespace"`
	NetNSName string     `json:"netns_name,omitempty" doc:"its name"`
	First     string     `json:"first" doc:"when it was first found"`
	Last      string     `json:"last" doc:"when it was last found"`
	At        string     `json:"at" doc:"time of the numbers shown: when it was worst"`
	Foreseen  string     `json:"foreseen,omitempty" doc:"the first forecast"`
	What      string     `json:"what,omitempty" doc:"numbers and their limit"`
	Who       string     `json:"who,omitempty" doc:"who is behind it, or why that is not known"`
	Shares    []Share    `json:"contributors,omitempty" doc:"what was counted of each program that takes part"`
	When      string     `json:"when,omitempty" doc:"the forecast at that time"`
	Reason    string     `json:"reason,omitempty" doc:"the evidence in words"`
	Evidence  []Evidence `json:"evidence" doc:"the evidence in numbers"`
	Remedies  []Remedy   `json:"remedies" doc:"what to do"`

	Consequences []Consequence `json:"consequences,omitempty" doc:"what comes of it, or adds nothing to it; the severity covers these"`

	scope advice.Scope
	from  int64
}

// Consequence is a finding under another.
type Consequence struct {
	ID       string `json:"id" doc:"ID of the rule, for twtrace explain ID"`
	Severity string `json:"severity" doc:"crit, warn, info, ok or skip"`
	NetNS    uint32 `json:"netns,omitempty" doc:"network namespace"`
	What     string `json:"what" doc:"the main point"`
	Who      string `json:"who,omitempty" doc:"the owner"`
}

// Share is the part of one program in a count.
type Share struct {
	Role      string  `json:"role" doc:"opens, fails, holds or closes"`
	Comm      string  `json:"comm" doc:"name of its processes"`
	PID       uint32  `json:"pid,omitempty" doc:"process id; absent for several processes"`
	Processes uint64  `json:"processes,omitempty" doc:"number of processes; absent if unknown"`
	N         uint64  `json:"n" doc:"its part"`
	Share     float64 `json:"share" doc:"its share of all, at most 1"`
	Rate      float64 `json:"per_s,omitempty" doc:"its part per second; absent for holds"`
}

// Evidence is one number that a finding rests on.
type Evidence struct {
	Name   string  `json:"name" doc:"what was counted"`
	Value  float64 `json:"value" doc:"the number"`
	Limit  float64 `json:"limit,omitempty" doc:"its limit; absent if it has none"`
	Unit   string  `json:"unit,omitempty"`
	Source string  `json:"source" doc:"where it comes from"`
}

// Remedy is something to do.
type Remedy struct {
	Kind    string `json:"kind" doc:"now: helps within a minute; fix: removes the cause"`
	Text    string `json:"text" doc:"what to do"`
	Command string `json:"command,omitempty" doc:"the command for it"`
	Undo    string `json:"undo,omitempty" doc:"the command that undoes it"`
	Risk    string `json:"risk,omitempty" doc:"what may go wrong"`
}

// Storm is all records of one storm, with the highest value of each number.
type Storm struct {
	Reason    string   `json:"reason" doc:"ports, buckets or churn"`
	Severity  string   `json:"severity" doc:"the worst of it: crit or warn"`
	Begin     string   `json:"start" doc:"when it started, or its first record"`
	End       string   `json:"end,omitempty" doc:"when it ended; absent if the recording ended before"`
	NetNS     uint32   `json:"netns,omitempty" doc:"network namespace"`
	NetNSName string   `json:"netns_name,omitempty" doc:"its name"`
	Laddr     string   `json:"laddr,omitempty"`
	Raddr     string   `json:"raddr,omitempty"`
	Rport     uint16   `json:"rport,omitempty"`
	Shares    []Share  `json:"contributors,omitempty" doc:"the programs that held a part when it was fullest, the most first; absent if it was not sampled"`
	PID       uint32   `json:"pid,omitempty" doc:"process id of the owner; absent for several processes"`
	Comm      string   `json:"comm,omitempty" doc:"comm of the owner: the program that holds most, or that churns"`
	Processes uint64   `json:"processes,omitempty" doc:"number of its processes, about"`
	Others    uint64   `json:"other_owners,omitempty" doc:"how many other programs held a part"`
	Rate      float64  `json:"taken_per_s" doc:"connections opened per second; for buckets, sockets that entered TIME_WAIT per second"`
	Demand    float64  `json:"demand_per_s,omitempty" doc:"how many were wanted per second: those taken and those refused; absent if it was not recorded"`
	Used      uint64   `json:"used" doc:"ports in use, or TIME_WAIT sockets"`
	Usable    uint64   `json:"usable,omitempty" doc:"their limit; absent for churn"`
	Fails     uint64   `json:"refused_total" doc:"calls or sockets refused at the limit during the storm"`
	LifeP50   int64    `json:"life_p50_ns,omitempty" doc:"median lifetime of the owner's connections"`
	Outage    float64  `json:"outage_s,omitempty" doc:"for how many seconds calls failed, in all outages of the storm"`
	Resolved  string   `json:"resolved_at,omitempty" doc:"when the last outage was over; absent if it was not"`
	Foreseen  *float64 `json:"exhausts_in_s,omitempty" doc:"seconds to exhaustion by the first forecast"`

	from, to int64
	past     float64 // seconds of outages that are over
	grades   []grade
	heldOf   int // what was in use when Shares were counted

	lastFrom, lastTo int64 // the last outage
}

// Destination is one remote end of clients.
type Destination struct {
	NetNS     uint32  `json:"netns,omitempty" doc:"network namespace"`
	NetNSName string  `json:"netns_name,omitempty" doc:"its name"`
	Laddr     string  `json:"laddr,omitempty"`
	Raddr     string  `json:"raddr"`
	Rport     uint16  `json:"rport"`
	Used      uint64  `json:"used,omitempty" doc:"maximum of local ports in use: those that a socket holds"`
	Blocked   uint64  `json:"blocked,omitempty" doc:"of used, those that connect() could not have reused then"`
	Usable    uint64  `json:"usable,omitempty" doc:"usable local ports; absent if unknown"`
	UsedAt    string  `json:"at,omitempty" doc:"time of that maximum"`
	Opened    uint64  `json:"opens_total"`
	Begins    uint64  `json:"time_wait_enters_total"`
	Failed    uint64  `json:"fails_total"`
	NoPort    uint64  `json:"no_port_total" doc:"failed connect() calls that found no free port: EADDRNOTAVAIL with the cause no_port"`
	LifeP50   *int64  `json:"life_p50_ns,omitempty" doc:"median lifetime, within a tenth"`
	PID       uint32  `json:"pid,omitempty" doc:"process id of the program that had most of them, or only failed; absent for several processes"`
	Comm      string  `json:"comm,omitempty" doc:"its comm"`
	Procs     uint64  `json:"processes,omitempty" doc:"number of its processes"`
	Most      uint64  `json:"owner_opens_total,omitempty" doc:"how many of opens_total it opened"`
	Others    uint64  `json:"other_owners,omitempty" doc:"how many other programs had some, or failed"`
	share     float64 // of the ports, the maximum
}

// Owner is a process with its connections.
type Owner struct {
	Name          string `json:"group" doc:"comm, or a placeholder for an unknown owner"`
	PID           uint32 `json:"pid,omitempty" doc:"process id; absent for several processes, and if unknown"`
	Processes     uint64 `json:"processes,omitempty" doc:"number of processes; absent if unknown or estimated"`
	Exe           string `json:"exe,omitempty"`
	Unit          string `json:"unit,omitempty"`
	Container     string `json:"container,omitempty"`
	ContainerName string `json:"container_name,omitempty"`
	Pod           string `json:"pod,omitempty"`
	PodName       string `json:"pod_name,omitempty"`
	Role          string `json:"role,omitempty"`
	Opened        uint64 `json:"opens_total"`
	Begins        uint64 `json:"time_wait_enters_total"`
	Closed        uint64 `json:"closes_total"`
	Failed        uint64 `json:"fails_total"`
	Refused       uint64 `json:"time_wait_refused_total"`
	Local         uint64 `json:"closed_by_local_total" doc:"connections that this side closed first"`
	Closers       uint64 `json:"closed_by_known_total" doc:"connections with a known first closer"`
	LifeP50       *int64 `json:"life_p50_ns,omitempty" doc:"median lifetime, within a tenth"`
	LifeP99       *int64 `json:"life_p99_ns,omitempty" doc:"99th percentile of the lifetime, within a tenth"`
	Alive         uint64 `json:"time_wait" doc:"sockets still in TIME_WAIT at the end"`
}

// Lifetimes are those of connections whose start and end are both in the recording.
type Lifetimes struct {
	Known uint64    `json:"known" doc:"connections whose lifetime is known"`
	P50   *int64    `json:"life_p50_ns,omitempty" doc:"median, within a tenth"`
	P90   *int64    `json:"life_p90_ns,omitempty" doc:"90th percentile, within a tenth"`
	P99   *int64    `json:"life_p99_ns,omitempty" doc:"99th percentile of the lifetime, within a tenth"`
	Bars  []LifeBar `json:"bars" doc:"counts by powers of two"`
}

// LifeBar counts lifetimes from From on and below To.
type LifeBar struct {
	From   int64  `json:"from_ns" doc:"from this lifetime on"`
	To     int64  `json:"to_ns,omitempty" doc:"and below this one; absent in the last bar if it has no end"`
	Client uint64 `json:"client" doc:"sockets that connected"`
	Other  uint64 `json:"other" doc:"sockets that were accepted, or whose role is unknown"`
}

// Count is how often something had a reason.
type Count struct {
	Reason string `json:"reason" doc:"the reason; unknown if the trace did not see it"`
	N      uint64 `json:"count" doc:"how often"`
}

// Failure is calls that failed alike.
type Failure struct {
	Call  string `json:"call" doc:"connect, bind, accept or socket"`
	Errno string `json:"errno" doc:"its error"`
	Cause string `json:"cause,omitempty" doc:"of EADDRNOTAVAIL: why, as in records.md; absent if not known"`
	PID   uint32 `json:"pid,omitempty" doc:"process that called"`
	Comm  string `json:"comm,omitempty" doc:"its comm"`
	Raddr string `json:"raddr,omitempty"`
	Rport uint16 `json:"rport,omitempty"`
	N     uint64 `json:"count" doc:"how often"`
	First string `json:"first" doc:"when it first failed"`
	Last  string `json:"last" doc:"when it last failed"`
}

// Namespace is a network namespace and its bucket limit.
type Namespace struct {
	NetNS   uint32 `json:"netns" doc:"inode number of the network namespace"`
	Name    string `json:"netns_name,omitempty" doc:"its name"`
	Used    uint64 `json:"used" doc:"maximum of TIME_WAIT sockets, those parked in FIN_WAIT2 included"`
	At      string `json:"at" doc:"time of that maximum"`
	Limit   uint64 `json:"usable,omitempty" doc:"tcp_max_tw_buckets; absent if unknown"`
	Refused uint64 `json:"time_wait_refused_total"`
	share   float64
}

// Losses say what the recording misses.
type Losses struct {
	Stages  []StageLoss `json:"stages" doc:"events lost, by stage; empty if none were"`
	Damage  []string    `json:"damage" doc:"what is wrong with the file, in words"`
	Drift   []Drift     `json:"drift" doc:"network namespaces where these counts differ from the kernel's"`
	Unnamed []Count     `json:"unnamed" doc:"processes whose records lack details, by reason"`
	Late    uint64      `json:"late_enters_total" doc:"TIME_WAIT starts detected late, when TIME_WAIT ended"`
	Alive   *uint64     `json:"alive,omitempty" doc:"sockets in TIME_WAIT or parked when the trace ended, as the kernel counted; absent if the recording has no end"`
}

// StageLoss is how many events were lost where.
type StageLoss struct {
	Stage string `json:"stage" doc:"ring, map, recursion, time_wait or decode"`
	N     uint64 `json:"count" doc:"how many"`
}

// Drift is what the kernel counted minus what was traced.
type Drift struct {
	NetNS   uint32 `json:"netns" doc:"network namespace"`
	Births  int64  `json:"births" doc:"of TIME_WAIT sockets"`
	Reused  int64  `json:"reused" doc:"ends by reuse"`
	Refused int64  `json:"refused" doc:"refusals"`
	Alive   int64  `json:"alive" doc:"sockets alive"`
}

// Series is what happened over time, in at most maxSteps steps of the same length.
type Series struct {
	Step        float64       `json:"step_s" doc:"length of a step in seconds"`
	Time        []float64     `json:"time_s" doc:"start of each step, seconds since the epoch"`
	TimeWait    []uint64      `json:"time_wait" doc:"sockets in TIME_WAIT, maximum of the step"`
	Established []uint64      `json:"established" doc:"established connections, maximum of the step"`
	Opened      []uint64      `json:"opens" doc:"connections established"`
	Ended       []uint64      `json:"ended" doc:"connections that ended"`
	Begins      []uint64      `json:"time_wait_enters" doc:"sockets that entered TIME_WAIT"`
	Exits       []uint64      `json:"time_wait_exits" doc:"sockets that left TIME_WAIT"`
	Failed      []uint64      `json:"fails" doc:"failed calls"`
	Refused     []uint64      `json:"time_wait_refused" doc:"TIME_WAIT sockets that the kernel refused"`
	Lost        []uint64      `json:"lost" doc:"events lost"`
	PortsShare  []*float64    `json:"used_share" doc:"share of the local ports in use to the worst destination, maximum of the step; null if it was not sampled, or no limit is known"`
	Owners      []OwnerSeries `json:"owners" doc:"sockets in TIME_WAIT by program: those that held most, and all others together"`

	covered float64 // seconds of the last step
}

// OwnerSeries is what one program holds over time.
type OwnerSeries struct {
	Name     string    `json:"group" doc:"comm; not known, or all others"`
	TimeWait []*uint64 `json:"time_wait" doc:"its sockets in TIME_WAIT, maximum of the step; null if the step was not sampled"`
}

// Omitted counts rows that are in no table.
type Omitted struct {
	Outages      uint64 `json:"outages" doc:"outages"`
	Changes      uint64 `json:"sysctl_changes" doc:"changes of sysctls"`
	Findings     uint64 `json:"findings" doc:"findings"`
	Storms       uint64 `json:"storms" doc:"storms"`
	Destinations uint64 `json:"destinations" doc:"destinations"`
	Owners       uint64 `json:"owners" doc:"owners"`
	Failures     uint64 `json:"failures" doc:"failed calls that are in no row"`
	Namespaces   uint64 `json:"namespaces" doc:"network namespaces"`
	Limits       uint64 `json:"limits" doc:"sets of limits"`
	Damage       uint64 `json:"damage" doc:"damages of the file"`
}

// WriteJSON writes r as one object on one line.
func WriteJSON(w io.Writer, r *Report) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false) // arrows and commands stay as they are
	return enc.Encode(r)
}
