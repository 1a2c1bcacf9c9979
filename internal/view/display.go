package view

import (
	"net/netip"
	"slices"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/rows"
)

// Tab is one of the views that a digit chooses.
type Tab uint8

// The tabs, in order. The first three are one table, grouped.
const (
	TabFlows Tab = iota
	TabProcesses
	TabPeers
	TabListeners // those that accept, by local address
	TabEvents    // what happened, the latest first
	tabs
)

var tabNames = [...]string{TabFlows: "Flows", TabProcesses: "Procs", TabPeers: "Peers", TabListeners: "Listen", TabEvents: "Events"}

func (t Tab) String() string { return tabNames[t%tabs] }

// Page lies over the tab.
type Page uint8

// The pages.
const (
	NoPage      Page = iota
	PageDetail       // of the row under the cursor, and why it is there
	PageDoctor       // all findings
	PageHelp         // the keys
	PageEvent        // of the event under the cursor
	PageColumns      // which columns the table has
)

// Display is what the user wants to see of a State, and how. The zero Display shows
// all flows by TIME_WAIT.
type Display struct {
	Tab      Tab
	Grouping rows.Grouping // of a table
	Sort     rows.Sort
	Invert   bool
	Full     bool           // the peer, whatever else fits
	Named    bool           // the peer by its name, where one is known
	Filter   *filter.Filter // of the rows, nil for all
	Words    string         // the filter as it was typed
	Page     Page

	Cursor rows.Key    // the row that the cursor is on; it goes where the row goes
	Marked bool        // there is a cursor
	Top    int         // how many rows, or lines of a page, are above the screen
	Order  []*rows.Row // holds the order of the rows while the cursor moves

	Event       uint64 // the entry that the cursor of the events is on
	EventMarked bool   // there is one

	Columns map[string]bool // shown or hidden by the user, by title; the others as the screen allows
	Choice  int             // the column that the chooser is at

	Prompt  bool   // the filter is being typed
	Typed   string // so far
	Line    promptLine
	Asking  bool   // for the format of an export
	Notice  string // what the last key did, shown instead of the keys
	Clip    *Clip  // what was copied last, until the next key
	Mode    string // instead of the State's: "PAUSED 7s"
	Offers  Offers
	Writing string // the file that is being recorded, "" if none

	Recorded Recording // as of the latest state, whichever is shown

	// Enter is what brings a command of the user's shell into a network namespace, "" or
	// with a blank at its end; nil if all are where the shell is.
	Enter   func(netns uint32) string
	entered map[uint32]string // what it said

	position string // of the page's lines on the screen, while a frame is made

	memo  *memo                 // nil: nothing is remembered
	names map[netip.Addr]string // of peers, as far as they have been asked for; "" if it has none
}

// NewDisplay shows a table grouped by g.
func NewDisplay(g rows.Grouping) Display {
	var k Display
	k.setGrouping(g)
	return k
}

// Offers are the keys that only some sources have.
type Offers struct {
	Record   bool // w
	Interval bool // + and -
	Reset    bool // r
	Step     bool // t and T: paused
	Names    bool // p, twice
	Mouse    bool // clicks and the wheel
}

// Arrange returns the rows to show: those that match, grouped and sorted. Rows that
// sort as equal keep an order of their own from frame to frame. It does not change the
// rows of list, which may be among those that it returns. What a Display has arranged
// before it may return again.
func (d *Display) Arrange(list []rows.Row) []*rows.Row {
	m := d.memo
	if m == nil {
		m = new(memo)
	}
	if q := d.ask(list); m.grouped == nil || m.question != q {
		*m = memo{question: q, grouped: rows.Group(d.matching(list), d.Grouping)}
	}
	if m.sorted == nil || m.sort != d.Sort || m.invert != d.Invert {
		m.sorted, m.sort, m.invert, m.held = rows.Sorted(m.grouped, d.Sort, d.Invert), d.Sort, d.Invert, nil
	}
	switch {
	case len(d.Order) == 0, same(d.Order, m.sorted):
		return m.sorted
	case m.held == nil || !same(d.Order, m.order) && !same(d.Order, m.held):
		m.held, m.order = held(m.sorted, d.Order), d.Order
	}
	return m.held
}

// memo is what was arranged last, so that a key that changes nothing of it need not
// do it again. It compares which rows they are, not what is in them: the rows of a
// State never change.
type memo struct {
	question
	grouped []*rows.Row
	sort    rows.Sort
	invert  bool
	sorted  []*rows.Row // grouped, by these
	order   []*rows.Row
	held    []*rows.Row // sorted, held in that order
}

// question is what decides which rows there are.
type question struct {
	first     *rows.Row
	n         int
	listeners bool
	grouping  rows.Grouping
	filter    *filter.Filter
}

func (d *Display) ask(list []rows.Row) question {
	q := question{n: len(list), listeners: d.Tab == TabListeners, grouping: d.Grouping, filter: d.Filter}
	if len(list) > 0 {
		q.first = &list[0]
	}
	return q
}

// same reports whether two lists are one.
func same(a, b []*rows.Row) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

// matching are the rows that the tab and the filter let through.
func (d *Display) matching(list []rows.Row) []*rows.Row {
	out := make([]*rows.Row, 0, len(list))
	for i := range list {
		if d.Tab != TabListeners && d.Filter == nil || d.shows(&list[i]) {
			out = append(out, &list[i])
		}
	}
	return out
}

func (d *Display) shows(r *rows.Row) bool {
	if d.Tab == TabListeners && r.Role != event.Server {
		return false
	}
	side, _, _ := r.ClosedBy()
	return d.Filter.Match(&event.Event{
		Process: r.Owner, Local: r.Local, Remote: r.Remote, NetNS: r.NetNS, Role: r.Role, Closer: side,
	})
}

// held puts rows into the order of others that are the same ones, of an earlier state;
// those that are not among these come last.
func held(list, order []*rows.Row) []*rows.Row {
	at := make(map[rows.Key]int, len(order))
	for i, r := range order {
		at[r.ID] = i
	}
	places := make([]*rows.Row, len(order), len(order)+len(list))
	for _, r := range list {
		if i, ok := at[r.ID]; ok {
			places[i] = r
		} else {
			places = append(places, r)
		}
	}
	return slices.DeleteFunc(places, func(r *rows.Row) bool { return r == nil })
}

// index is where the cursor is among rows, -1 if it is on none.
func (d *Display) index(list []*rows.Row) int {
	if !d.Marked {
		return -1
	}
	return slices.IndexFunc(list, func(r *rows.Row) bool { return r.ID == d.Cursor })
}

// window is which of n lines are on a screen with room for some, when top are to be
// above it and the one at must to be seen (-1 for none).
func window(n, room, top, must int) (from, to int) {
	if must >= 0 {
		top = min(top, must)
		top = max(top, must-room+1)
	}
	from = max(min(top, n-room), 0)
	return from, min(from+max(room, 0), n)
}

// setTab goes to a tab, with the grouping that is its own.
func (d *Display) setTab(t Tab) {
	d.Tab, d.Page, d.Top, d.Order = t, NoPage, 0, nil
	switch t {
	case TabProcesses:
		d.Grouping = rows.ByProcess
	case TabPeers:
		d.Grouping = rows.ByPeer
	default:
		d.Grouping = rows.ByFlow
	}
}

// setGrouping groups the table, and goes to the tab that is grouped so.
func (d *Display) setGrouping(g rows.Grouping) {
	d.Grouping, d.Top, d.Order = g, 0, nil
	switch g {
	case rows.ByPeer:
		d.Tab = TabPeers
	case rows.ByFlow:
		d.Tab = TabFlows
	default:
		d.Tab = TabProcesses
	}
}
