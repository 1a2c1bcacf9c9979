package session

import (
	"context"
	"errors"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
)

// ErrIdle is what Source.Next returns when there is no event now, and more may come.
var ErrIdle = errors.New("no event now")

// Source is where events come from: live.Trace, replay.Files. Nothing to the left of
// it asks which one it is. Its methods are for one goroutine.
type Source interface {
	// Begin adds the sockets from before the first event to the table, but for those
	// whose records Next returns first. The source adds to the table only what wanted
	// accepts. It is called once, before Next and Tend; the table's other events are
	// applied by the session.
	Begin(t *conn.Table, wanted func(*event.Event) bool) error
	// Next returns the next event, its processes named. The errors are ErrIdle,
	// io.EOF at the end, or final. It may wait, until ctx is done at the latest.
	Next(ctx context.Context, e *event.Event) error
	// Early reports whether the next event is from before the part that is asked for:
	// a socket from before the trace, or a record before --from.
	Early() bool
	// Tend does what is due between two events: it polls, compares, and passes what it
	// finds (losses, sockets that no event announced) to found. The table has these
	// already. The ring was empty if idle. After io.EOF it reports the last losses.
	Tend(idle bool, found func(*event.Event) error) error
	// Finish brings the source to its end. Next returns what is still under way, and
	// then io.EOF.
	Finish()
	Close()

	// Now is the time of the trace: the clock's, or how far the files have been read.
	Now() time.Time
	// Began is when the trace started.
	Began() time.Time
	// Start is the first record of the trace.
	Start() (event.Event, error)
	// End is the last record of a trace that is over. It has KindNone where there is
	// none: a recording that is torn, or was not read to its end.
	End(why string) (event.Event, error)
	// Shows reports whether the user asked for the time of e.
	Shows(e *event.Event) bool
	// Storms reports whether the records of storms are among the events.
	Storms() bool
	// Mode is the word of the screen for the source: LIVE, or REPLAY and the time.
	Mode() string

	// Limits returns the limits of a network namespace.
	Limits(netns uint32) (kernel.Limits, bool)
	// AllLimits returns the limits of all network namespaces that are known, and when
	// they were read. The map must not be changed.
	AllLimits() (map[uint32]kernel.Limits, time.Time)
	// NetNSName returns the name of a network namespace, "" if it has none.
	NetNSName(netns uint32) string
	// Traces reports whether the trace covers a network namespace.
	Traces(netns uint32) bool

	// Missing says in words what the trace cannot see.
	Missing() []string
	// OwnersKnown is when the last socket is gone whose owner cannot be known; zero if
	// there is none.
	OwnersKnown() time.Time
	// Drift is the last difference to the kernel's counters, by network namespace.
	Drift() []event.Drift
	// Remarks are what the screen says of the trace itself, in a few words each.
	Remarks(now time.Time) []string
	// Damage is what was wrong with the source, nil if nothing was.
	Damage() error
}

// Lingering is a connection that stays in CLOSE_WAIT or FIN_WAIT2.
type Lingering struct {
	conn.Socket             // State, NetNS, Cookie, Local and Remote are set
	Seen        time.Time   // when a poll first showed it so
	Grown       bool        // it came after the first poll
	Peer        conn.Socket // the other end, if it is on this host and in one of these states; else zero
}
