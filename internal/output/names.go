package output

import "github.com/twtrace/twtrace/internal/event"

// ForgetNames takes every string from outside out of e: names of processes, of
// hosts and of what they run, and the filter, which may have any of them. What is
// about the software of the host stays.
func ForgetNames(e *event.Event) {
	if e.Start != nil {
		start := *e.Start
		start.Host, start.BootID, start.Filter = "", "", ""
		e.Start = &start
	}
	for _, f := range all {
		if f.about || f.Type != TypeString && f.Type != TypeProse {
			continue
		}
		if s, ok := f.at(e).(*string); ok {
			*s = ""
		}
	}
}
