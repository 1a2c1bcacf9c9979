package doctor

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/output"
)

// suggestion is a remedy that sets sysctls.
type suggestion struct {
	finding *advice.Finding
	remedy  *advice.Remedy
}

const reservedPorts = "net.ipv4.ip_local_reserved_ports"

// suggestions are those of all findings, the worst first.
func suggestions(findings []advice.Finding) []suggestion {
	var all []suggestion
	for i := range findings {
		x := &findings[i]
		for _, remedies := range [][]advice.Remedy{x.Now, x.Fix} {
			for j := range remedies {
				r := &remedies[j]
				if len(r.Settings.Set) > 0 {
					all = append(all, suggestion{x, r})
				}
			}
		}
	}
	return all
}

// WriteSysctl writes the settings that the findings suggest as a file for sysctl.d, each
// with its reason, its risk and its undo. The file is for one network namespace: the one
// that the user's shell is in, if anything is suggested there, else that of the worst
// finding. Commands for other namespaces are in comments.
func WriteSysctl(w io.Writer, version string, host kernel.Host, findings []advice.Finding) error {
	var b bytes.Buffer
	all := suggestions(findings)
	fmt.Fprintf(&b, "# Suggested by twtrace %s for %s, kernel %s. Not applied.\n", version,
		output.Escape(nil, host.Hostname), host.Release)
	if len(all) == 0 {
		b.WriteString("# No setting needs to change.\n")
		_, err := w.Write(b.Bytes())
		return err
	}
	enter := all[0].remedy.Settings.Enter
	if slices.ContainsFunc(all, func(s suggestion) bool { return s.remedy.Settings.Enter == "" }) {
		enter = ""
	}
	fmt.Fprintf(&b, "# Until the next boot: %ssysctl -p FILE\n", enter)
	if enter == "" {
		b.WriteString("# Permanently: copy it to /etc/sysctl.d, once it has proved itself.\n")
	} else {
		b.WriteString("# It is for that network namespace, not for the host itself.\n")
	}
	done := make(map[string]string) // values in the file, by name
	for i := range all {
		if all[i].remedy.Settings.Enter == enter {
			all[i].write(&b, done)
		}
	}
	for i := range all {
		if s := &all[i]; s.remedy.Settings.Enter != enter {
			s.explain(&b)
			fmt.Fprintf(&b, "# in another namespace: %s\n# undo: %s\n", s.remedy.Command(), s.remedy.Undo())
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// explain writes comments that say what the suggestion is for.
func (s *suggestion) explain(b *bytes.Buffer) {
	b.WriteByte('\n')
	comment(b, s.finding.ID+" "+s.finding.Title+": "+s.remedy.Text)
	if s.remedy.Risk != "" {
		comment(b, "risk: "+s.remedy.Risk)
	}
}

// write adds the settings of a suggestion that are not in the file yet.
func (s *suggestion) write(b *bytes.Buffer, done map[string]string) {
	var lines []string
	for _, v := range s.remedy.Settings.Set {
		was, is := done[v.Name]
		switch {
		case !is:
		case was == v.Value:
			continue
		case v.Name == reservedPorts:
			v.Value = joinPorts(was, v.Value) // the last line wins
			if v.Value == was {
				continue
			}
		default:
			lines = append(lines, fmt.Sprintf("# set above already: %s = %s", v.Name, v.Value))
			continue
		}
		done[v.Name] = v.Value
		lines = append(lines, v.Name+" = "+v.Value)
	}
	if len(lines) == 0 {
		return
	}
	s.explain(b)
	fmt.Fprintf(b, "# undo: %s\n", s.remedy.Undo())
	for _, l := range lines {
		fmt.Fprintf(b, "%s\n", l)
	}
}

// joinPorts adds to a list of ports those of another list that it lacks.
func joinPorts(list, more string) string {
	parts := strings.Split(list, ",")
	for p := range strings.SplitSeq(more, ",") {
		if !slices.Contains(parts, p) {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, ",")
}

// comment writes text as comment lines.
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
