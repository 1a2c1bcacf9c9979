package process

import "strings"

// cmdlineMax is how many bytes of a command line are read: it may have megabytes.
const cmdlineMax = 4096

// cmdline returns the arguments of a process with blanks between them, as ps prints
// them: the first 4096 bytes. They are what the process wants them to be, and may hold
// secrets: nothing reads them unasked. Kernel threads and zombies have none, and what
// cannot be read is "".
func (d directory) cmdline() string {
	b, err := d.read("cmdline", cmdlineMax)
	if err != nil {
		return ""
	}
	return strings.ReplaceAll(strings.TrimRight(string(b), "\x00"), "\x00", " ")
}
