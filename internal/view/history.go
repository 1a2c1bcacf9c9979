package view

import (
	"math"
	"reflect"
	"slices"
	"unsafe"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/pressure"
	"github.com/twtrace/twtrace/internal/rows"
)

// What is kept of the past: the last pastStates states, as far as they fit into pastBytes.
// A state takes some 10 to 30 KiB where there are a few rows, and 1.4 KiB more for each row.
const (
	pastStates = 600
	pastBytes  = 6 << 20
)

// Past is the states of the last minutes, oldest first. Where there is no room for all, those
// that are left lie the further apart the older they are. The zero Past is empty.
type Past struct {
	states []*State
	about  []kept // them
	bytes  int    // of all
	added  int    // how many there ever were
}

// kept is what a Past knows of a state.
type kept struct {
	number int // of added
	bytes  int
}

// Len is how many there are.
func (p *Past) Len() int { return len(p.states) }

// Add keeps s, and forgets what is too much, but never s, nor the state that is shown, by its
// index; if none is, that is negative. It returns where the one that is shown is now.
func (p *Past) Add(s *State, shown int) (at int) {
	p.added++
	k := kept{p.added, s.bytes()}
	p.states, p.about, p.bytes = append(p.states, s), append(p.about, k), p.bytes+k.bytes
	for p.added-p.about[0].number >= pastStates && shown != 0 {
		p.forget(0)
		shown--
	}
	for p.bytes > pastBytes || len(p.states) > pastStates {
		i := p.spare(shown)
		if i < 0 {
			break
		}
		p.forget(i)
		if i < shown {
			shown--
		}
	}
	return shown
}

func (p *Past) forget(i int) {
	p.bytes -= p.about[i].bytes
	p.states, p.about = slices.Delete(p.states, i, i+1), slices.Delete(p.about, i, i+1)
}

// spare is the state that is missed least: the gap that it leaves is the smallest for its
// age. The oldest one is spare only where no other is; -1 if none is.
func (p *Past) spare(shown int) int {
	spare, least := -1, math.Inf(1)
	for i := range len(p.about) - 1 {
		gap := math.MaxFloat64
		if i > 0 {
			gap = float64(p.about[i+1].number-p.about[i-1].number) / float64(p.added-p.about[i].number)
		}
		if i != shown && gap < least {
			spare, least = i, gap
		}
	}
	return spare
}

// bytes is about how much memory a state takes. What it shares with others counts for each,
// but nothing that is behind a pointer: the processes of its rows.
func (s *State) bytes() int {
	n := int(unsafe.Sizeof(*s))
	for v, i := reflect.ValueOf(s).Elem(), 0; i < v.NumField(); i++ {
		switch f := v.Field(i); f.Type() { // of these there are many
		case reflect.TypeFor[[]rows.Row](), reflect.TypeFor[pressure.Reading]():
		default:
			n += refers(f)
		}
	}
	n += max(cap(s.Rows), cap(s.listed)) * int(unsafe.Sizeof(rows.Row{}))
	for i := range s.Rows {
		n += cap(s.Rows[i].Recent) * int(unsafe.Sizeof(conn.Closed{}))
	}
	n += cap(s.Pressure.Gauges) * int(unsafe.Sizeof(pressure.Gauge{}))
	for i := range s.Events { // what an entry knows of its event belongs to the first state that has it
		if e := &s.Events[i]; e.Event != nil && e.First > s.Time.Add(-s.Interval).UnixNano() {
			n += int(unsafe.Sizeof(*e.Event))
			if e.Event.Storm != nil {
				n += int(unsafe.Sizeof(*e.Event.Storm))
			}
		}
	}
	for i := range s.Pressure.Gauges {
		n += cap(s.Pressure.Gauges[i].Holders) * int(unsafe.Sizeof(conn.Holder{}))
	}
	return n
}

// refers is how much memory the strings and slices in a value take, behind no pointer.
func refers(v reflect.Value) (n int) {
	switch v.Kind() {
	case reflect.String:
		return v.Len()
	case reflect.Slice:
		n = v.Cap() * int(v.Type().Elem().Size())
		for i := range v.Len() {
			n += refers(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			n += refers(v.Field(i))
		}
	}
	return n
}
