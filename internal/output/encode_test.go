package output

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

// randomEvent is a record of any kind, in which each field is known or not, and many
// are those of records before it.
func randomEvent(r *rand.Rand) event.Event {
	pick := func(n uint64) uint64 { // 0, a small one, or any
		switch r.IntN(3) {
		case 0:
			return 0
		case 1:
			return r.Uint64N(min(n, 4))
		}
		return r.Uint64N(n)
	}
	comms := []string{"", "web", "a b", "\x1b[31m", `q"\`, "ümläut"}
	whos := []*event.Who{nil, {}, {Start: 7, HasUID: true, PPID: 1, PComm: "init", Exe: "/bin/x\n", Cgroup: "/a"},
		{UID: 5, HasUID: true, Unit: "x.service", Container: "c", ContainerName: "n", Runtime: "docker", Pod: "p", PodName: "s/p", Cmdline: "a b"}}
	proc := func() event.Proc {
		return event.Proc{PID: uint32(pick(5)), Comm: comms[r.IntN(len(comms))], Who: whos[r.IntN(len(whos))]}
	}
	ends := []netip.AddrPort{{}, netip.MustParseAddrPort("10.0.0.7:80"), netip.MustParseAddrPort("[::ffff:1.2.3.4]:5"),
		netip.MustParseAddrPort("[fe80::1%eth0]:443"), netip.MustParseAddrPort("[2001:db8::7]:0")}
	return event.Event{
		Time: int64(pick(1<<63)) >> r.IntN(40), Cookie: pick(1<<63) * 2, NetNS: uint32(pick(1 << 32)), NetNSName: []string{"", "web", "a\"b\n"}[r.IntN(3)],
		Kind: event.Kind(pick(256)), Reason: event.Reason(pick(256)), Old: event.State(pick(256)), New: event.State(pick(256)),
		Role: event.Role(pick(256)), Closer: event.Side(pick(256)), Owner: event.OwnerFrom(pick(256)),
		Stamps: event.Tri(pick(3)), Bound: pick(2) == 1, Idle: int64(pick(1 << 40)), DataLost: pick(2) == 1, Local: ends[r.IntN(len(ends))], Remote: ends[r.IntN(len(ends))],
		Process: proc(), Opener: proc(), Accepter: proc(), CloseProc: proc(),
		Life: int64(pick(1<<63)) - int64(pick(3)), InState: int64(pick(1 << 63)), Remaining: int64(pick(1 << 63)), Rearms: uint32(pick(1 << 32)),
		Call: event.Call(pick(256)), Errno: uint16(pick(200)), Cause: event.Cause(pick(256)), Count: pick(1 << 63), Stage: event.Stage(pick(256)),
	}
}

// The Encoder prints what the table of fields does, whatever it has printed before.
func TestEncoder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var c Encoder
	var got, want []byte
	for i := range 200_000 {
		if i%1000 == 0 {
			c = Encoder{}
		}
		e := randomEvent(r)
		switch {
		case e.Kind >= event.StormStart && e.Kind <= event.StormEnd:
			e.Storm = event.NewStorm()
		case i%2 == 0: // most are of few kinds and processes
			e.Time = 1795385287e9 + int64(i)*1e6
			e.Opener, e.Accepter, e.CloseProc = e.Process, event.Proc{}, e.Process
		}
		got, want = c.AppendJSON(got[:0], &e), AppendJSON(want[:0], &e)
		if !bytes.Equal(got, want) {
			t.Fatalf("record %d is\n%s\nand the table prints\n%s", i, got, want)
		}
	}
}

// Each field of a connection is known in one of the records that are compared, and
// printed: none was forgotten in the Encoder that the table has.
func TestEncoderHasAllFields(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	seen := make(map[string]bool)
	for range 1000 {
		e := randomEvent(r)
		for _, f := range all[:len(connFields)] {
			if f.Value(&e).Known() {
				seen[f.Name] = true
			}
		}
	}
	for _, f := range connFields {
		if !seen[f.Name] {
			t.Errorf("%s is in no record that is compared", f.Name)
		}
	}
}

func TestEncoderAllocates(t *testing.T) {
	e, c, dst := full(), Encoder{}, make([]byte, 0, 4096)
	c.AppendJSON(dst, &e)
	if n := testing.AllocsPerRun(100, func() {
		e.Time += 1e6
		e.Cookie++
		c.AppendJSON(dst, &e)
	}); n > 0 {
		t.Errorf("%v allocations a record", n)
	}
}

func BenchmarkEncoder(b *testing.B) {
	e, c, dst := full(), Encoder{}, make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		e.Time += 28e3
		e.Cookie++
		dst = c.AppendJSON(dst[:0], &e)
	}
}
