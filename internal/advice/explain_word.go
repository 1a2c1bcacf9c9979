package advice

import (
	"strings"

	"golang.org/x/sys/unix"
)

// namedBy are the pages about what programs print when a call fails, and about the states
// that ss prints; the most likely one first.
var namedBy = map[string][]string{
	"EADDRNOTAVAIL": {"TW101", "TW106", "TW107", "TW108"},
	"EADDRINUSE":    {"TW104", "TW102"},
	"EMFILE":        {"TW105"},
	"ENFILE":        {"TW105"},
	"ECONNREFUSED":  {"TW210"},
	"ETIMEDOUT":     {"TW210", "TW305", "TW211"},
	"ECONNRESET":    {"TW212", "TW206"},
	"EPIPE":         {"TW212"},
	"TIME_WAIT":     {"TW101", "TW205", "TW204"},
	"TIME-WAIT":     {"TW101", "TW205", "TW204"},
	"CLOSE_WAIT":    {"TW207", "TW106"},
	"CLOSE-WAIT":    {"TW207", "TW106"},
	"FIN_WAIT2":     {"TW207", "TW106"},
	"FIN-WAIT-2":    {"TW207", "TW106"},
	"SYN_SENT":      {"TW305", "TW210", "TW106"},
	"SYN-SENT":      {"TW305", "TW210", "TW106"},
}

// pagesNaming are the IDs of the pages about an error, by its name or its text, or about a
// state; none for other words.
func pagesNaming(words string) []string {
	words = strings.Join(strings.Fields(words), " ")
	if list, ok := namedBy[strings.ToUpper(words)]; ok {
		return list
	}
	for name, list := range namedBy {
		if no := errnoOf(name); no != 0 && strings.EqualFold(words, no.Error()) {
			return list
		}
	}
	return nil
}

// lastErrno is the highest error number of Linux, EHWPOISON.
const lastErrno = 133

// errnoOf is the error of a name, 0 if it names none.
func errnoOf(name string) unix.Errno {
	for no := unix.Errno(1); no <= lastErrno; no++ {
		if unix.ErrnoName(no) == name {
			return no
		}
	}
	return 0
}
