package parquet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/event/eventtest"
	"github.com/twtrace/twtrace/internal/output"
)

// records are of all kinds that have fields of their own; together they have a value
// of every type.
func records() []event.Event {
	storm := event.NewStorm()
	storm.Rate, storm.Usable, storm.ExhaustsIn = 812.5, 2000, 0.25
	list := []event.Event{
		{Time: 1763849647912345678, Kind: event.Start, Start: &event.StartInfo{Version: "1.2.3", Schema: output.Schema, Host: "a\x1b\"b",
			Hooks: []string{"x", "y"}, Limits: map[string]string{"net.ipv4.tcp_tw_reuse": "2"}}},
		{Time: 1763849647912345679, Kind: event.TimeWaitEnter, Cookie: 0xfeed, NetNS: 4026531840, Reason: event.ActiveClose,
			Local: netip.MustParseAddrPort("10.0.0.7:40001"), Remote: netip.MustParseAddrPort("[2001:db8::1]:443"),
			Process: event.Proc{PID: 7, Comm: "=\\x\n"}, Life: 12345, Stamps: event.No},
		{Time: 1, Kind: event.Parked, Cookie: 1},
		{Time: 1763849647912345680, Kind: event.StormStart, Reason: event.Ports, Storm: storm},
		{Time: 1763849647912345681, Kind: event.Lost, Stage: event.StageRing, Count: 3},
		{Time: 1763849647912345682, Kind: event.End, End: &event.EndInfo{Why: "signal", Begins: 7, Ends: map[string]uint64{"expired": 3},
			Lost: map[string]uint64{}, Drift: []event.Drift{{NetNS: 1, Births: -2}}}},
	}
	for _, l := range eventtest.Leaves() { // and all that an event can say
		e := l.Event()
		l.Set(&e)
		list = append(list, e)
	}
	return list
}

// TestColumnsAreAsInJSON writes records, and compares every cell with what JSON has.
func TestColumnsAreAsInJSON(t *testing.T) {
	var file bytes.Buffer
	w := New(&file)
	var want []map[string]json.RawMessage
	known := make(map[string]bool)
	for range 100 { // more than a batch
		for _, e := range records() {
			if err := w.Write(&e); err != nil {
				t.Fatal(err)
			}
			if !e.Kind.Record() {
				continue
			}
			var members map[string]json.RawMessage
			if err := json.Unmarshal(output.AppendJSON(nil, &e), &members); err != nil {
				t.Fatal(err)
			}
			want = append(want, members)
			for _, f := range output.Fields() {
				known[f.Name] = known[f.Name] || f.Value(&e).Known()
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, f := range output.Fields() {
		if !known[f.Name] {
			t.Errorf("no record has a value of %s", f.Name)
		}
	}
	r := parquet.NewReader(bytes.NewReader(file.Bytes()))
	defer r.Close()
	columns := r.Schema().Columns()
	fields := output.Fields()
	if len(columns) != len(fields) {
		t.Fatalf("%d columns, want %d", len(columns), len(fields))
	}
	rows := make([]parquet.Row, len(want)+1)
	n, _ := r.ReadRows(rows)
	if n != len(want) {
		t.Fatalf("%d rows, want %d", n, len(want))
	}
	for i, row := range rows[:n] {
		for j, f := range fields {
			if columns[j][0] != f.Name {
				t.Fatalf("column %d is %s, want %s", j, columns[j][0], f.Name)
			}
			want := string(want[i][f.Name])
			if n, err := strconv.ParseFloat(want, 64); f.Type == output.TypeFloat && err == nil {
				want = fmt.Sprint(n) // JSON has a fixed number of decimals
			}
			if got := asJSON(f.Type, row[j]); got != want {
				t.Errorf("row %d: %s is %s, want %s", i, f.Name, got, want)
			}
		}
	}
}

// asJSON words a cell as JSON has it; "" is null.
func asJSON(t output.Type, v parquet.Value) string {
	switch {
	case v.IsNull():
		return ""
	case t == output.TypeTime:
		return string(output.Time(v.Int64()).AppendJSON(nil))
	case t == output.TypeUint:
		return fmt.Sprint(v.Uint64())
	case t == output.TypeInt, t == output.TypeDuration:
		return fmt.Sprint(v.Int64())
	case t == output.TypeFloat:
		return fmt.Sprint(v.Double())
	case t == output.TypeBool:
		return fmt.Sprint(v.Boolean())
	case t == output.TypeList, t == output.TypeStrings, t == output.TypeCounts, t == output.TypeDrift:
		return string(v.ByteArray())
	}
	quoted, err := json.Marshal(string(v.ByteArray()))
	if err != nil {
		return err.Error()
	}
	return string(quoted)
}

func BenchmarkWrite(b *testing.B) {
	w := New(io.Discard)
	e := records()[1]
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		e.Cookie, e.Time, e.Life = uint64(i+1), e.Time+1000, int64(i%10007)
		if err := w.Write(&e); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
}
