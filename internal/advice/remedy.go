package advice

import (
	"fmt"
	"slices"
	"strings"
)

// Remedy is something to do: sysctls to set, another command, or neither, where
// there is none that does it.
type Remedy struct {
	Kind     string // "now": helps in this minute; "fix": mends the cause
	Text     string
	Short    string // the same in fewer words; "" if there are none
	Settings Settings
	Shell    Shell
	Risk     string
}

// Command is the command that does it, "" if there is none. It is complete: it acts
// on the namespace of the finding when it is pasted into the user's shell as root.
func (r Remedy) Command() string {
	if len(r.Settings.Set) > 0 {
		return r.Settings.command(func(s Setting) string { return s.Value })
	}
	return r.Shell.Run + r.Shell.only()
}

// Undo is the command that takes Command back, "" if there is none.
func (r Remedy) Undo() string {
	if len(r.Settings.Set) == 0 {
		return r.Shell.Undo
	}
	back := r.Settings
	back.Set = slices.Clone(back.Set)
	slices.Reverse(back.Set)
	return back.command(func(s Setting) string { return s.Before })
}

// Settings are sysctls that are set together, in this order, in one network namespace.
type Settings struct {
	Enter string // what brings a command of the user's shell into the namespace; "" or with a blank at its end
	Set   []Setting
}

// Setting is one sysctl: its full name, what to set it to, and what it is now.
type Setting struct {
	Name   string // net.ipv4.tcp_tw_reuse
	Value  string
	Before string
}

func (s Settings) command(value func(Setting) string) string {
	var b strings.Builder
	b.WriteString(s.Enter + "sysctl -w")
	for _, v := range s.Set {
		text := value(v)
		if strings.Contains(text, " ") {
			text = `"` + text + `"`
		}
		b.WriteString(" " + v.Name + "=" + text)
	}
	return b.String()
}

// Shell is a command that sets no sysctl.
type Shell struct {
	Run   string
	Undo  string   // "" if there is nothing to take back
	NetNS []uint32 // namespaces that a command of twtrace is to be limited to; none: it is not
}

func (s Shell) only() string {
	var b strings.Builder
	for i, n := range s.NetNS {
		if i == 0 {
			b.WriteString(" -N ")
		} else {
			b.WriteByte(',')
		}
		fmt.Fprint(&b, n)
	}
	return b.String()
}

// setting is a sysctl with its full name.
func setting(name string, value, before any) Setting {
	return Setting{name, fmt.Sprint(value), fmt.Sprint(before)}
}

// set makes settings of net.ipv4 in the namespace of f.
func (f *Facts) set(all ...Setting) Settings {
	return Settings{Enter: f.Enter, Set: all}
}

// ipv4 is a sysctl below net.ipv4.
func ipv4(name string, value, before any) Setting { return setting("net.ipv4."+name, value, before) }
