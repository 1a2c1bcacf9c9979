package report

import (
	"cmp"

	"github.com/twtrace/twtrace/internal/output"
)

// block is the verdict: what a reader has to know if there is time for a few lines only.
type block struct {
	Line     string // what was worst, and where
	Parts    []part
	Does     string // what the command does
	Commands []part // the stopgap, and what takes it back
	Fix      string
	More     string // how many other findings there are
}

// maxOutageLines is how many outages the verdict has.
const maxOutageLines = 3

// block is the verdict of r, nil if no finding is as bad as the worst that happened.
func (r *Report) block() *block {
	v := &r.judged
	if v.ID == "" || v.Word() != severityWord(r.Verdict) {
		return nil
	}
	b := &block{Line: past(safe(v.What)), Does: safe(v.Does), Fix: safe(v.Fix), More: v.Others()}
	if v.Where != "" {
		b.Line = safe(v.Where) + ": " + b.Line
	}
	add := func(name, text string) {
		if text != "" {
			b.Parts = append(b.Parts, part{name, text})
		}
	}
	add("in all", r.headline())
	add("who", past(safe(cmp.Or(v.Briefly, v.Who))))
	for i := range r.Outages {
		if i == maxOutageLines {
			add("outage", output.Count(uint64(len(r.Outages)-i)+r.Omitted.Outages)+" more")
			break
		}
		add("outage", r.outageLine(&r.Outages[i]))
	}
	add("stopgap", safe(v.Do))
	if v.Now != "" {
		b.Commands = append(b.Commands, part{"", safe(v.Now)})
	}
	if v.Undo != "" {
		b.Commands = append(b.Commands, part{"undo: ", safe(v.Undo)})
	}
	return b
}
