package metrics

import (
	"cmp"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
)

// notKnown is the value of labels that nothing is known for.
const notKnown = "unknown"

func roleName(r event.Role) string         { return cmp.Or(r.String(), notKnown) }
func sideName(s event.Side) string         { return cmp.Or(s.String(), notKnown) }
func reasonName(r event.Reason) string     { return cmp.Or(r.String(), notKnown) }
func stageName(s event.Stage) string       { return cmp.Or(s.String(), notKnown) }
func severityName(s event.Severity) string { return cmp.Or(s.String(), notKnown) }

// errnos are those that have a label of their own: what connect(), bind(), accept() and
// socket() fail with where something runs out, or nobody answers.
var errnos = []unix.Errno{unix.EADDRNOTAVAIL, unix.EADDRINUSE, unix.ECONNREFUSED, unix.ETIMEDOUT, unix.EHOSTUNREACH, unix.ENETUNREACH,
	unix.ECONNRESET, unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EACCES, unix.EPERM}

// otherErrno stands for all others.
const otherErrno = ^uint16(0)

// knownErrno is n, or otherErrno if it has no label of its own. 0, no errno, stays.
func knownErrno(n uint16) uint16 {
	if n == 0 || slices.Contains(errnos, unix.Errno(n)) {
		return n
	}
	return otherErrno
}

// labels are the values of call, errno and cause.
func (f *failure) values() []string {
	if f.rest {
		return []string{"other", "other", ""}
	}
	name := "none"
	switch {
	case f.errno == otherErrno:
		name = "other"
	case f.errno != 0:
		name = unix.ErrnoName(unix.Errno(f.errno))
	}
	return []string{cmp.Or(f.call.String(), notKnown), name, f.cause.String()}
}
