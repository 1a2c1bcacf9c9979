package output

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

// compareDecoders decodes a line as Decode does, and in the general form alone.
func compareDecoders(t *testing.T, d *Decoder, line []byte) {
	t.Helper()
	var general Decoder
	var got, want event.Event
	before := d.Unknown
	gotErr, wantErr := d.Decode(line, &got), general.decode(line, &want)
	if fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
		t.Fatalf("%s: error %v, the general decoder has %v", line, gotErr, wantErr)
	}
	if wantErr != nil {
		return
	}
	if !reflect.DeepEqual(got, want) || d.Unknown-before != general.Unknown {
		t.Fatalf("%s:\ngot  %+v, %d words unknown\nwant %+v, %d words unknown", line, got, d.Unknown-before, want, general.Unknown)
	}
}

// usualEvent is one of those that are most of a trace: its words are known.
func usualEvent(r *rand.Rand) event.Event {
	addr := []netip.Addr{{}, netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("fe80::1"), netip.MustParseAddr("::ffff:1.2.3.4"), netip.MustParseAddr("255.0.10.100")}
	proc := func() event.Proc {
		if r.IntN(3) == 0 {
			return event.Proc{}
		}
		return event.Proc{PID: r.Uint32N(3), Comm: []string{"", "checkout", "a\"b\\,\"oldstate\":\"", "na\u202eme \xff"}[r.IntN(4)]}
	}
	number := func() uint64 { return r.Uint64() >> r.IntN(64) * uint64(r.IntN(2)) }
	e := event.Event{Time: at + int64(number()>>30), Kind: event.Kind(r.IntN(int(event.Held) + 1)), Cookie: number(), NetNS: uint32(number()),
		Local: netip.AddrPortFrom(addr[r.IntN(len(addr))], uint16(number())), Remote: netip.AddrPortFrom(addr[r.IntN(len(addr))], uint16(number())),
		Role: event.Role(r.IntN(3)), Closer: event.Side(r.IntN(4)), Owner: event.OwnerFrom(r.IntN(8)), Process: proc(), Opener: proc(), CloseProc: proc(),
		Old: event.State(r.IntN(14)), New: event.State(r.IntN(14)), Reason: event.Reason(r.IntN(int(event.Churn) + 2)),
		Life: int64(number()), Idle: int64(number()), DataLost: r.IntN(2) == 0, Stamps: event.Tri(r.IntN(3)), Bound: r.IntN(2) == 0,
		InState: int64(number()), Remaining: int64(number()), Rearms: uint32(number())}
	if r.IntN(4) == 0 {
		e.Process.Who = &event.Who{Start: 77, HasUID: true, PComm: "sh", Unit: "shop.service"}
	}
	if e.Kind == event.Fail {
		e.Call, e.Errno = event.Connect, event.EADDRNOTAVAIL
	}
	return e
}

// TestDecodeOwn: what Encoder prints decodes as the general decoder has it, and does not
// need that.
func TestDecodeOwn(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var enc Encoder
	var d Decoder
	for range 20000 {
		usual, other := usualEvent(r), randomEvent(r)
		compareDecoders(t, &d, enc.AppendJSON(nil, &usual))
		compareDecoders(t, &d, enc.AppendJSON(nil, &other))
	}
	e := event.Event{Time: at, Kind: event.Open, Cookie: 7, NetNS: 1, Role: event.Client, Owner: event.ByConnect,
		Local: netip.MustParseAddrPort("10.0.0.7:1"), Remote: netip.MustParseAddrPort("[fd00::1]:2"), Process: event.Proc{PID: 1, Comm: "a"},
		Opener: event.Proc{PID: 1, Comm: "a"}, Old: event.SynSent, New: event.Established}
	var got event.Event
	if line := enc.AppendJSON(nil, &e); !d.decodeOwn(line, &got) || got != e {
		t.Errorf("%s: got %+v, want %+v", line, got, e)
	}
}

// TestDecodeAlmostOwn: lines that differ a little from those of Encoder.
func TestDecodeAlmostOwn(t *testing.T) {
	const line = `{"time":"2026-11-22T22:14:07.912345678Z","event":"time_wait_enter","cookie":"1f","netns":7,"ip":4,"laddr":"10.0.0.7","lport":48213,` +
		`"raddr":"10.2.0.9","rport":5432,"role":"client","pid":4242,"comm":"checkout","owner":"connect","oldstate":"FIN_WAIT2",` +
		`"newstate":"TIME_WAIT","reason":"late_fin","life_ns":3100000,"timestamps":true,"rearms":1}`
	var d Decoder
	compareDecoders(t, &d, []byte(line))
	for _, change := range [][2]string{
		{"1f", "1F"}, {"1f", ""}, {"1f", "11111111111111111"}, {"1f", "x"}, {"10.0.0.7", "10.0.0.07"}, {"10.0.0.7", "10.0.0"}, {"10.0.0.7", "1000.0.0.7"},
		{"10.0.0.7", "10.0.0.256"}, {"10.0.0.7", `10.0.0.7\u0031`}, {"10.0.0.7", "fe80::1%eth0"}, {"10.0.0.7", ""}, {"48213", "048213"}, {"48213", "65536"}, {"48213", "-1"}, {"48213", "1.5"},
		{"48213", `"1"`}, {`"netns":7`, `"netns":4294967296`}, {`"netns":7`, `"netns": 7`}, {`"ip":4`, `"ip":"x"`}, {`"ip":4`, `"ip":99`}, {`"client"`, `"cloud"`}, {`"connect"`, `"3"`},
		{"FIN_WAIT2", "NEXT"}, {"late_fin", "quic"}, {"3100000", "-3100000"}, {"3100000", "99999999999999999999"}, {"3100000", "9223372036854775808"}, {"true", "tru"},
		{`"comm":"checkout"`, `"comm":"a","laddr":"1.2.3.4"`}, {`"comm":"checkout"`, `"comm":"a","netns":9`}, {`"comm":"checkout"`, `"comm":"a","new":{"x":[1]}`}, {`"comm":"checkout"`, `"comm":","oldstate":"x"`},
		{`"comm":"checkout"`, `"comm":"\q"`}, {`"comm":"checkout"`, `"comm":7`}, {`"rearms":1}`, `"rearms":1,"rearms":2}`}, {`"rearms":1}`, `"rearms":1`}, {`"rearms":1}`, `"rearms":1}}`}, {`"rearms":1}`, `"later":1}`},
		{"07.912345678Z", "07.9Z"}, {"07.912345678Z", "07.912345678+01:00"}, {"07.912345678Z", "61.912345678Z"}, {"07.912345678Z", "07.91234x678Z"}, {"2026", "2526"}, {"2026", "0001"},
		{"time_wait_enter", "end"}, {"time_wait_enter", "lost"}, {"time_wait_enter", "storm_start"}, {"time_wait_enter", "start"}, {"time_wait_enter", "later"}, {"time_wait_enter", "held"},
		{`"role":"client",`, `"netns":8,"role":"client",`}, {`"timestamps":true`, `"timestamps":false,"timestamps":true`},
	} {
		if !strings.Contains(line, change[0]) {
			t.Fatalf("%q is not in the line", change[0])
		}
		compareDecoders(t, &d, []byte(strings.Replace(line, change[0], change[1], 1)))
	}
}

// FuzzDecodeOwn compares the two decoders.
func FuzzDecodeOwn(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	var enc Encoder
	for range 50 {
		e := usualEvent(r)
		f.Add(enc.AppendJSON(nil, &e))
	}
	f.Add([]byte(`{"time":"2000-01-01T00:00:00.000000000Z","event":"parked"0,"newstate":"CLOSE"}`))
	f.Add([]byte(`{"time":"2000-01-01T00:00:00.000000000Z","event":"state",,"newstate":"FIN_WAIT1"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		var d Decoder
		compareDecoders(t, &d, line)
		compareDecoders(t, &d, line) // from its caches
	})
}

// BenchmarkDecodeGeneral is what BenchmarkDecode would take with the general decoder alone.
func BenchmarkDecodeGeneral(b *testing.B) { benchmarkDecode(b, (*Decoder).decode) }
