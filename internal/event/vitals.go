package event

import "time"

// Vitals is how the kernel side of a trace is doing.
type Vitals struct {
	RingUsed, RingSize uint64    // bytes that wait to be read, and for how many there is room
	Programs           []Program // by name
}

// Program is what a BPF program has done since it was loaded.
type Program struct {
	Name    string
	Runs    uint64        // 0 unless the kernel counts them: kernel.bpf_stats_enabled
	Time    time.Duration // of these
	Skipped uint64        // runs that the kernel left out, since the program interrupted itself
}
