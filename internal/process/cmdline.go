package process

import "strings"

// cmdlineMax is how many bytes cmdline reads: a command line may have megabytes.
const cmdlineMax = 4096

// cmdline returns the arguments of a process with blanks between them, as ps prints
// them: the first 4096 bytes. A process can set them to anything, and they may contain
// secrets: a Resolver reads them only if Options.Cmdlines is set. Kernel threads and
// zombies have none, and what cannot be read is "".
func (d directory) cmdline() string {
	b, err := d.read("cmdline", cmdlineMax)
	if err != nil {
		return ""
	}
	return strings.ReplaceAll(strings.TrimRight(string(b), "\x00"), "\x00", " ")
}
