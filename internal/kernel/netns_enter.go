package kernel

import (
	"fmt"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Enter returns the prefix, blank included, that makes a command act on n in the
// shell that started this process: "" if that shell is in n, else "ip netns exec
// NAME " or "nsenter --net=PATH ". That of a recorded namespace is for a shell of the host
// that was recorded, and one without a name is found by its number.
func (n NetNS) Enter() string {
	switch {
	case n.Recorded && (n.Home || n.Inum == 0):
		return ""
	case n.Recorded && (n.Name == "" || !printable(n.Name)):
		return fmt.Sprintf(`nsenter --net=/proc/"$(lsns -nro PID %d | head -n1)"/ns/net `, n.Inum)
	case n.Recorded:
		return "ip netns exec " + shellQuote(n.Name) + " "
	}
	switch shell, err := ShellNetNS(); {
	case err == nil && shell == n.Inum:
		return ""
	case n.Name != "" && (n.PID == 0 || printable(n.Name)):
		return "ip netns exec " + shellQuote(n.Name) + " "
	case n.PID != 0:
		return fmt.Sprintf("nsenter --net=%s ", procNS(n.PID))
	}
	return "nsenter --net=" + shellQuote(n.path) + " "
}

// ShellNetNS returns the inode number of the network namespace of the shell that started
// this process.
func ShellNetNS() (uint32, error) {
	// It may differ from this process's: after `ip netns exec web twtrace` only twtrace is
	// in web. If the parent belongs to another user, its namespace is hidden, and ours is
	// the best guess.
	shell, err := nsInum(procNS(os.Getppid()))
	if err != nil {
		shell, err = nsInum("/proc/self/ns/net")
	}
	return shell, err
}

// printable reports whether users can read and paste a name as it is.
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
