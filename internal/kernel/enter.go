package kernel

import (
	"fmt"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Enter returns what to put before a command, blank included, so that it acts
// on n when pasted into the shell that started this process: "" if that shell
// is in n, else "ip netns exec NAME " or "nsenter --net=PATH ".
func (n NetNS) Enter() string {
	// Not this process's own: `ip netns exec web twtrace` has joined web, and
	// the shell has not. If the parent is another user's, who can have joined
	// nothing for us but what we are in, our own namespace tells as much.
	shell, err := netNSInum(procNS(os.Getppid()))
	if err != nil {
		shell, err = netNSInum("/proc/self/ns/net")
	}
	switch {
	case err == nil && shell == n.Inum:
		return ""
	case n.Name != "" && (n.PID == 0 || printable(n.Name)):
		return "ip netns exec " + shellQuote(n.Name) + " "
	case n.PID != 0:
		return fmt.Sprintf("nsenter --net=%s ", procNS(n.PID))
	}
	return "nsenter --net=" + shellQuote(n.path) + " "
}

// printable tells whether a name can be read and pasted as it is.
func printable(name string) bool {
	return utf8.ValidString(name) && strings.IndexFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// shellQuote returns s as one word of a POSIX shell.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:,@%+", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
