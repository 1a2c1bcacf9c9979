package sandbox

// Report is how a speaker is confined, for the log and for /v1/status.
type Report struct {
	PID int    `json:"pid"`
	UID uint32 `json:"uid"`
	GID uint32 `json:"gid"`

	// Seccomp is the length of the filter, in instructions.
	Seccomp int `json:"seccomp_instructions"`
	// Landlock is the ABI that the kernel has, 0 if it has none or it is off.
	Landlock int `json:"landlock_abi"`
	// Missing is what this kernel does not restrict, in words; nil if nothing is missing.
	Missing []string `json:"missing,omitempty"`
}

// missing is what a kernel of that Landlock ABI does not restrict. What seccomp refuses
// whatever the kernel is not in it: signals, abstract and other Unix sockets, ioctl.
func missing(abi int, g grants) []string {
	if abi < 1 {
		return []string{"Landlock is off or not in this kernel (Linux 5.13, and landlock in lsm=): " +
			"the speaker opens what its user may open, and its TCP ports are not limited"}
	}
	var m []string
	if abi < 3 {
		m = append(m, "Landlock cannot limit truncate() before Linux 6.2: the speaker truncates what its user may write")
	}
	if abi < 4 && (g.Dial || g.Bind || g.Resolve) {
		m = append(m, "Landlock cannot limit TCP ports before Linux 6.7: the speaker connects to any port")
	}
	if abi < 10 && g.Resolve {
		m = append(m, "Landlock cannot limit UDP here: to look up names, the speaker may send to any UDP port")
	}
	return m
}
