package output

import (
	"slices"
	"strconv"

	"github.com/twtrace/twtrace/internal/event"
)

// Encoder prints records as [AppendJSON] does, byte for byte, in a fraction of the
// time: it caches what repeats from record to record in its printed form, the second
// of the time and the members about processes. It is not safe for concurrent use.
type Encoder struct {
	second int64  // since the epoch, that stamp is of
	stamp  []byte // `{"time":"2026-11-22T22:14:07.`
	people [peopleSlots]people
}

// peopleSlots is how many combinations of processes are cached: enough for a busy
// host, and not more than fit into a cache of the CPU.
const peopleSlots = 256

// people is the printed members of a record about who did what.
type people struct {
	cast
	text []byte
}

// cast is what people is printed from. A [event.Who] never changes, so comparing the
// pointers is enough.
type cast struct {
	owner, opener, accepter, closer event.Proc
	role                            event.Role
	side                            event.Side
	from                            event.OwnerFrom
}

// The parts of the table: what people prints, and the fields behind rearms, which
// few records have. Encoder prints the fields before and between them itself.
var (
	castFields = between("role", "oldstate")
	failFields = between("call", "severity")
)

// between returns the fields from one on, up to another.
func between(from, until string) []*Field {
	return all[slices.Index(all, find(from)):slices.Index(all, find(until))]
}

// AppendJSON appends e as one JSON object with every field that is known.
func (c *Encoder) AppendJSON(dst []byte, e *event.Event) []byte {
	if about(e) || e.Storm != nil || e.Time <= 0 || int(e.Kind) >= len(kindMembers) ||
		int(e.Old) >= len(oldMembers) || int(e.New) >= len(newMembers) || int(e.Reason) >= len(reasonMembers) {
		return AppendJSON(dst, e)
	}
	dst = c.appendTime(dst, e.Time)
	dst = append(dst, kindMembers[e.Kind]...)
	if e.Cookie != 0 {
		dst = append(strconv.AppendUint(append(dst, `,"cookie":"`...), e.Cookie, 16), '"')
	}
	dst = appendUint(dst, `,"netns":`, uint64(e.NetNS))
	if e.NetNSName != "" {
		dst = appendJSONString(append(dst, `,"netns_name":`...), e.NetNSName)
	}
	dst = appendUint(dst, `,"ip":`, uint64(e.IP()))
	if a := e.Local.Addr(); a.IsValid() {
		dst = append(a.Unmap().WithZone("").AppendTo(append(dst, `,"laddr":"`...)), '"')
	}
	dst = appendUint(dst, `,"lport":`, uint64(e.Local.Port()))
	if a := e.Remote.Addr(); a.IsValid() {
		dst = append(a.Unmap().WithZone("").AppendTo(append(dst, `,"raddr":"`...)), '"')
	}
	dst = appendUint(dst, `,"rport":`, uint64(e.Remote.Port()))
	dst = append(dst, c.cast(e)...)
	dst = append(append(append(dst, oldMembers[e.Old]...), newMembers[e.New]...), reasonMembers[e.Reason]...)
	dst = appendInt(dst, `,"life_ns":`, e.Life)
	dst = appendInt(dst, `,"idle_ns":`, e.Idle)
	if e.DataLost {
		dst = append(dst, `,"data_lost":true`...)
	}
	switch e.Stamps {
	case event.Unknown:
	case event.Yes:
		dst = append(dst, `,"timestamps":true`...)
	default:
		dst = append(dst, `,"timestamps":false`...)
	}
	if e.Bound {
		dst = append(dst, `,"bound":true`...)
	}
	dst = appendInt(dst, `,"state_ns":`, e.InState)
	dst = appendInt(dst, `,"remaining_ns":`, e.Remaining)
	dst = appendUint(dst, `,"rearms":`, uint64(e.Rearms))
	if e.Call != 0 || e.Errno != 0 || e.Cause != 0 || e.Count != 0 || e.Stage != 0 {
		dst = appendMembers(dst, failFields, e)
	}
	return append(dst, '}')
}

// appendTime starts an object with the time, in ns since the epoch.
func (c *Encoder) appendTime(dst []byte, ns int64) []byte {
	const second = 1e9
	if s := ns / second; s != c.second || c.stamp == nil {
		c.second = s
		c.stamp = appendTime(append(c.stamp[:0], `{"time":"`...), s*second)
		c.stamp = c.stamp[:len(c.stamp)-len("000000000Z")]
	}
	dst = append(append(dst, c.stamp...), `000000000Z"`...)
	digits := dst[len(dst)-len(`000000000Z"`):]
	for i, n := 8, uint32(ns%second); i >= 0; i-- {
		digits[i] = byte('0' + n%10)
		n /= 10
	}
	return dst
}

// cast returns the printed members of e about processes.
func (c *Encoder) cast(e *event.Event) []byte {
	k := cast{e.Process, e.Opener, e.Accepter, e.CloseProc, e.Role, e.Closer, e.Owner}
	// Odd factors: the slot is the upper bits, which all of these reach.
	h := k.owner.PID*0x9E3779B1 + k.opener.PID*0x85EBCA77 + k.accepter.PID*0xC2B2AE3D + k.closer.PID*0x27D4EB2F +
		(uint32(k.role)<<6+uint32(k.side)<<3+uint32(k.from))*0x165667B1
	p := &c.people[h>>24%peopleSlots]
	if p.text == nil || p.cast != k {
		p.cast = k
		p.text = appendMembers(p.text[:0], castFields, e)
		if p.text == nil {
			p.text = []byte{}
		}
	}
	return p.text
}

// appendMembers appends members of an object that has others in front.
func appendMembers(dst []byte, fields []*Field, e *event.Event) []byte {
	for _, f := range fields {
		dst = appendMember(dst, -1, f.Name, f.value(e))
	}
	return dst
}

// appendUint appends a member, its key with a comma in front, but for 0: not known.
func appendUint(dst []byte, key string, n uint64) []byte {
	if n == 0 {
		return dst
	}
	return strconv.AppendUint(append(dst, key...), n, 10)
}

func appendInt(dst []byte, key string, n int64) []byte {
	if n == 0 {
		return dst
	}
	return strconv.AppendInt(append(dst, key...), n, 10)
}

// The members of words, by their values.
var (
	kindMembers   = members("event", event.Held)
	oldMembers    = members("oldstate", event.NewSynRecv)
	newMembers    = members("newstate", event.NewSynRecv)
	reasonMembers = members("reason", event.Churn)
)

// members prints the member of each value up to last; nothing of the one that is not
// known.
func members[T interface {
	~uint8
	String() string
}](name string, last T) []string {
	out := make([]string, int(last)+1)
	for i := range out {
		out[i] = string(appendMember(nil, -1, name, Word(T(i).String())))
	}
	return out
}
