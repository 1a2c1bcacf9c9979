package event

import "time"

// Vitals is how the kernel side of a trace is doing.
type Vitals struct {
	RingUsed, RingSize uint64    // bytes that wait to be read, and for how many there is room
	Programs           []Program // by name
	// Conns is how many connections the owner table had when it was last compared with the
	// kernel's sockets, 0 if it never was; MaxConns is for how many there is room.
	Conns, MaxConns uint64
	Unnamed         map[string]uint64 // processes whose records lack their names, by why: "gone", "throttled"
}

// Program is what a BPF program has done since it was loaded.
type Program struct {
	Name    string
	Runs    uint64        // 0 unless the kernel counts them: kernel.bpf_stats_enabled
	Time    time.Duration // of these
	Skipped uint64        // runs that the kernel left out, since the program interrupted itself
}
