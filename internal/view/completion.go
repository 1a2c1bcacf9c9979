package view

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/rows"
)

// offer is what Tab can put in.
type offer struct {
	show string // what the user sees
	text string // as the language takes it
	word bool   // a word of the language, whose value comes next
}

// maxOffers bounds what Tab goes through.
const maxOffers = 200

// complete puts in what what is typed is the start of: the rest that all offers share, or
// one after the other.
func (m *model) complete(by int) {
	d, t := &m.display, &m.typing
	n := len(t.offers)
	if n == 0 {
		return
	}
	typed := filter.TypedAt(d.Typed[:d.cursor()])
	switch {
	case d.Line.choice >= 0: // the next one
		d.Line.choice = (d.Line.choice + by + n) % n
	case n == 1:
		m.put(typed.At, t.offers[0].text+" ")
		m.typed()
		return
	default:
		if shared := sharedStart(t.offers); len(shared) > len(typed.Text) && strings.HasPrefix(shared, typed.Text) {
			m.put(typed.At, shared)
			m.typed()
			return
		}
		t.from, d.Line.choice = typed.At, 0
		if by < 0 {
			d.Line.choice = n - 1
		}
	}
	m.put(t.from, t.offers[d.Line.choice].text)
	m.answerTyped()
}

// put has text in place of what is between from and the cursor.
func (m *model) put(from int, text string) {
	d := &m.display
	d.Typed = d.Typed[:from] + text + d.Typed[d.cursor():]
}

// sharedStart is what all offers start with.
func sharedStart(all []offer) string {
	shared := all[0].text
	for _, o := range all {
		n := 0
		for n < len(shared) && n < len(o.text) && shared[n] == o.text[n] {
			n++
		}
		shared = shared[:n]
	}
	return shared
}

// offersAt are what the end of line may become.
func (m *model) offersAt(line string) []offer {
	t := filter.TypedAt(line)
	var list []rows.Row
	if s := m.shown(); s != nil {
		list = s.Rows
	}
	var all []offer
	switch {
	case t.Word != nil && slices.Contains(rowless, t.Word.Name):
		return nil
	case t.Word == nil:
		all = m.bareOffers(list, t.Text)
	case t.Word.Name == "netns":
		all = values(m.spaceNames())
	case t.Word.Values != nil:
		all = values(t.Word.Values)
	default:
		all = values(valuesOf(t.Word.Name, list))
	}
	all = slices.DeleteFunc(all, func(o offer) bool { return !strings.HasPrefix(o.text, t.Text) })
	if len(all) == 1 && all[0].text == t.Text && !all[0].word { // it is there
		return nil
	}
	return all[:min(len(all), maxOffers)]
}

// bareOffers are what makes sense without a word before it: words, comms, ports, addresses.
func (m *model) bareOffers(list []rows.Row, typed string) (all []offer) {
	l := m.language()
	for _, w := range l.Has() {
		all = append(all, offer{w.Name, w.Name, true})
	}
	if typed == "" { // all words are many already
		return all
	}
	for _, o := range values(valuesOf("comm", list)) {
		if f, err := l.ParseLine(o.text); err == nil && f.Comms.Active() {
			all = append(all, o)
		}
	}
	for _, port := range valuesOf("port", list) {
		all = append(all, offer{":" + port, ":" + port, false})
		if typed[0] != ':' {
			all[len(all)-1] = offer{port, port, false}
		}
	}
	return append(all, values(valuesOf("addr", list))...)
}

// values are offers of values.
func values(list []string) (all []offer) {
	for _, v := range list {
		all = append(all, offer{v, filter.Quote(v), false})
	}
	return all
}

// valuesOf are the values that rows have for a word, in order, each once.
func valuesOf(word string, list []rows.Row) []string {
	found := make(map[string]bool)
	for i := range list {
		for _, v := range rowValues(word, &list[i]) {
			if v != "" {
				found[v] = true
			}
		}
	}
	return slices.SortedFunc(maps.Keys(found), func(a, b string) int {
		if x, err := strconv.Atoi(a); err == nil { // numbers by their size
			if y, err := strconv.Atoi(b); err == nil {
				return cmp.Compare(x, y)
			}
		}
		return cmp.Compare(a, b)
	})
}

// rowValues are the values that a row has for a word; "" is none.
func rowValues(word string, r *rows.Row) []string {
	who := r.Owner.Who
	if who == nil {
		who = &event.Who{}
	}
	switch word {
	case "comm":
		return []string{r.Owner.Comm}
	case "pid":
		return []string{number(r.Owner.PID)}
	case "uid":
		if who.HasUID {
			return []string{strconv.FormatUint(uint64(who.UID), 10)}
		}
	case "exe":
		return []string{who.Exe}
	case "parent":
		return []string{who.PComm, number(who.PPID)}
	case "cgroup":
		return []string{who.Cgroup}
	case "unit":
		return []string{who.Unit}
	case "container":
		return []string{cmp.Or(who.ContainerName, who.Container)}
	case "pod":
		return []string{cmp.Or(who.PodName, who.Pod)}
	case "lport":
		return []string{number(r.Local.Port())}
	case "rport":
		return []string{number(r.Remote.Port())}
	case "port":
		return []string{number(r.Local.Port()), number(r.Remote.Port())}
	case "laddr":
		return []string{address(r.Local)}
	case "raddr":
		return []string{address(r.Remote)}
	case "addr":
		return []string{address(r.Local), address(r.Remote)}
	}
	return nil
}

// number words a number that is not 0.
func number[T ~uint16 | ~uint32](n T) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(n), 10)
}

// address words an address as filters take it: without a zone.
func address(a netip.AddrPort) string {
	if !a.Addr().IsValid() {
		return ""
	}
	return a.Addr().Unmap().WithZone("").String()
}
