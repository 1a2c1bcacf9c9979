package output

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
)

// Decoder reads records back from JSON, those of earlier schemas too. What it
// returns prints as the same record again, with the names of this schema, and so a
// start record has at least the number of this one. The Decoder leaves out fields
// that it does not know, for later versions may add some, and words that it does not
// know, which it counts.
//
// A Decoder shares the strings of equal names, and what is said of equal processes,
// between events. It is not safe for concurrent use.
type Decoder struct {
	Unknown uint64 // how many words this version did not know, such as a new reason

	e     *event.Event
	names map[string]string
	whos  map[event.Who]*event.Who
	s     scanner
	own   own
}

// Decode sets e to the record in line, which is one JSON object. An error says
// what is wrong with the line; e is undefined then.
func (d *Decoder) Decode(line []byte, e *event.Event) error {
	*e = event.Event{}
	if d.decodeOwn(line, e) {
		return nil
	}
	return d.decode(line, e)
}

// decode is Decode of records in any form that JSON allows.
func (d *Decoder) decode(line []byte, e *event.Event) error {
	*e = event.Event{}
	d.e, d.s.rest = e, line
	if err := d.s.object(d.member); err != nil {
		return fmt.Errorf("bad record: %w", err)
	}
	if e.Kind != event.Start {
		e.Start = nil
	} else if e.Start == nil {
		e.Start = new(event.StartInfo)
	}
	if e.Start != nil {
		e.Start.Schema = max(e.Start.Schema, Schema)
	}
	if e.Kind != event.End {
		e.End = nil
	} else if e.End == nil {
		e.End = new(event.EndInfo)
	}
	if !storm(e) {
		e.Storm = nil
	} else if e.Storm == nil {
		e.Storm = event.NewStorm()
	}
	d.shareWho(e)
	return nil
}

// whosMax is the maximum number of processes whose description is shared.
const whosMax = 1 << 16

// shareWho gives the description of the owner also to those of the opener, the
// accepter and the closer who are the same process.
func (d *Decoder) shareWho(e *event.Event) {
	if e.Process.Who == nil {
		return
	}
	shared, ok := d.whos[*e.Process.Who]
	if !ok {
		if shared = e.Process.Who; d.whos == nil || len(d.whos) >= whosMax {
			d.whos = make(map[event.Who]*event.Who)
		}
		d.whos[*shared] = shared
	}
	e.Process.Who = shared
	for _, p := range [...]*event.Proc{&e.Opener, &e.Accepter, &e.CloseProc} {
		if p.PID == e.Process.PID && p.Comm == e.Process.Comm {
			p.Who = shared
		}
	}
}

func (d *Decoder) member(name, value []byte) error {
	f, ok := byName[string(name)]
	if !ok || f.at == nil {
		return nil
	}
	return d.set(f.at(d.e), f.Type, value)
}

// set parses a value of type t into what p points to.
func (d *Decoder) set(p any, t Type, raw []byte) (err error) {
	var n uint64
	switch p := p.(type) {
	case *uint16:
		if t == TypeWord {
			*p, err = d.errno(raw)
			return err
		}
		n, err = number(raw, 16)
		*p = uint16(n)
	case *uint32:
		n, err = number(raw, 32)
		*p = uint32(n)
	case *uint64:
		*p, err = d.uint64(t, raw)
	case *int64:
		if t == TypeTime {
			*p, err = parseTime(raw)
		} else {
			*p, err = signed(raw)
		}
	case *int:
		var i int64
		i, err = signed(raw)
		*p = int(i)
	case *float64:
		*p, err = strconv.ParseFloat(string(raw), 64)
	case *string:
		*p, err = d.string(t, raw)
	case *bool:
		*p, err = truth(raw)
	case *netip.AddrPort:
		*p, err = d.end(*p, t, raw)
	case *event.Tri:
		var yes bool
		if yes, err = truth(raw); yes {
			*p = event.Yes
		} else {
			*p = event.No
		}
	default:
		return d.setOther(p, raw)
	}
	return err
}

// setOther parses enumerations and nested values.
func (d *Decoder) setOther(p any, raw []byte) (err error) {
	switch p := p.(type) {
	case *event.Kind:
		*p, err = d.kind(raw)
	case *event.State:
		*p, err = enum[event.State](d, raw)
	case *event.Reason:
		*p, err = enum[event.Reason](d, raw)
	case *event.Role:
		*p, err = enum[event.Role](d, raw)
	case *event.Side:
		*p, err = enum[event.Side](d, raw)
	case *event.OwnerFrom:
		*p, err = enum[event.OwnerFrom](d, raw)
	case *event.Call:
		*p, err = enum[event.Call](d, raw)
	case *event.Cause:
		*p, err = enum[event.Cause](d, raw)
	case *event.Stage:
		*p, err = enum[event.Stage](d, raw)
	case *event.Severity:
		*p, err = enum[event.Severity](d, raw)
	case *[]string:
		return setList(p, raw)
	case *map[string]string:
		return setStrings(p, raw)
	case *map[string]uint64:
		return setCounts(p, raw)
	default:
		return json.Unmarshal(raw, p)
	}
	return err
}

func (d *Decoder) uint64(t Type, raw []byte) (uint64, error) {
	if t != TypeHex {
		return number(raw, 64)
	}
	s, err := plainString(raw)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(string(s), 16, 64)
	if err != nil {
		return 0, fmt.Errorf("%.24q is not a number in hex", s)
	}
	return n, nil
}

// maxNames is the maximum number of names that are shared.
const maxNames = 4096

func (d *Decoder) string(t Type, raw []byte) (string, error) {
	b, err := plainString(raw)
	if err != nil {
		return "", err
	}
	if s, ok := d.names[string(b)]; ok && t != TypeWord {
		return s, nil
	}
	s := string(b)
	if t == TypeWord {
		return s, nil
	}
	escaped := s
	if s, err = Unescape(s); err != nil {
		return "", err
	}
	if d.names == nil || len(d.names) >= maxNames {
		d.names = make(map[string]string)
	}
	d.names[escaped] = s
	return s, nil
}

// end sets the address or the port of one end of a connection.
func (d *Decoder) end(p netip.AddrPort, t Type, raw []byte) (netip.AddrPort, error) {
	if t == TypeUint {
		n, err := number(raw, 16)
		return netip.AddrPortFrom(p.Addr(), uint16(n)), err
	}
	s, err := plainString(raw)
	if err != nil {
		return p, err
	}
	a, err := netip.ParseAddr(string(s))
	if err != nil {
		return p, fmt.Errorf("%.48q is not an address", s)
	}
	return netip.AddrPortFrom(a, p.Port()), nil
}

// kind parses the kind of an event: that of a record, or one of trace files alone.
func (d *Decoder) kind(raw []byte) (event.Kind, error) {
	for k := event.End + 1; k <= event.Held; k++ {
		if s := k.String(); len(raw) == len(s)+2 && string(raw[1:len(raw)-1]) == s {
			return k, nil
		}
	}
	return enum[event.Kind](d, raw)
}

// enum parses a word of an enumeration, or the number that stands for one that
// the writer had no word for.
func enum[T event.Enum](d *Decoder, raw []byte) (T, error) {
	s, err := plainString(raw)
	if err != nil {
		return 0, err
	}
	if v, ok := event.Parse[T](string(s)); ok {
		return v, nil
	}
	if n, err := strconv.ParseUint(string(s), 10, 8); err == nil {
		return T(n), nil
	}
	d.Unknown++
	return 0, nil
}

// errno parses the name of an errno, or its number where it has none.
func (d *Decoder) errno(raw []byte) (uint16, error) {
	s, err := plainString(raw)
	if err != nil {
		return 0, err
	}
	if n, ok := errnos[string(s)]; ok {
		return n, nil
	}
	if n, err := strconv.ParseUint(string(s), 10, 16); err == nil {
		return uint16(n), nil
	}
	d.Unknown++
	return 0, nil
}

// errnos are the numbers of this architecture, as events have them.
var errnos = func() map[string]uint16 {
	m := make(map[string]uint16)
	for n := uint16(1); n < maxErrno; n++ {
		if s := unix.ErrnoName(syscall.Errno(n)); s != "" {
			m[s] = n
		}
	}
	return m
}()

// maxErrno is MAX_ERRNO of the kernel.
const maxErrno = 4096

func truth(raw []byte) (bool, error) {
	switch string(raw) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("%.20q is neither true nor false", raw)
}

// Times that fit into nanoseconds since the epoch.
var minTime, maxTime = time.Unix(0, math.MinInt64), time.Unix(0, math.MaxInt64)

func parseTime(raw []byte) (int64, error) {
	s, err := plainString(raw)
	if err != nil {
		return 0, err
	}
	t, err := time.Parse(time.RFC3339Nano, string(s))
	if err != nil {
		return 0, fmt.Errorf("%.40q is not a time of RFC 3339", s)
	}
	if t.Before(minTime) || t.After(maxTime) {
		return 0, fmt.Errorf("%s is out of range", s)
	}
	return t.UnixNano(), nil
}

func setList(p *[]string, raw []byte) error {
	var list []string
	if err := json.Unmarshal(raw, &list); err != nil {
		return err
	}
	for i, s := range list {
		var err error
		if list[i], err = Unescape(s); err != nil {
			return err
		}
	}
	*p = list
	return nil
}

func setStrings(p *map[string]string, raw []byte) error {
	var escaped map[string]string
	if err := json.Unmarshal(raw, &escaped); err != nil {
		return err
	}
	*p = make(map[string]string, len(escaped))
	for k, v := range escaped {
		key, err := Unescape(k)
		value, err2 := Unescape(v)
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		(*p)[key] = value
	}
	return nil
}

func setCounts(p *map[string]uint64, raw []byte) error {
	var escaped map[string]uint64
	if err := json.Unmarshal(raw, &escaped); err != nil {
		return err
	}
	*p = make(map[string]uint64, len(escaped))
	for k, n := range escaped {
		key, err := Unescape(k)
		if err != nil {
			return err
		}
		(*p)[key] = n
	}
	return nil
}
