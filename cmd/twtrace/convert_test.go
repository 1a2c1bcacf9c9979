package main

import (
	"bytes"
	"encoding/csv"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// fixture is a file of 100 begins of TIME_WAIT, a start and an end record.
const fixture = "../../internal/record/testdata/format-2.ndjson.zst"

// TestConvert makes each format of a trace file, which have the same records.
func TestConvert(t *testing.T) {
	t.Parallel()
	kerneltest.RequireTool(t, "zstd", "zstd")
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"a.csv", "a.ndjson", "a.ndjson.zst", "a.parquet"} {
		if o := ran("convert", "-r", fixture, "-w", in(name)); o.code != 0 || o.stderr != "twtrace: 102 records\n" {
			t.Fatalf("%s: exit code %d: %s", name, o.code, o.stderr)
		}
		if st, err := os.Stat(in(name)); err != nil || st.Mode() != 0o600 {
			t.Errorf("%s: mode %v, %v; want 0600", name, st.Mode(), err)
		}
	}
	out, err := exec.Command("zstd", "-dcq", fixture).Output()
	must(t, err)
	want := []byte(inNewNames(string(out)))
	lines, err := os.ReadFile(in("a.ndjson"))
	must(t, err)
	again, err := exec.Command("zstd", "-dcq", in("a.ndjson.zst")).Output()
	must(t, err)
	if !bytes.Equal(lines, want) || !bytes.Equal(again, want) {
		t.Errorf("the lines are not those of the file")
	}
	if o := ran("convert", "-r", in("a.ndjson"), "-t", "ndjson", "-w", "-"); o.code != 0 || o.stdout != string(want) {
		t.Errorf("lines of lines: exit code %d: %s", o.code, o.stderr)
	}
	file, err := os.Open(in("a.csv"))
	must(t, err)
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	must(t, err)
	if printed := ran("trace", "-r", fixture, "-o", "csv"); len(rows) != 103 || len(rows) != strings.Count(printed.stdout, "\n") {
		t.Errorf("%d rows, want 103", len(rows))
	}
	table, err := os.Open(in("a.parquet"))
	must(t, err)
	defer table.Close()
	r := parquet.NewReader(table)
	defer r.Close()
	if r.NumRows() != 102 {
		t.Errorf("%d rows of Parquet, want 102", r.NumRows())
	}
}

// TestConvertOverwritesNothing: what is there stays, unless it is a file and --force is given.
func TestConvertOverwritesNothing(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a.csv", "a.ndjson.zst", "a.parquet"} {
		path, other := filepath.Join(t.TempDir(), name), filepath.Join(t.TempDir(), "other")
		must(t, os.WriteFile(path, []byte("mine"), 0o600))
		must(t, os.WriteFile(other, []byte("mine"), 0o600))
		ran("convert", "-r", fixture, "-w", path).failed(t, 1, "choose another name", "--force")
		if data, err := os.ReadFile(path); err != nil || string(data) != "mine" {
			t.Errorf("%s has %q, %v", name, data, err)
		}
		if o := ran("convert", "--force", "-r", fixture, "-w", path); o.code != 0 {
			t.Errorf("%s: exit code %d: %s", name, o.code, o.stderr)
		}
		must(t, os.Remove(path))
		must(t, os.Symlink(other, path))
		ran("convert", "--force", "-r", fixture, "-w", path).failed(t, 1, "is not a regular file")
		if data, err := os.ReadFile(other); err != nil || string(data) != "mine" {
			t.Errorf("%s led to a file that has %q now, %v", name, data, err)
		}
	}
}

// TestConvertDamaged: damage is told and nothing is written; --repair takes what is whole.
func TestConvertDamaged(t *testing.T) {
	t.Parallel()
	good, err := os.ReadFile(fixture)
	must(t, err)
	flipped := bytes.Clone(good)
	flipped[len(good)/2] ^= 4
	newer := bytes.ReplaceAll(good, []byte(`"twtrace":2`), []byte(`"twtrace":9`))
	for name, tt := range map[string]struct {
		data  []byte
		words string
		rows  int // of CSV with --repair; 0 if nothing is whole
	}{
		"torn":    {good[:len(good)-9], "the last block is truncated", 53}, // header, start, 50, lost,
		"flipped": {flipped, "damaged", 54},                                // the same, and end
		"no end":  {good[:bytes.LastIndex(good, []byte{0x5a, 0x2a, 0x4d, 0x18})], "it has no end", 52},
		"empty":   {nil, "it is empty", 0},
		"garbage": {bytes.Repeat([]byte("garbage "), 1000), "it is not a twtrace trace file", 0},
		"newer":   {newer, "it was written by a newer twtrace (format 9; this one reads up to 2)", 0},
	} {
		dir := t.TempDir()
		in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out.csv")
		must(t, os.WriteFile(in, tt.data, 0o600))
		for _, to := range []string{out, filepath.Join(dir, "out.parquet"), filepath.Join(dir, "out.ndjson.zst")} {
			ran("convert", "-r", in, "-w", to).failed(t, 1, tt.words)
			if _, err := os.Stat(to); !os.IsNotExist(err) {
				t.Errorf("%s: %s is left: %v", name, to, err)
			}
		}
		o := ran("convert", "--repair", "-r", in, "-w", out)
		if tt.rows == 0 {
			o.failed(t, 1, tt.words)
			continue
		}
		data, err := os.ReadFile(out)
		if rows := bytes.Count(data, []byte("\n")); err != nil || o.code != 0 || rows != tt.rows || !strings.Contains(o.stderr, tt.words) {
			t.Errorf("%s: %d rows, %v, exit code %d: %s", name, rows, err, o.code, o.stderr)
		}
	}
}

func TestConvertUsage(t *testing.T) {
	t.Parallel()
	for args, words := range map[string]string{
		"-w a.csv":                        "convert requires --read FILE",
		"-r " + fixture:                   "convert requires --write FILE",
		"-r " + fixture + " -w a":         "no format in the name a",
		"-r " + fixture + " -w a -t xml":  `bad format "xml"`,
		"-r " + fixture + " -w a.csv.zst": "CSV is not compressed",
		"-w a.csv -r x y -t xml":          `bad format "xml"`, // a flag behind a name
	} {
		ran(append([]string{"convert"}, strings.Fields(args)...)...).failed(t, 2, words)
	}
}
