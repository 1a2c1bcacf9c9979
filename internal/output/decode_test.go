package output

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

// fill sets what p points to, to a value that is not its zero.
func fill(t *testing.T, p any, n int) {
	t.Helper()
	v := reflect.ValueOf(p).Elem()
	switch p := p.(type) {
	case *netip.AddrPort:
		*p = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), uint16(n+1))
		return
	case *event.Tri:
		*p = event.No
		return
	case *[]string:
		*p = []string{"a;b", "\x00 \"\\"}
		return
	case *map[string]string:
		*p = map[string]string{"k=\n": "v\xff"}
		return
	case *map[string]uint64:
		*p = map[string]uint64{"ring": 3}
		return
	case *[]event.Drift:
		*p = []event.Drift{{NetNS: 1, Births: -2, Reused: 3, Refused: 4, Alive: -5}}
		return
	}
	switch v.Kind() {
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(1 + n%3))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(1 + n))
	case reflect.Float32, reflect.Float64:
		v.SetFloat(0.5)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString("na\u202eme \"\\ \xff" + string(rune('a'+n)))
	default:
		t.Fatalf("no value for a %T", p)
	}
}

// event is one that can have the field.
func (f *Field) event() event.Event {
	e := event.Event{Time: at, Kind: event.Open}
	switch f.On {
	case "start":
		e.Kind, e.Start = event.Start, &event.StartInfo{Schema: Schema}
	case "end":
		e.Kind = event.End
	case "lost":
		e.Kind = event.Lost
	case onStorm:
		e.Kind = event.StormUpdate
	}
	return e
}

// fillField gives the field a value in e.
func fillField(t *testing.T, f *Field, e *event.Event) {
	t.Helper()
	fill(t, f.at(e), slices.Index(all, f))
}

// TestDecodeEveryField: each field of the table says where Decode puts it, and
// comes back as it was.
func TestDecodeEveryField(t *testing.T) {
	derived := map[string]bool{"ip": true, "used_pct": true}
	for _, f := range all {
		if f.at == nil {
			if !derived[f.Name] {
				t.Errorf("%s: the field does not say where it is to be put", f.Name)
			}
			continue
		}
		e := f.event()
		fillField(t, f, &e)
		line := AppendJSON(nil, &e)
		if !strings.Contains(string(line), `"`+f.Name+`":`) {
			t.Errorf("%s: not in %s", f.Name, line)
		}
		var d Decoder
		var got event.Event
		if err := d.Decode(line, &got); err != nil || d.Unknown > 0 {
			t.Errorf("%s: Decode(%s): %v, %d words unknown", f.Name, line, err, d.Unknown)
			continue
		}
		if want := f.Value(&e); !reflect.DeepEqual(f.Value(&got), want) {
			t.Errorf("%s: got %+v, want %+v", f.Name, f.Value(&got), want)
		}
		if again := AppendJSON(nil, &got); string(again) != string(line) {
			t.Errorf("%s: got %s\nwant %s", f.Name, again, line)
		}
	}
}

func TestDecodeForeignForm(t *testing.T) {
	var d Decoder
	var e event.Event
	line := ` { "event" : "open", "new_field": {"a": ["}", 1]}, "comm": "caf\u00e9\\\\x", "reason": "quic_close", "pid": 7 } `
	if err := d.Decode([]byte(line), &e); err != nil {
		t.Fatal(err)
	}
	if e.Kind != event.Open || e.Process != (event.Proc{PID: 7, Comm: "café\\x"}) || e.Reason != event.ReasonNone || d.Unknown != 1 {
		t.Errorf("got %+v, %d words unknown", e, d.Unknown)
	}
}

func TestDecodeKindsOfFiles(t *testing.T) {
	for _, k := range []event.Kind{event.Parked, event.Listen, event.Held} {
		var d Decoder
		var e event.Event
		if err := d.Decode(AppendJSON(nil, &event.Event{Time: at, Kind: k}), &e); err != nil || e.Kind != k {
			t.Errorf("%v: got %v, %v", k, e.Kind, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, line := range []string{
		``, `{`, `[]`, `{"pid":}`, `{"pid":1`, `{"pid":1}}`, `{"pid":"1"}`, `{"pid":-1}`, `{"pid":4294967296}`,
		`{"pid" 1}`, `{"comm":1}`, `{"comm":"\q"}`, `{"comm":"\\q"}`, `{"laddr":"10.0.0"}`, `{"cookie":"xyz"}`,
		`{"time":"yesterday"}`, `{"time":"9999-01-01T00:00:00Z"}`, `{"timestamps":1}`, `{1:2}`, "{\"comm\":\"a\nb\"}",
		`{"event":"end","drift":7}`, `{"event":"end","lost_by_stage":{"ring":-1}}`, `{"event":"end","lost":{"ring":-1}}`, `{"hooks":["\\"]}`,
	} {
		var d Decoder
		var e event.Event
		if err := d.Decode([]byte(line), &e); err == nil {
			t.Errorf("Decode(%s) = %+v, want an error", line, e)
		}
	}
}

// FuzzDecode: nothing makes the decoder fail in another way than by its error, and
// what it accepts prints as a record that decodes to the same.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"time":"2026-11-22T22:14:07.000000001Z","event":"open","cookie":"1f","laddr":"10.0.0.7","lport":1,"comm":"a\\\\x"}`))
	f.Add([]byte(`{"event":"end","ends":{"expired":1},"lost":{},"drift":[{"netns":1,"births":-1}],"why":"signal"}`))
	f.Add([]byte(`{"event":"start","hooks":["a"],"limits":{"a":"b"},"schema":1}`))
	f.Add([]byte(`{"event":"fail","errno":"EADDRNOTAVAIL","call":"connect","raddr":"fe80::1%eth0","rport":65535}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		var d Decoder
		var e, again event.Event
		if d.Decode(line, &e) != nil {
			return
		}
		first := AppendJSON(nil, &e)
		if err := d.Decode(first, &again); err != nil {
			t.Fatalf("%q: printed as %q, which does not decode: %v", line, first, err)
		}
		if second := AppendJSON(nil, &again); string(second) != string(first) {
			t.Fatalf("%q: printed as %q, then as %q", line, first, second)
		}
	})
}

func BenchmarkDecode(b *testing.B) { benchmarkDecode(b, (*Decoder).Decode) }

func benchmarkDecode(b *testing.B, decode func(*Decoder, []byte, *event.Event) error) {
	line := AppendJSON(nil, &event.Event{Time: at, Kind: event.TimeWaitEnter, Cookie: 0x1234567, NetNS: 4026531840, Role: event.Client,
		Closer: event.LocalSide, Owner: event.ByConnect, Local: netip.MustParseAddrPort("10.0.0.7:48213"),
		Remote: netip.MustParseAddrPort("10.2.0.9:5432"), Process: event.Proc{PID: 4242, Comm: "checkout"},
		Opener: event.Proc{PID: 4242, Comm: "checkout"}, CloseProc: event.Proc{PID: 4242, Comm: "checkout"},
		Old: event.FinWait2, New: event.TimeWait, Reason: event.LateFin, Life: 3100000, Stamps: event.Yes})
	var d Decoder
	var e event.Event
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		if err := decode(&d, line, &e); err != nil {
			b.Fatal(err)
		}
	}
}
