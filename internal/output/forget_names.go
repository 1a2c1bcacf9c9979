package output

import "github.com/twtrace/twtrace/internal/event"

// ForgetNames removes every string from outside from e: names of processes, of
// hosts and of what they run, and the filter, which may contain any of them. The
// versions of the kernel and of twtrace stay.
func ForgetNames(e *event.Event) {
	if e.Start != nil {
		start := *e.Start
		start.Host, start.BootID, start.Filter = "", "", ""
		e.Start = &start
	}
	if e.Process.Who != nil {
		who := *e.Process.Who // other events share it
		e.Process.Who = &who
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
