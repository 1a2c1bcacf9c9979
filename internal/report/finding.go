package report

import (
	"cmp"
	"strings"
	"time"

	"github.com/twtrace/twtrace/internal/output"
)

const noFindings = "No findings."

// part is a line of a finding.
type part struct{ Name, Text string }

// parts are the lines of f that have something to say.
func (f *Finding) parts(r *Report) []part {
	all := []part{{"where", f.where(r)}, {"what", past(f.What)}, {"who", past(f.Who)}, {"when", f.whenText(r)}, {"why", f.Reason}}
	for i := range r.Outages {
		if o := &r.Outages[i]; f.about(o) {
			all = append(all, part{"outage", r.outageLine(o)})
		}
	}
	for _, c := range f.Consequences {
		all = append(all, part{"also", c.ID + " " + past(c.What)})
	}
	all = append(all, part{"active", f.seenText(r)})
	var out []part
	for _, p := range all {
		if p.Text != "" {
			out = append(out, p)
		}
	}
	return out
}

// where is the network namespace of f.
func (f *Finding) where(r *Report) string {
	if f.NetNS == 0 {
		return ""
	}
	return "network namespace " + r.spaceWords(f.NetNS)
}

// about reports whether f is about what o used up.
func (f *Finding) about(o *Outage) bool {
	s := &f.scope
	return f.NetNS == o.NetNS && s.Raddr != "" && s.Raddr == o.Raddr && s.Rport == o.Rport && (s.Laddr == "" || s.Laddr == o.Laddr)
}

// outageLine is an outage in a line.
func (r *Report) outageLine(o *Outage) string {
	span := r.when(o.Begin) + " " + r.zoneName() + " to the end of the recording"
	if o.End != "" {
		span = r.when(o.Begin) + " to " + r.when(o.End) + " " + r.zoneName()
	}
	return span + " (" + seconds(o.Duration) + "): " + plural(o.N, "failure", "failures")
}

// nowWords are the words of findings for the present, which is past in a report.
var nowWords = strings.NewReplacer(" are held now:", " were held:", "full now:", "full:", " held now:", " held:", "not now: ", "", " in use now", " in use",
	" are used up: connect() fails", " were used up: connect() failed", " holds ", " held ", " are held", " were held",
	" opens ", " opened ", " keeps none", " kept none", " run out", " ran out")

// past is what a finding says, without the present.
func past(s string) string {
	s = strings.TrimPrefix(strings.TrimPrefix(s, "now: "), "now; ")
	if s == "now" {
		return ""
	}
	return nowWords.Replace(s)
}

// whenText is the forecast, with its time.
func (f *Finding) whenText(r *Report) string {
	words := past(f.When)
	if words == "" {
		return ""
	}
	return "at " + r.when(f.At) + ": " + words
}

// seenText says when f was found, and as of when it is shown.
func (f *Finding) seenText(r *Report) string {
	if f.First == f.Last {
		return "at " + r.when(f.First) + " " + r.zoneName()
	}
	words := r.when(f.First) + " to " + r.when(f.Last) + " " + r.zoneName()
	for i := range r.Outages {
		if o := &r.Outages[i]; f.about(o) {
			if ahead := o.from - f.from; ahead >= int64(time.Second) {
				words += " (predicted " + output.Seconds(time.Duration(ahead)) + " before the first failure at " + r.when(o.Begin) + ")"
			}
			break
		}
	}
	return words + "; numbers are those of " + r.when(f.At)
}

// kindWords are what a remedy is: in a report nothing helps now.
var kindWords = map[string]string{"now": "stopgap", "fix": "fix"}

// kind is what m is called.
func (m *Remedy) kind() string { return cmp.Or(kindWords[m.Kind], m.Kind) }

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
