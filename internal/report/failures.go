package report

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
)

type failKey struct {
	call   event.Call
	errno  uint16
	cause  event.Cause
	pid    uint32
	comm   string
	remote netip.AddrPort
}

type fails struct {
	n           uint64
	first, last int64
}

// failures count failed calls that are alike.
type failures struct {
	by    map[failKey]*fails
	other uint64 // calls of kinds that there was no room for
}

func (f *failures) add(e *event.Event) {
	k := failKey{e.Call, e.Errno, e.Cause, e.Process.PID, e.Process.Comm, e.Remote}
	v := f.by[k]
	if v == nil {
		if len(f.by) >= maxHeld {
			f.other++
			return
		}
		if f.by == nil {
			f.by = make(map[failKey]*fails)
		}
		v = &fails{first: e.Time, last: e.Time}
		f.by[k] = v
	}
	v.n++
	v.first, v.last = min(v.first, e.Time), max(v.last, e.Time)
}

// report lists the most frequent kinds, and counts the calls of all others.
func (f *failures) report() (list []Failure, omitted uint64) {
	all := []Failure{}
	for k, v := range f.by {
		all = append(all, Failure{Call: k.call.String(), Errno: errnoName(k.errno), Cause: k.cause.String(), PID: k.pid, Comm: safe(k.comm),
			Raddr: addrText(k.remote.Addr()), Rport: k.remote.Port(), N: v.n, First: stamp(v.first), Last: stamp(v.last)})
	}
	slices.SortFunc(all, func(a, b Failure) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.First, b.First), cmp.Compare(a.Call, b.Call), cmp.Compare(a.Errno, b.Errno), cmp.Compare(a.Cause, b.Cause),
			cmp.Compare(a.Comm, b.Comm), cmp.Compare(a.PID, b.PID), cmp.Compare(a.Raddr, b.Raddr), cmp.Compare(a.Rport, b.Rport))
	})
	list, _ = first(all, maxFailures)
	omitted = f.other
	for _, x := range all[len(list):] {
		omitted += x.N
	}
	return list, omitted
}

// causeWords say in words why a call failed, by cause.
var causeWords = map[string]string{
	event.NoPort.String(): "no port free", event.NoAddress.String(): "no source address",
	event.NotLocal.String(): "address not local", event.TupleTaken.String(): "same four numbers taken",
}

// failedWith is the errno of f, and the cause where it is known.
func failedWith(f *Failure) string {
	if why := causeWords[f.Cause]; why != "" {
		return f.Errno + ": " + why
	}
	return f.Errno
}

// errnoName is EADDRNOTAVAIL, or a number that has no name.
func errnoName(n uint16) string {
	return cmp.Or(unix.ErrnoName(unix.Errno(n)), strconv.Itoa(int(n)))
}
