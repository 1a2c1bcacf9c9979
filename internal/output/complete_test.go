package output

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/event/eventtest"
)

// unprinted are the leaves of an event that no record has, and why.
var unprinted = map[string]string{
	"Process.Who.CgroupID": "an id of this boot, for filters; records have the path",
	"Process.Who.Followed": "what --follow asked for, not what the process is",
	"Opener.Who":           "records describe the owner alone, who is one of these as a rule",
	"Accepter.Who":         "the same",
	"CloseProc.Who":        "the same",
	"Listener":             "the table makes the owner of it, which records have",
}

// needs are leaves that mean nothing without another.
var needs = map[string]string{"Process.Who.UID": "Process.Who.HasUID"}

// TestEveryLeaf: what an event can say is in JSON, however it is encoded, in CSV, and
// comes back from JSON; or the test says why not.
func TestEveryLeaf(t *testing.T) {
	leaves := eventtest.Leaves()
	excused := make(map[string]bool)
	for _, l := range leaves {
		plain, e := l.Event(), l.Event()
		for _, other := range leaves {
			if other.Path == needs[l.Path] {
				other.Set(&plain)
				other.Set(&e)
			}
		}
		l.Set(&e)
		if reflect.DeepEqual(l.Get(&e), l.Get(&plain)) {
			t.Fatalf("%s is not set", l.Path)
		}
		var c Encoder
		line, fast := AppendJSON(nil, &e), c.AppendJSON(nil, &e)
		printed := !bytes.Equal(line, AppendJSON(nil, &plain))
		if why := excuse(l.Path, excused); why != "" {
			if printed {
				t.Errorf("%s is printed, and yet excused: %s", l.Path, why)
			}
			continue
		}
		if !printed {
			t.Errorf("%s is in no field of the table: add it, or say in unprinted why not", l.Path)
			continue
		}
		if !bytes.Equal(fast, line) {
			t.Errorf("%s: the Encoder prints\n%s\nand the table\n%s", l.Path, fast, line)
		}
		if row := AppendCSV(nil, &e); bytes.Equal(row, AppendCSV(nil, &plain)) {
			t.Errorf("%s is not in CSV: %s", l.Path, row)
		}
		var d Decoder
		var got event.Event
		if err := d.Decode(line, &got); err != nil || d.Unknown > 0 {
			t.Errorf("%s: Decode(%s): %v, %d words unknown", l.Path, line, err, d.Unknown)
		} else if !reflect.DeepEqual(l.Get(&got), l.Get(&e)) {
			t.Errorf("%s came back as %v, and was %v: %s", l.Path, l.Get(&got), l.Get(&e), line)
		}
	}
	for path := range unprinted {
		if !excused[path] {
			t.Errorf("there is no %s to excuse", path)
		}
	}
}

// excuse is why the leaf is not printed, "" if it has to be.
func excuse(path string, used map[string]bool) string {
	for p, why := range unprinted {
		if path == p || strings.HasPrefix(path, p+".") {
			used[p] = true
			return why
		}
	}
	return ""
}

// TestRoundTrip has all that the events of each kind can say at once.
func TestRoundTrip(t *testing.T) {
	for _, kind := range []event.Kind{event.Start, event.TimeWaitEnter, event.Fail, event.StormUpdate, event.Lost, event.End} {
		e := event.Event{}
		for _, l := range eventtest.Leaves() {
			if of := l.Event().Kind; (of == kind || of == event.TimeWaitEnter) && excuse(l.Path, make(map[string]bool)) == "" {
				l.Set(&e)
			}
		}
		e.Kind = kind
		line := AppendJSON(nil, &e)
		var d Decoder
		var got event.Event
		if err := d.Decode(line, &got); err != nil || d.Unknown > 0 {
			t.Fatalf("%v: %v, %d words unknown: %s", kind, err, d.Unknown, line)
		}
		if !reflect.DeepEqual(got, e) {
			t.Errorf("%v: got %+v\nwant %+v\n%s", kind, got, e, line)
		}
		if again := AppendJSON(nil, &got); !bytes.Equal(again, line) {
			t.Errorf("%v: printed again as\n%s\nwant\n%s", kind, again, line)
		}
	}
}

// TestOldNames: what a record of schema 1 said under another name is read, and is
// printed under the present one; and --fields takes both.
func TestOldNames(t *testing.T) {
	olds := 0
	for _, f := range all {
		for _, old := range f.Was {
			if old.In != inRecords {
				continue
			}
			olds++
			e := f.event()
			fillField(t, f, &e)
			line := AppendJSON(nil, &e)
			before := strings.Replace(string(line), `"`+f.Name+`":`, `"`+old.Name+`":`, 1)
			if before == string(line) {
				t.Errorf("%s is not in %s", f.Name, line)
			}
			var d Decoder
			var got event.Event
			if err := d.Decode([]byte(before), &got); err != nil {
				t.Errorf("%s: %v", before, err)
			}
			if again := AppendJSON(nil, &got); string(again) != string(line) {
				t.Errorf("%s: %s is read as\n%s\nwant\n%s", old.Name, before, again, line)
			}
			for _, name := range []string{old.Name, f.Name} {
				if sel, err := lookup([]string{name}); err != nil || sel[0] != f {
					t.Errorf("--fields %s: %v, %v", name, sel, err)
				}
			}
			if _, err := lookup([]string{old.Name, f.Name}); err == nil {
				t.Errorf("--fields %s,%s: one field twice", old.Name, f.Name)
			}
		}
	}
	if olds == 0 {
		t.Error("no field had another name")
	}
}

// TestTerms: a name means one thing, says its unit, and is not one that has been given
// up for another.
func TestTerms(t *testing.T) {
	terms := Terms()
	names := make(map[string]bool)
	for _, term := range terms {
		if names[term.Name] {
			t.Errorf("%s is there twice", term.Name)
		}
		names[term.Name] = true
	}
	retired := make(map[Old]string)
	for _, term := range terms {
		if term.Doc == "" || term.Heading() == "" {
			t.Errorf("%s has no documentation or no heading", term.Name)
		}
		if (term.Type == TypeDuration) != strings.HasSuffix(term.Name, "_ns") || (term.Type == TypeCounts) != strings.Contains(term.Name, "_by_") && !strings.HasSuffix(term.Name, "_pct") {
			t.Errorf("%s: the name does not say what type it has", term.Name)
		}
		if strings.Contains(strings.TrimSuffix(term.Doc, "."), "begin") {
			t.Errorf("%s: %q: TIME_WAIT starts", term.Name, term.Doc)
		}
		for _, old := range term.Was {
			if other := retired[old]; other != "" {
				t.Errorf("%s of %s is now %s and %s", old.Name, old.In, other, term.Name)
			}
			retired[old] = term.Name
			if found, ok := FindTerm(old.Name); ok && found.Name != old.Name {
				t.Errorf("%s is found as %s", old.Name, found.Name)
			}
		}
	}
	if _, ok := FindTerm("closer"); ok {
		t.Error("a retired name is a term")
	}
	heads := map[string]string{"life_ns": "LIFE", "opens_per_s": "OPENS/s", "used_pct": "USE%", "fails_total": "FAILS",
		"time_wait": "TW", "memory_bytes": "MEMORY", "uptime_s": "UPTIME_S"}
	for name, want := range heads {
		if term, ok := FindTerm(name); !ok || term.Heading() != want {
			t.Errorf("%s: heading %q, want %q", name, term.Heading(), want)
		}
	}
	if !slices.ContainsFunc(terms, func(t Term) bool { return t.WasIn("pids", inPorts) && !t.WasIn("pids", inSummary) }) {
		t.Error("ports had pids, and a summary had not")
	}
}
