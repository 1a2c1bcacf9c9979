package output

import (
	"bytes"
	"net/netip"

	"github.com/twtrace/twtrace/internal/event"
)

// own decodes records as Encoder writes them: their fields in the order of the table, and no
// space between them. It caches what Encoder caches, the second of the time and the members
// about processes. Whatever is not so, the general decoder decodes from the start.
type own struct {
	rest   []byte
	second []byte // the time of a record, as far as its seconds
	at     int64  // the same in ns since the epoch
	casts  map[string]*event.Event
}

// maxCasts is how many combinations of processes are cached, beyond what Encoder caches.
const maxCasts = 1024

// decodeOwn sets e to the record in line, and reports whether it could. If not, e is
// undefined.
func (d *Decoder) decodeOwn(line []byte, e *event.Event) bool {
	o := &d.own
	o.rest = line
	ok := o.time(d, &e.Time) && o.kind(&e.Kind) && o.socket(e) && o.cast(d, e)
	if !ok {
		return false
	}
	e.Old, e.New, e.Reason = word(o, oldMembers, e.Old), word(o, newMembers, e.New), word(o, reasonMembers, e.Reason)
	o.signed(`,"life_ns":`, &e.Life)
	o.signed(`,"idle_ns":`, &e.Idle)
	e.DataLost = o.take(`,"data_lost":true`)
	switch {
	case o.take(`,"timestamps":true`):
		e.Stamps = event.Yes
	case o.take(`,"timestamps":false`):
		e.Stamps = event.No
	}
	e.Bound = o.take(`,"bound":true`)
	o.signed(`,"state_ns":`, &e.InState)
	o.signed(`,"remaining_ns":`, &e.Remaining)
	if n, ok := o.number(`,"rearms":`, 1<<32-1); ok {
		e.Rearms = uint32(n)
	}
	return string(o.rest) == "}"
}

// take reads what is expected, if it comes.
func (o *own) take(text string) bool {
	if len(o.rest) < len(text) || string(o.rest[:len(text)]) != text {
		return false
	}
	o.rest = o.rest[len(text):]
	return true
}

// time reads the start of a record. The same second is read once.
func (o *own) time(d *Decoder, to *int64) bool {
	const key, second, all = `{"time":`, len(`"2006-01-02T15:04:05`), len(`"2006-01-02T15:04:05.000000000Z"`)
	if !o.take(key) || len(o.rest) < all {
		return false
	}
	text := o.rest[:all]
	if text[second] != '.' || text[all-2] != 'Z' || text[all-1] != '"' {
		return false
	}
	ns := int64(0)
	for _, c := range text[second+1 : all-2] {
		if c < '0' || c > '9' {
			return false
		}
		ns = ns*10 + int64(c-'0')
	}
	if !bytes.Equal(o.second, text[:second]) {
		at, err := parseTime(text)
		if err != nil {
			return false
		}
		o.second, o.at = append(o.second[:0], text[:second]...), at-ns
	}
	*to, o.rest = o.at+ns, o.rest[all:]
	return true
}

// kind reads the kind of a record about a connection; others are decoded otherwise.
func (o *own) kind(to *event.Kind) bool {
	*to = word(o, kindMembers, event.KindNone)
	return *to >= event.Snapshot && *to <= event.Fail || *to >= event.Parked
}

// word reads the member of an enumeration, printed as in members; if there is none, it returns
// none.
func word[T ~uint8](o *own, members []string, none T) T {
	for i, m := range members {
		if m != "" && o.take(m) {
			return T(i)
		}
	}
	return none
}

// socket reads the members from the cookie to the remote port.
func (o *own) socket(e *event.Event) bool {
	if o.take(`,"cookie":"`) && !o.hex(&e.Cookie) {
		return false
	}
	if n, ok := o.number(`,"netns":`, 1<<32-1); ok {
		e.NetNS = uint32(n)
	}
	o.number(`,"ip":`, 9) // it follows from the addresses
	return o.end(`,"laddr":"`, `,"lport":`, &e.Local) && o.end(`,"raddr":"`, `,"rport":`, &e.Remote)
}

func (o *own) hex(to *uint64) bool {
	for i, c := range o.rest {
		switch {
		case c >= '0' && c <= '9':
			*to = *to<<4 | uint64(c-'0')
		case c >= 'a' && c <= 'f':
			*to = *to<<4 | uint64(c-'a'+10)
		default:
			o.rest = o.rest[i+1:]
			return c == '"' && i > 0
		}
		if i >= 16 {
			return false
		}
	}
	return false
}

// end reads one end of a connection, what there is of it.
func (o *own) end(address, port string, to *netip.AddrPort) bool {
	var a netip.Addr
	if o.take(address) {
		n := bytes.IndexByte(o.rest, '"')
		if n < 0 {
			return false
		}
		var ok bool
		if a, ok = parseIPv4(o.rest[:n]); !ok {
			var err error
			if a, err = netip.ParseAddr(string(o.rest[:n])); err != nil {
				return false
			}
		}
		o.rest = o.rest[n+1:]
	}
	n, _ := o.number(port, 1<<16-1)
	*to = netip.AddrPortFrom(a, uint16(n))
	return true
}

// parseIPv4 parses an address of IPv4 in its usual form, without the allocation of
// netip.ParseAddr.
func parseIPv4(text []byte) (netip.Addr, bool) {
	var ip [4]byte
	at := 0
	for i := range ip {
		from, n := at, 0
		for ; at < len(text) && at-from < 3 && text[at] >= '0' && text[at] <= '9'; at++ {
			n = n*10 + int(text[at]-'0')
		}
		if at == from || n > 255 || text[from] == '0' && at-from > 1 {
			return netip.Addr{}, false
		}
		ip[i] = byte(n)
		if i < len(ip)-1 {
			if at == len(text) || text[at] != '.' {
				return netip.Addr{}, false
			}
			at++
		}
	}
	return netip.AddrFrom4(ip), at == len(text)
}

// number reads a member that is a number from 0 to most, if it comes. One that is not
// stays, and is the end of this attempt.
func (o *own) number(key string, most uint64) (n uint64, ok bool) {
	before := o.rest
	if !o.take(key) {
		return 0, false
	}
	for i, c := range o.rest {
		if c < '0' || c > '9' || i == 19 { // more may be too large
			if ok = i > 0 && n <= most && (c == ',' || c == '}'); ok {
				o.rest = o.rest[i:]
				return n, true
			}
			break
		}
		n = n*10 + uint64(c-'0')
	}
	o.rest = before
	return 0, false
}

func (o *own) signed(key string, to *int64) {
	if n, ok := o.number(key, 1<<63-1); ok {
		*to = int64(n)
	}
}

// states are how what follows the members about processes starts.
var states = []byte(`state":"`)

// cast reads the members about processes: those up to a state.
func (o *own) cast(d *Decoder, e *event.Event) bool {
	const start = len(`,"old`)
	n := bytes.Index(o.rest, states) - start
	if n < 0 || o.rest[n] != ',' || o.rest[n+1] != '"' {
		return false
	}
	text := o.rest[:n]
	o.rest = o.rest[n:]
	if n == 0 {
		return true
	}
	if !bytes.HasPrefix(text, []byte(`,"`)) {
		return false
	}
	p, ok := o.casts[string(text)]
	if !ok {
		if p = d.decodeCast(text); p == nil {
			return false
		}
		if o.casts == nil || len(o.casts) >= maxCasts {
			o.casts = make(map[string]*event.Event)
		}
		o.casts[string(text)] = p
	}
	setCast(e, p)
	return true
}

// setCast sets what the members about processes say.
func setCast(e, from *event.Event) {
	e.Role, e.Closer, e.Owner = from.Role, from.Closer, from.Owner
	e.Process, e.Opener, e.Accepter, e.CloseProc = from.Process, from.Opener, from.Accepter, from.CloseProc
}

// decodeCast decodes members about processes; nil if they are not whole, or of something
// else, or have words that are not known.
func (d *Decoder) decodeCast(text []byte) *event.Event {
	line := append(append([]byte{'{'}, text[1:]...), '}')
	unknown := d.Unknown
	var all, only event.Event
	err := d.decode(line, &all)
	known := d.Unknown == unknown
	d.Unknown = unknown
	if setCast(&only, &all); err != nil || !known || only != all {
		return nil
	}
	return &only
}
