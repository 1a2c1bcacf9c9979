package event

import "time"

// Vitals is how the kernel side of a trace is doing, and what the processes take that read
// it. A stream has it in JSON.
type Vitals struct {
	RingUsed uint64    `json:"ring_used_bytes"` // that wait to be read
	RingSize uint64    `json:"ring_size_bytes"`
	Programs []Program `json:"programs,omitempty"` // by name
	// Conns is how many connections the owner table had when it was last compared with the
	// kernel's sockets, 0 if it never was; MaxConns is for how many there is room.
	Conns     uint64            `json:"conns,omitempty"`
	MaxConns  uint64            `json:"max_conns,omitempty"`
	Unnamed   map[string]uint64 `json:"unnamed_by_cause,omitempty"` // processes whose records lack their names, by why: "gone", "throttled"
	Processes []Usage           `json:"processes,omitempty"`        // of the agent
}

// Usage is what a process of the agent has taken.
type Usage struct {
	Process string        `json:"process"` // "tracer", "speaker"
	CPU     time.Duration `json:"cpu_ns"`
	Memory  uint64        `json:"resident_bytes"`
}

// Program is what a BPF program has done since it was loaded.
type Program struct {
	Name    string        `json:"name"`
	Runs    uint64        `json:"runs,omitempty"`    // 0 unless the kernel counts them: kernel.bpf_stats_enabled
	Time    time.Duration `json:"run_ns,omitempty"`  // of these
	Skipped uint64        `json:"skipped,omitempty"` // runs that the kernel left out, since the program interrupted itself
}
