package report

const noFindings = "The rules found nothing to tell."

// part is a line of a finding.
type part struct{ Name, Text string }

// parts are the lines of f that have something to say.
func (f *Finding) parts(r *Report) []part {
	all := []part{{"what", f.What}, {"who", f.Who}, {"when", f.When}, {"why", f.Reason}, {"seen", f.seenText(r)}}
	var out []part
	for _, p := range all {
		if p.Text != "" {
			out = append(out, p)
		}
	}
	return out
}

// seenText says when f was found, and when it was as it is told.
func (f *Finding) seenText(r *Report) string {
	if f.First == f.Last {
		return "at " + r.when(f.First) + " UTC"
	}
	words := "from " + r.when(f.First)
	if f.Foreseen != "" && f.Foreseen != f.When {
		words += " (foreseen then: " + f.Foreseen + ")"
	}
	return words + " to " + r.when(f.Last) + " UTC; as told here at " + r.when(f.At)
}

// commands are what to type.
func (m *Remedy) commands() []part {
	var out []part
	if m.Command != "" {
		out = append(out, part{"", m.Command})
	}
	if m.Undo != "" {
		out = append(out, part{"undo: ", m.Undo})
	}
	return out
}
