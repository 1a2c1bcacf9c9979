package view

import (
	"net/netip"
	"slices"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
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
	NoPage     Page = iota
	PageDetail      // of the row under the cursor, and why it is there
	PageDoctor      // all findings
	PageHelp        // the keys
)

// Look is what the user wants to see of a State, and how. The zero Look shows all
// flows by TIME_WAIT.
type Look struct {
	Tab      Tab
	Grouping Grouping // of a table
	Sort     Sort
	Invert   bool
	Full     bool           // the peer, whatever else fits
	Named    bool           // the peer by its name, where one is known
	Filter   *filter.Filter // of the rows, nil for all
	Not      bool           // the rows that do not match it
	Words    string         // the filter as it was typed
	Page     Page

	Cursor rowKey // the row that the cursor is on; it goes where the row goes
	Marked bool   // there is a cursor
	Top    int    // how many rows, or lines of a page, are above the screen
	Order  []*Row // holds the order of the rows while the cursor moves

	Prompt  bool   // the filter is being typed
	Typed   string // so far
	Asking  bool   // for the format of an export
	Notice  string // what the last key did, shown instead of the keys
	Mode    string // instead of the State's: "PAUSED 7s"
	Offers  Offers
	Writing string // the file that is being recorded, "" if none

	Recorded Recording // as of the latest state, whichever is shown

	memo  *memo                 // nil: nothing is remembered
	names map[netip.Addr]string // of peers, as far as they have been asked for; "" if it has none
}

// NewLook shows a table grouped by g.
func NewLook(g Grouping) Look {
	var k Look
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
}

// matching are the rows that the tab and the filter let through.
func (k *Look) matching(rows []Row) []*Row {
	out := make([]*Row, 0, len(rows))
	for i := range rows {
		if k.Tab != TabListeners && k.Filter == nil || k.shows(&rows[i]) {
			out = append(out, &rows[i])
		}
	}
	return out
}

func (k *Look) shows(r *Row) bool {
	if k.Tab == TabListeners && r.Role != event.Server {
		return false
	}
	side, _, _ := r.closer()
	return k.Filter.Match(&event.Event{
		Process: r.Owner, Local: r.Local, Remote: r.Remote, NetNS: r.NetNS, Role: r.Role, Closer: side,
	}) != k.Not
}

// held puts rows into the order of others that are the same ones, of an earlier state;
// those that are not among these come last.
func held(rows, order []*Row) []*Row {
	at := make(map[rowKey]int, len(order))
	for i, r := range order {
		at[r.id] = i
	}
	places := make([]*Row, len(order), len(order)+len(rows))
	for _, r := range rows {
		if i, ok := at[r.id]; ok {
			places[i] = r
		} else {
			places = append(places, r)
		}
	}
	return slices.DeleteFunc(places, func(r *Row) bool { return r == nil })
}

// index is where the cursor is among rows, -1 if it is on none.
func (k *Look) index(rows []*Row) int {
	if !k.Marked {
		return -1
	}
	return slices.IndexFunc(rows, func(r *Row) bool { return r.id == k.Cursor })
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
func (k *Look) setTab(t Tab) {
	k.Tab, k.Page, k.Top, k.Order = t, NoPage, 0, nil
	switch t {
	case TabProcesses:
		k.Grouping = ByProcess
	case TabPeers:
		k.Grouping = ByPeer
	default:
		k.Grouping = ByFlow
	}
}

// setGrouping groups the table, and goes to the tab that is grouped so.
func (k *Look) setGrouping(g Grouping) {
	k.Grouping, k.Top, k.Order = g, 0, nil
	switch g {
	case ByPeer:
		k.Tab = TabPeers
	case ByFlow:
		k.Tab = TabFlows
	default:
		k.Tab = TabProcesses
	}
}
