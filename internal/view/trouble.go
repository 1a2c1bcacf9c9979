package view

import (
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// Trouble is what goes wrong: the columns that show it come before those that do not. What
// there was stays for a while, so that columns do not come and go.
type Trouble struct {
	Fails     bool // calls fail
	Ports     bool // they do, or ports run out
	CloseWait bool // connections stay in CLOSE_WAIT
	Parked    bool // parked sockets hold the ports that run out
	Spaces    bool // there are several network namespaces
}

// troubleFor is how long the columns stay that showed a trouble.
const troubleFor = int64(time.Minute)

// manySockets is from how many sockets of a row on a state is worth a column: a few are in
// every state for a moment.
const manySockets = 16

// troubled remembers when there was which trouble, ns since the epoch.
type troubled struct{ fails, ports, closeWait, parked, spaces int64 }

// see is the trouble of a state and of those shortly before.
func (t *troubled) see(s *State) Trouble {
	now, at := troubleOf(s), s.Time.UnixNano()
	lasts := func(last *int64, yes bool) bool {
		if yes {
			*last = at
		}
		return *last != 0 && at-*last < troubleFor
	}
	return Trouble{Fails: lasts(&t.fails, now.Fails), Ports: lasts(&t.ports, now.Ports), CloseWait: lasts(&t.closeWait, now.CloseWait),
		Parked: lasts(&t.parked, now.Parked), Spaces: lasts(&t.spaces, now.Spaces)}
}

// troubleOf is what goes wrong at the moment.
func troubleOf(s *State) Trouble {
	t := Trouble{Fails: s.Rates.Fail > 0}
	t.Ports = t.Fails || s.Worst != nil && s.Worst.Severity >= event.Warn
	var netns uint32
	for i := range s.Rows {
		r := &s.Rows[i]
		t.CloseWait = t.CloseWait || r.CloseWait >= manySockets
		t.Parked = t.Parked || r.Severity >= event.Warn && r.Parked >= manySockets
		if netns == 0 {
			netns = r.NetNS
		}
		t.Spaces = t.Spaces || r.NetNS != 0 && r.NetNS != netns
	}
	return t
}
