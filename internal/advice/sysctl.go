package advice

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/output"
)

// setting is one sysctl that a remedy sets.
type setting struct{ name, value string }

// suggestion is a remedy whose command is a sysctl.
type suggestion struct {
	enter   string // what stands before the command
	finding *Finding
	remedy  *Remedy
	set     []setting
}

const (
	sysctlWrite   = "sysctl -w "
	reservedPorts = "net.ipv4.ip_local_reserved_ports"
)

// parseSysctl takes a command apart: what comes before it, and what it sets. ok is false
// if it is another command.
func parseSysctl(command string) (enter string, set []setting, ok bool) {
	enter, rest, ok := strings.Cut(command, sysctlWrite)
	if !ok {
		return "", nil, false
	}
	for rest != "" {
		name, value, _ := strings.Cut(rest, "=")
		if quoted, isQuoted := strings.CutPrefix(value, `"`); isQuoted {
			value, rest, _ = strings.Cut(quoted, `"`)
			rest = strings.TrimPrefix(rest, " ")
		} else {
			value, rest, _ = strings.Cut(value, " ")
		}
		set = append(set, setting{name, value})
	}
	return enter, set, true
}

// suggestions are those of all findings, the worst first.
func suggestions(findings []Finding) []suggestion {
	var all []suggestion
	for i := range findings {
		x := &findings[i]
		for _, remedies := range [][]Remedy{x.Now, x.Fix} {
			for j := range remedies {
				r := &remedies[j]
				enter, set, ok := parseSysctl(r.Command)
				if !ok {
					continue
				}
				all = append(all, suggestion{enter, x, r, set})
			}
		}
	}
	return all
}

// WriteSysctl writes the settings that the findings suggest as a file for sysctl.d, each
// with why, what it risks and its undo. It is for one network namespace: the one that
// the user's shell is in, if anything is suggested there, else that of the worst
// finding. What is suggested for others stands there as commands, in comments.
func WriteSysctl(w io.Writer, version string, host kernel.Host, findings []Finding) error {
	var b bytes.Buffer
	all := suggestions(findings)
	fmt.Fprintf(&b, "# Suggested by twtrace %s for %s, kernel %s. Nothing has been applied.\n", version,
		output.Escape(nil, host.Hostname), host.Release)
	if len(all) == 0 {
		b.WriteString("# No setting is needed.\n")
		_, err := w.Write(b.Bytes())
		return err
	}
	enter := all[0].enter
	if slices.ContainsFunc(all, func(s suggestion) bool { return s.enter == "" }) {
		enter = ""
	}
	fmt.Fprintf(&b, "# Until the next start: %ssysctl -p FILE\n", enter)
	if enter == "" {
		b.WriteString("# For good: put it into /etc/sysctl.d, once it has proved itself.\n")
	} else {
		b.WriteString("# It is for that network namespace, not for the host's own.\n")
	}
	done := make(map[string]string) // what is set, by name
	for i := range all {
		if all[i].enter == enter {
			all[i].write(&b, done)
		}
	}
	for i := range all {
		if s := &all[i]; s.enter != enter {
			s.explain(&b)
			fmt.Fprintf(&b, "# elsewhere: %s\n# undo: %s\n", s.remedy.Command, s.remedy.Undo)
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// explain says in comments what the suggestion is for.
func (s *suggestion) explain(b *bytes.Buffer) {
	b.WriteByte('\n')
	comment(b, s.finding.ID+" "+s.finding.Title+": "+s.remedy.Text)
	if s.remedy.Risk != "" {
		comment(b, "risk: "+s.remedy.Risk)
	}
}

// write adds the settings of a suggestion that are not done.
func (s *suggestion) write(b *bytes.Buffer, done map[string]string) {
	var lines []string
	for _, v := range s.set {
		was, is := done[v.name]
		switch {
		case !is:
		case was == v.value:
			continue
		case v.name == reservedPorts:
			v.value = joinPorts(was, v.value) // the last line counts
			if v.value == was {
				continue
			}
		default:
			lines = append(lines, fmt.Sprintf("# not twice: %s = %s", v.name, v.value))
			continue
		}
		done[v.name] = v.value
		lines = append(lines, v.name+" = "+v.value)
	}
	if len(lines) == 0 {
		return
	}
	s.explain(b)
	fmt.Fprintf(b, "# undo: %s\n", s.remedy.Undo)
	for _, l := range lines {
		fmt.Fprintf(b, "%s\n", l)
	}
}

// joinPorts is a list of ports with those of another that it lacks.
func joinPorts(list, more string) string {
	parts := strings.Split(list, ",")
	for p := range strings.SplitSeq(more, ",") {
		if !slices.Contains(parts, p) {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, ",")
}

// comment writes text as lines of comment.
func comment(b *bytes.Buffer, text string) {
	column := 0
	for _, word := range strings.Fields(string(output.Escape(nil, text))) {
		if column == 0 || column+1+len(word) > textWidth {
			if column > 0 {
				b.WriteByte('\n')
			}
			b.WriteByte('#')
			column = 1
		}
		b.WriteString(" " + word)
		column += 1 + len(word)
	}
	b.WriteByte('\n')
}
