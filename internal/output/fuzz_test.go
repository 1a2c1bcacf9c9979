package output

import (
	"encoding/csv"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

// FuzzRecords checks that whatever an event says, each format stays in form:
// JSON is one object a line, CSV has a cell for each header, and text has a
// column for each heading or is a remark.
func FuzzRecords(f *testing.F) {
	f.Add(uint8(event.Open), uint8(1), int64(at), uint64(31), []byte{10, 0, 0, 7}, "nginx", "signal")
	f.Add(uint8(event.End), uint8(200), int64(-1), uint64(1<<63), []byte("0123456789abcdef"), "\xff\n\"", "a;b=c,\"\n# lost 0")
	f.Add(uint8(event.Start), uint8(0), int64(0), uint64(0), []byte{}, "", "")
	f.Fuzz(func(t *testing.T, kind, small uint8, ns int64, n uint64, addr []byte, comm, text string) {
		e := event.Event{
			Time: ns, Cookie: n, NetNS: uint32(n), Kind: event.Kind(kind), Reason: event.Reason(small), Old: event.State(small),
			Role: event.Role(small), Closer: event.Side(small), Owner: event.OwnerFrom(small), Stamps: event.Tri(small % 3),
			Process: event.Proc{PID: uint32(n), Comm: comm}, CloseProc: event.Proc{Comm: text},
			Life: ns, InState: -ns, Errno: uint16(n), Call: event.Call(small), Count: n, Stage: event.Stage(small),
		}
		if a, ok := netip.AddrFromSlice(addr); ok {
			e.Local, e.Remote = netip.AddrPortFrom(a, uint16(n)), netip.AddrPortFrom(a.WithZone(comm), uint16(ns))
		}
		switch e.Kind {
		case event.Start:
			e.Start = &event.StartInfo{Host: comm, Hooks: []string{text, comm}, Limits: map[string]string{comm: text}}
		case event.End:
			e.End = &event.EndInfo{Why: text, Ends: map[string]uint64{comm: n}, Drift: []event.Drift{{Births: ns}}}
		}
		events := []event.Event{e}
		if out := render(t, Options{Format: JSON}, events); out != "" {
			if !json.Valid([]byte(out)) || strings.Count(out, "\n") != 1 {
				t.Errorf("JSON: %q", out)
			}
		}
		out := render(t, Options{Format: CSV}, events)
		rows, err := csv.NewReader(strings.NewReader(out)).ReadAll() // checks the number of cells
		if want := 1 + strings.Count(render(t, Options{Format: JSON}, events), "\n"); err != nil || len(rows) != want {
			t.Errorf("CSV: %v, %d rows, want %d: %q", err, len(rows), want, out)
		}
		for _, format := range []Format{Text, Wide} {
			for _, l := range strings.Split(strings.TrimSuffix(render(t, Options{Format: format}, events), "\n"), "\n") {
				if l != "" && l[0] != '#' && len(strings.Fields(l)) != len(Default(format)) {
					t.Errorf("%s: %q", format, l)
				}
			}
		}
	})
}
