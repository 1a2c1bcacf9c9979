package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

var t0 = time.Date(2026, 11, 22, 22, 14, 7, 1, time.UTC)

func startEvent() *event.Event {
	return &event.Event{Time: t0.UnixNano(), Kind: event.Start, Start: &event.StartInfo{
		Version: "1.2.3", Schema: output.Schema, Host: "web-07", Kernel: "6.1.0", BootID: "b00t",
		Hooks: []string{"state"}, Limits: map[string]string{"net.ipv4.tcp_tw_reuse": "2"}}}
}

func endEvent() *event.Event {
	return &event.Event{Time: t0.Add(time.Hour).UnixNano(), Kind: event.End, End: &event.EndInfo{
		Why: "signal", Begins: 7, Ends: map[string]uint64{"expired": 3}, Lost: map[string]uint64{}}}
}

// nth is a record that differs from all others.
func nth(i int) event.Event {
	return event.Event{
		Time: t0.Add(time.Duration(i) * 137 * time.Microsecond).UnixNano(), Kind: event.TimeWaitEnter, Cookie: uint64(i + 1),
		NetNS: 4026531840, Reason: event.ActiveClose, Old: event.FinWait2, New: event.TimeWait, Role: event.Client,
		Closer: event.LocalSide, Owner: event.ByConnect, Stamps: event.Yes,
		Local:   netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 7}), uint16(32768+i*7%28000)),
		Remote:  netip.MustParseAddrPort("10.2.0.9:5432"),
		Process: event.Proc{PID: 4242, Comm: "checkout"}, Opener: event.Proc{PID: 4242, Comm: "checkout"},
		CloseProc: event.Proc{PID: 4242, Comm: "checkout"}, Life: int64(3000000 + i*7919%900001)}
}

// write records n events to a file and returns its path.
func write(t testing.TB, n int, o Options) string {
	t.Helper()
	if o.Path == "" {
		o.Path = filepath.Join(t.TempDir(), "t.ndjson.zst")
	}
	w, err := NewWriter(o, startEvent(), t0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		e := nth(i)
		if err := errors.Join(w.Write(&e), w.Tick(time.Unix(0, e.Time))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(endEvent()); err != nil {
		t.Fatal(err)
	}
	return o.Path
}

// read returns everything that is in the files.
func read(names ...string) (r *Reader, events []event.Event, err error) {
	r, err = Open(names, nil)
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	for {
		var e event.Event
		switch err := r.Read(&e); {
		case errors.Is(err, io.EOF):
			return r, events, nil
		case err != nil:
			return r, events, err
		}
		events = append(events, e)
	}
}

// checkEvents checks that events are from to until, but for those in gaps.
func checkEvents(t testing.TB, events []event.Event, from, until int) {
	t.Helper()
	if len(events) != until-from {
		t.Fatalf("%d events, want %d", len(events), until-from)
	}
	for i := range events {
		want := nth(from + i)
		if got, want := output.AppendJSON(nil, &events[i]), output.AppendJSON(nil, &want); !bytes.Equal(got, want) {
			t.Fatalf("event %d: got %s\nwant %s", from+i, got, want)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 20000} {
		r, events, err := read(write(t, n, Options{}))
		if err != nil || len(r.Damage) > 0 || r.Unknown() > 0 {
			t.Fatalf("%d events: %v, damage %v", n, err, r.Damage)
		}
		checkEvents(t, events, 0, n)
		start, end := r.Start(), r.End()
		for got, want := range map[*event.Event]*event.Event{&start: startEvent(), end: endEvent()} {
			if got, want := output.AppendJSON(nil, got), output.AppendJSON(nil, want); !bytes.Equal(got, want) {
				t.Errorf("got %s\nwant %s", got, want)
			}
		}
	}
}

// TestFactsOfFiles: what only tables need is in the file, and comes back as it was.
func TestFactsOfFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	w, err := NewWriter(Options{Path: path}, startEvent(), t0)
	if err != nil {
		t.Fatal(err)
	}
	facts := []event.Event{{Time: 1, Kind: event.Parked, Cookie: 1}, {Time: 2, Kind: event.Listen, Cookie: 2},
		{Time: 3, Kind: event.Snapshot, New: event.Established}, {Time: 4, Kind: event.Snapshot, New: event.TimeWait}}
	for i := range facts {
		if err := w.Write(&facts[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(endEvent()); err != nil {
		t.Fatal(err)
	}
	_, events, err := read(path)
	if err != nil || len(events) != len(facts) {
		t.Fatalf("%d events: %v", len(events), err)
	}
	for i, e := range events {
		if e != facts[i] {
			t.Errorf("got %+v, want %+v", e, facts[i])
		}
	}
}

// scanBlocks returns where the blocks of a file begin, and its end.
func scanBlocks(t testing.TB, data []byte) (at []int, heads []Header) {
	t.Helper()
	s := newScanner(bytes.NewReader(data))
	for {
		begin := int(s.off)
		h, _, damage, err := s.next()
		if errors.Is(err, io.EOF) {
			return append(at, begin), heads
		}
		if err != nil || damage != nil {
			t.Fatalf("block at %d: %v, %v", begin, err, damage)
		}
		at, heads = append(at, begin), append(heads, h)
	}
}

// TestFlippedByte: whichever byte is wrong, one block is lost, and said to be.
func TestFlippedByte(t *testing.T) {
	const n = 5000
	path := write(t, n, Options{})
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at, heads := scanBlocks(t, good)
	for i := 0; i < len(good); i += 1 + len(good)/120 {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		hit := 0
		for i >= at[hit+1] {
			hit++
		}
		r, events, err := read(path)
		if err != nil {
			t.Fatalf("byte %d: %v", i, err)
		}
		if len(r.Damage) == 0 {
			t.Fatalf("byte %d: nothing is said of it", i)
		}
		lost := uint64(0)
		records := 0
		for _, e := range events {
			if e.Kind == event.Lost {
				lost += e.Count
			} else {
				records++
			}
		}
		want := n - int(heads[hit].Records)
		if hit == 0 || hit == len(heads)-1 {
			want++ // the start or end record
		}
		if records != want {
			t.Fatalf("byte %d in block %d: %d records, want %d: %v", i, hit, records, want, r.Damage)
		}
		if last := hit == len(heads)-1; !last && lost != heads[hit].Records {
			t.Fatalf("byte %d in block %d: %d are said to be lost, want %d", i, hit, lost, heads[hit].Records)
		}
	}
}

// TestTruncated: a file that ends early is whole up to there, and says so.
func TestTruncated(t *testing.T) {
	path := write(t, 5000, Options{})
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at, heads := scanBlocks(t, good)
	short := filepath.Join(t.TempDir(), "short")
	for i := at[1]; i < len(good); i += 1 + len(good)/80 {
		if err := os.WriteFile(short, good[:i], 0o600); err != nil {
			t.Fatal(err)
		}
		r, events, err := read(short)
		if err != nil || len(r.Damage) != 1 {
			t.Fatalf("%d bytes: %v, damage %v", i, err, r.Damage)
		}
		whole := -1 // the start record
		for b, h := range heads {
			if at[b+1] <= i {
				whole += int(h.Records)
			}
		}
		if len(events) > 0 && events[len(events)-1].Kind == event.Lost {
			events = events[:len(events)-1]
		}
		checkEvents(t, events, 0, whole)
	}
}

func TestNotATrace(t *testing.T) {
	good, err := os.ReadFile(write(t, 10, Options{}))
	if err != nil {
		t.Fatal(err)
	}
	newer := bytes.Replace(good, fmt.Appendf(nil, `{"twtrace":%d,`, Format), fmt.Appendf(nil, `{"twtrace":%d,`, Format+1), 1)
	start := startEvent()
	start.Start.Schema = output.Schema + 1
	schema := filepath.Join(t.TempDir(), "schema")
	w, err := NewWriter(Options{Path: schema}, start, t0)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(endEvent()); err != nil {
		t.Fatal(err)
	}
	newSchema, err := os.ReadFile(schema)
	if err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, 3<<20)
	for i := range noise {
		noise[i] = byte(i * i >> 7)
	}
	p, err := newPacker("x")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"empty":       {nil, "it is empty"},
		"noise":       {noise, "it is no trace file of twtrace, or nothing of it is whole"},
		"one byte":    {good[:1], "it is no trace file of twtrace, or nothing of it is whole"},
		"zeros":       {make([]byte, 1<<20), "it is no trace file of twtrace, or nothing of it is whole"},
		"other zstd":  {p.enc.EncodeAll([]byte("{}\n"), nil), "it has no blocks of twtrace; if there are records in it: zstd -dc FILE | twtrace ... -r -"},
		"newer":       {newer, fmt.Sprintf("it was written by a newer twtrace (format %d; this one reads up to %d)", Format+1, Format)},
		"schema":      {newSchema, fmt.Sprintf("it was written by a newer twtrace (schema %d; this one reads up to %d)", output.Schema+1, output.Schema)},
		"other json":  {[]byte("{\"a\":1}\n"), "it is no trace file of twtrace, nor records in JSON"},
		"half a json": {[]byte("{\"a"), "it is no trace file of twtrace, nor records in JSON"},
	} {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, tt.data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := read(path); err == nil || err.Error() != path+": "+tt.want {
			t.Errorf("%s: %v\nwant %s: %s", name, err, path, tt.want)
		}
	}
}

// TestBomb: a frame that unpacks to more than its header says costs no memory.
func TestBomb(t *testing.T) {
	p, err := newPacker("x")
	if err != nil {
		t.Fatal(err)
	}
	bomb := p.enc.EncodeAll(make([]byte, 256<<20), nil)
	data, err := appendBlock(nil, &Header{Trace: "x", Part: 1, Records: 1, Start: encode(startEvent())}, bomb)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "bomb")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	r, events, err := read(path)
	if err != nil || len(r.Damage) == 0 || cap(r.raw) > maxRaw {
		t.Errorf("%v, damage %v, %d events, %d bytes of memory", err, r.Damage, len(events), cap(r.raw))
	}
}

// TestPlain: what -o json printed is read too.
func TestPlain(t *testing.T) {
	data := append(output.AppendJSON(nil, startEvent()), '\n')
	for i := range 3 {
		e := nth(i)
		data = append(output.AppendJSON(data, &e), '\n')
	}
	path := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(path, append(data, "{\"pid\":\"x\"}\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	r, events, err := read(path)
	if err != nil || len(r.Damage) != 2 || len(events) != 4 || r.Start().Start.Host != "web-07" {
		t.Fatalf("%v, damage %v, %d events", err, r.Damage, len(events))
	}
	checkEvents(t, events[:3], 0, 3)
}

// FuzzReader: no file makes the reader fail in another way than by an error, or
// take memory without bound.
func FuzzReader(f *testing.F) {
	good, err := os.ReadFile(write(f, 3, Options{}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add(append(bytes.Clone(good), good...))
	f.Add([]byte("{\"event\":\"start\"}\n{\"event\":\"open\"}\n\n{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Open([]string{"-"}, bytes.NewReader(data))
		if err != nil {
			return
		}
		defer r.Close()
		var e event.Event
		for err == nil {
			err = r.Read(&e)
		}
		if errors.Is(err, io.EOF) && r.End() == nil && len(r.Damage) == 0 {
			t.Error("a recording without its end is said to be whole")
		}
		if len(r.files) > 0 && cap(r.files[0].scan.buf) > 2*(maxHeader+maxFrame+8) || cap(r.raw) > 2*maxRaw {
			t.Errorf("%d bytes for a block", cap(r.raw))
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	w, err := NewWriter(Options{Path: filepath.Join(b.TempDir(), "f")}, startEvent(), t0)
	if err != nil {
		b.Fatal(err)
	}
	events := make([]event.Event, 1<<16)
	for i := range events {
		events[i] = nth(i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := w.Write(&events[i%len(events)]); err != nil {
			b.Fatal(err)
		}
	}
	s := w.Stats()
	b.ReportMetric(float64(s.Bytes)/float64(s.Records), "B/event")
}

func BenchmarkRead(b *testing.B) {
	path := write(b, 100000, Options{})
	for b.Loop() {
		if _, events, err := read(path); err != nil || len(events) != 100000 {
			b.Fatal(err)
		}
	}
}

// readDir reads all files of a directory.
func readDir(t *testing.T, dir string) (*Reader, []event.Event, []string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%d files: %v", len(names), err)
	}
	r, events, err := read(names...)
	if err != nil || len(r.Damage) > 0 {
		t.Fatalf("%v, damage %v", err, r.Damage)
	}
	return r, events, names
}

// TestRotate: all records are in the files, once; with Keep the last ones are.
func TestRotate(t *testing.T) {
	const n = 30000
	for _, o := range []Options{{Size: 200 << 10}, {Every: time.Second}, {Size: 200 << 10, Keep: 2}} {
		dir := t.TempDir()
		o.Path = filepath.Join(dir, "t.ndjson.zst")
		write(t, n, o)
		r, events, names := readDir(t, dir)
		from := n - len(events)
		if o.Keep > 0 && (len(names) != o.Keep || from == 0) || o.Keep == 0 && (len(names) < 3 || from > 0) {
			t.Errorf("%+v: %d files, from record %d", o, len(names), from)
		}
		checkEvents(t, events, from, n)
		if r.Start().Start.Host != "web-07" || r.End() == nil {
			t.Errorf("%+v: start %+v, end %v", o, r.Start(), r.End())
		}
	}
}

// TestMissingPart: a file that is not there is said to be missing.
func TestMissingPart(t *testing.T) {
	dir := t.TempDir()
	write(t, 30000, Options{Path: filepath.Join(dir, "t.zst"), Size: 200 << 10})
	_, _, names := readDir(t, dir)
	r, events, err := read(append(names[2:], names[0])...)
	if err != nil || len(r.Damage) != 1 || r.Damage[0].Lost == 0 {
		t.Fatalf("%v, damage %v", err, r.Damage)
	}
	if got := len(events) - 1 + int(r.Damage[0].Lost); got != 30000 {
		t.Errorf("%d records are read or lost, want 30000", got)
	}
}

// TestRing: what a ring held, and what came for some time after, is in a file.
func TestRing(t *testing.T) {
	dir := t.TempDir()
	w, err := NewWriter(Options{Path: filepath.Join(dir, "t.zst"), Ring: time.Second, After: time.Second}, startEvent(), t0)
	if err != nil {
		t.Fatal(err)
	}
	const n, at = 40000, 25000
	for i := range n {
		e := nth(i)
		if err := errors.Join(w.Write(&e), w.Tick(time.Unix(0, e.Time))); err != nil {
			t.Fatal(err)
		}
		if i == at {
			if _, err := w.Trigger(time.Unix(0, e.Time)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(endEvent()); err != nil {
		t.Fatal(err)
	}
	r, events, names := readDir(t, dir)
	second := int(time.Second / (137 * time.Microsecond))
	from := int(events[0].Cookie) - 1
	until := from + len(events)
	checkEvents(t, events, from, until)
	if len(names) != 1 || from > at-second || from < at-3*second || until < at+second || until > at+3*second {
		t.Errorf("%d files, records %d to %d, want a second around %d", len(names), from, until, at)
	}
	if r.Start().Start.Host != "web-07" {
		t.Errorf("start %+v", r.Start())
	}
}

// TestNothingIsOverwritten: a file that is there stays, and nothing is written
// through a link.
func TestNothingIsOverwritten(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(file, []byte("precious"), 0o600), os.Symlink(file, link)); err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{{Path: file}, {Path: link}, {Path: link, Force: true}} {
		if _, err := NewWriter(o, startEvent(), t0); err == nil {
			t.Errorf("%+v: no error", o)
		}
		if b, err := os.ReadFile(file); string(b) != "precious" {
			t.Fatalf("%+v: the file is %q, %v", o, b, err)
		}
	}
	if _, events, err := read(write(t, 3, Options{Path: file, Force: true})); err != nil || len(events) != 3 {
		t.Errorf("with force: %d events, %v", len(events), err)
	}
}

func TestRoomIsLeft(t *testing.T) {
	_, err := NewWriter(Options{Path: filepath.Join(t.TempDir(), "f"), MinFree: 1 << 60}, startEvent(), t0)
	if room := (*NoRoomError)(nil); !errors.As(err, &room) {
		t.Errorf("%v", err)
	}
}

// TestRedact: names are gone, and addresses keep what they have in common.
func TestRedact(t *testing.T) {
	r, err := NewRedactor([]byte("key"))
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, 5, Options{Redact: r})
	rd, events, err := read(path)
	if err != nil {
		t.Fatal(err)
	}
	all, _ := os.ReadFile(path)
	if s := rd.Start(); s.Start.Host != "" || bytes.Contains(all, []byte("web-07")) || s.Start.Kernel != "6.1.0" {
		t.Errorf("start %+v", s.Start)
	}
	for _, e := range events {
		if e.Process.Comm != "" || e.Process.PID != 4242 || e.Remote.Addr() == netip.MustParseAddr("10.2.0.9") || e.Remote.Port() != 5432 {
			t.Errorf("got %+v", e)
		}
	}
	for _, pair := range [][2]string{{"10.0.0.7", "10.0.0.6"}, {"10.0.0.7", "10.0.9.7"}, {"192.168.0.1", "10.1.2.3"},
		{"2001:db8::1", "2001:db8::2"}, {"2001:db8::1", "2001:db8:0:1::1"}} {
		a, b := netip.MustParseAddr(pair[0]), netip.MustParseAddr(pair[1])
		if want, got := common(a, b), common(r.Addr(a), r.Addr(b)); got != want {
			t.Errorf("%s and %s share %d bits, their substitutes %d", a, b, want, got)
		}
	}
	for _, s := range []string{"127.0.0.1", "::1", "0.0.0.0"} {
		if a := netip.MustParseAddr(s); r.Addr(a) != a {
			t.Errorf("%s became %s", a, r.Addr(a))
		}
	}
}

// common is how many bits two addresses share at their begin.
func common(a, b netip.Addr) int {
	n := 0
	for n < a.BitLen() && netip.PrefixFrom(a, n+1).Masked() == netip.PrefixFrom(b, n+1).Masked() {
		n++
	}
	return n
}

// TestFormats: a file of every format that was ever written is read for ever.
func TestFormats(t *testing.T) {
	for format := 1; format <= Format; format++ {
		r, events, err := read(fmt.Sprintf("testdata/format-%d.ndjson.zst", format))
		if err != nil || len(r.Damage) > 0 || r.End() == nil || r.Start().Start.Host != "web-07" {
			t.Fatalf("format %d: %v, damage %v, start %+v, end %v", format, err, r.Damage, r.Start(), r.End())
		}
		checkEvents(t, events, 0, 100)
	}
}
