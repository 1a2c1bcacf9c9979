package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

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
	p, err := newPacker("x", NotPlain, false)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"empty":       {nil, "it is empty"},
		"noise":       {noise, "it is not a twtrace trace file, or it has no complete block"},
		"one byte":    {good[:1], "it is not a twtrace trace file, or it has no complete block"},
		"zeros":       {make([]byte, 1<<20), "it is not a twtrace trace file, or it has no complete block"},
		"other zstd":  {p.enc.EncodeAll([]byte("{}\n"), nil), "it has no twtrace blocks; if it contains records: zstd -dc FILE | twtrace ... -r -"},
		"newer":       {newer, fmt.Sprintf("it was written by a newer twtrace (format %d; this one reads up to %d)", Format+1, Format)},
		"schema":      {newSchema, fmt.Sprintf("it was written by a newer twtrace (schema %d; this one reads up to %d)", output.Schema+1, output.Schema)},
		"other json":  {[]byte("{\"a\":1}\n"), "it is neither a twtrace trace file nor records in JSON"},
		"half a json": {[]byte("{\"a"), "it is neither a twtrace trace file nor records in JSON"},
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
	p, err := newPacker("x", NotPlain, false)
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
	for format := 1; format <= Format; format++ {
		data, err := os.ReadFile(fmt.Sprintf("testdata/format-%d.ndjson.zst", format))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for schema := 1; schema <= output.Schema; schema++ {
		data, err := os.ReadFile(fmt.Sprintf("testdata/schema-%d.ndjson.zst", schema))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
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

func BenchmarkRead(b *testing.B) {
	path := write(b, 100000, Options{})
	for b.Loop() {
		if _, events, err := read(path); err != nil || len(events) != 100000 {
			b.Fatal(err)
		}
	}
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

// TestSchemas: records of every schema there was are read for ever, and say the same.
func TestSchemas(t *testing.T) {
	var first []event.Event
	for schema := 1; schema <= output.Schema; schema++ {
		r, events, err := read(fmt.Sprintf("testdata/schema-%d.ndjson.zst", schema))
		if err != nil || len(r.Damage) > 0 || r.End() == nil || r.End().End.Begins != 150 || r.Start().Start.Schema != output.Schema {
			t.Fatalf("schema %d: %v, damage %v, start %+v, end %+v", schema, err, r.Damage, r.Start(), r.End())
		}
		if schema == 1 {
			first = events
		}
		if len(events) < 700 || !reflect.DeepEqual(events, first) {
			t.Errorf("schema %d: %d events, which are not those of schema 1", schema, len(events))
		}
	}
}
