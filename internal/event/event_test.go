package event

import (
	"net/netip"
	"testing"
)

// TestNames: each name of an enumeration is parsed as the value that it is of, and no
// two values have the same one.
func TestNames(t *testing.T) {
	testNames[Kind](t)
	testNames[State](t)
	testNames[Reason](t)
	testNames[Role](t)
	testNames[Side](t)
	testNames[OwnerFrom](t)
	testNames[Call](t)
	testNames[Stage](t)
	testNames[Severity](t)
}

func testNames[T interface {
	Enum
	String() string
}](t *testing.T) {
	t.Helper()
	names := Names[T]()
	if len(names) == 0 {
		t.Errorf("%T has no names", T(0))
	}
	for i, n := range names {
		v, ok := Parse[T](n)
		if !ok || v.String() != n || v != T(i+1) {
			t.Errorf("%T: %q is %v, %t; want value %d", v, n, v, ok, i+1)
		}
	}
	if v, ok := Parse[T](""); ok {
		t.Errorf("%T: no name is %v", v, v)
	}
	if s := T(200).String(); s != "200" {
		t.Errorf("%T: a value of a newer version prints as %q", T(0), s)
	}
}

// TestStageIndex: every stage has a place of its own in an array, and those that a
// newer version has share the first.
func TestStageIndex(t *testing.T) {
	for i, n := range Names[Stage]() {
		if s, _ := Parse[Stage](n); s.Index() != i+1 || s.Index() >= Stages {
			t.Errorf("%s: index %d of %d, want %d", n, s.Index(), Stages, i+1)
		}
	}
	if i := Stage(200).Index(); i != 0 {
		t.Errorf("a stage of a newer version has index %d", i)
	}
}

// TestKnownOwner has the sources of an owner in their order.
func TestKnownOwner(t *testing.T) {
	proc := func(pid uint32) Proc { return Proc{PID: pid} }
	all := Event{Opener: proc(1), Accepter: proc(2), CloseProc: proc(3), Process: proc(4)}
	for _, tt := range []struct {
		name   string
		change func(*Event)
		pid    uint32
		from   OwnerFrom
	}{
		{"a client has its opener", func(e *Event) { e.Role = Client }, 1, ByConnect},
		{"a server its accepter", func(e *Event) { e.Role = Server }, 2, ByAccept},
		{"of no role, the opener", func(*Event) {}, 1, ByConnect},
		{"a client no accepter, but what /proc says", func(e *Event) { e.Role, e.Opener, e.Owner = Client, Proc{}, ByProc }, 4, ByProc},
		{"a server no opener, but its closer", func(e *Event) { e.Role, e.Accepter = Server, Proc{} }, 3, ByClose},
		{"nobody else", func(e *Event) { *e = Event{Process: proc(4), Owner: ByListen} }, 4, ByListen},
	} {
		e := all
		tt.change(&e)
		if p, from := e.KnownOwner(); p.PID != tt.pid || from != tt.from {
			t.Errorf("%s: %d by %v, want %d by %v", tt.name, p.PID, from, tt.pid, tt.from)
		}
	}
}

// TestSameProcess: a pid that is used again is another process, as is the same after
// an exec.
func TestSameProcess(t *testing.T) {
	p := Proc{PID: 7, Comm: "a", Who: &Who{Start: 10, CgroupID: 3}}
	for name, tt := range map[string]struct {
		o    Proc
		same bool
	}{
		"itself":                  {p, true},
		"its start not known":     {Proc{PID: 7, Comm: "a"}, true},
		"after an exec":           {Proc{PID: 7, Comm: "b"}, false},
		"started at another time": {Proc{PID: 7, Comm: "a", Who: &Who{Start: 11}}, false},
		"another":                 {Proc{PID: 8, Comm: "a"}, false},
	} {
		if got := p.Is(tt.o); got != tt.same {
			t.Errorf("%s: %t, want %t", name, got, tt.same)
		}
	}
	if p.Cgroup() != 3 || (Proc{}).Cgroup() != 0 || (Proc{}).Known() {
		t.Error("the cgroup of a process, or of none, is not as it was set")
	}
}

// TestCommon: what two processes share stays, and the rest goes.
func TestCommon(t *testing.T) {
	a := &Who{Start: 1, HasUID: true, UID: 0, PPID: 5, PComm: "sh", Exe: "/bin/a", Unit: "a.service"}
	b := &Who{Start: 2, HasUID: true, UID: 0, PPID: 5, PComm: "sh", Exe: "/bin/b", Unit: "a.service"}
	if got, want := *a.Common(b), (Who{HasUID: true, PPID: 5, PComm: "sh", Unit: "a.service"}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	b.UID = 1
	if got := a.Common(b); got.HasUID || got.UID != 0 {
		t.Errorf("two users have one: %+v", got)
	}
}

// TestTuple: a connection of IPv4-mapped addresses is the same as of IPv4 ones.
func TestTuple(t *testing.T) {
	a := Event{NetNS: 1, Local: netip.MustParseAddrPort("10.0.0.1:80"), Remote: netip.MustParseAddrPort("10.0.0.2:9")}
	b := Event{NetNS: 1, Local: netip.MustParseAddrPort("[::ffff:10.0.0.1]:80"), Remote: netip.MustParseAddrPort("[::ffff:10.0.0.2]:9")}
	if a.Tuple() != b.Tuple() {
		t.Errorf("%v and %v", a.Tuple(), b.Tuple())
	}
	if b.NetNS = 2; a.Tuple() == b.Tuple() {
		t.Error("one tuple in two namespaces")
	}
}
