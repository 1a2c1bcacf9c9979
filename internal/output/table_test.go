package output

import (
	"bytes"
	"errors"
	"math"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func ports(t *testing.T) *Table {
	t.Helper()
	tab := NewTable(TableColumn{Name: "comm", Width: 6}, TableColumn{Name: "raddr"}, TableColumn{Name: "tw", Right: true},
		TableColumn{Name: "rate_s", Right: true}, TableColumn{Name: "life_ns", Right: true},
		TableColumn{Name: "reuse", Wide: true}, TableColumn{Name: "note"})
	tab.Add(String("curl"), Addr(netip.MustParseAddr("::ffff:10.2.0.9")), Uint(26911), Float(811.96, 1), Nanos(3_100_000), Bool(true),
		Prose("out of ports, in 41s\n"))
	tab.Add(String("npm start"), Value{}, Int(-1), Float(math.NaN(), 1), Value{}, Bool(false), Word("ok"))
	tab.Add(String("日本"), Addr(netip.MustParseAddr("::1")), Uint(0), Float(0, 1), Nanos(0), Value{}, Value{})
	return tab
}

func TestTable(t *testing.T) {
	for f, want := range map[Format]string{
		Text: `
COMM         RADDR       TW RATE_S  LIFE NOTE
curl         10.2.0.9 26911  812.0 3.1ms out of ports, in 41s\x0a
npm\x20start -           -1      -     - ok
日本         ::1          0    0.0   0ns -
`,
		Wide: `
COMM         RADDR       TW RATE_S  LIFE REUSE NOTE
curl         10.2.0.9 26911  812.0 3.1ms yes   out of ports, in 41s\x0a
npm\x20start -           -1      -     - no    ok
日本         ::1          0    0.0   0ns -     -
`,
		CSV: `
comm,raddr,tw,rate_s,life_ns,reuse,note
curl,10.2.0.9,26911,812.0,3100000,true,"out of ports, in 41s\x0a"
npm start,,-1,,,false,ok
日本,::1,0,0.0,0,,
`,
		JSON: `
{"comm":"curl","raddr":"10.2.0.9","tw":26911,"rate_s":812.0,"life_ns":3100000,"reuse":true,"note":"out of ports, in 41s\\x0a"}
{"comm":"npm start","tw":-1,"reuse":false,"note":"ok"}
{"comm":"日本","raddr":"::1","tw":0,"rate_s":0.0,"life_ns":0}
`,
	} {
		var out bytes.Buffer
		if err := ports(t).Write(&out, f); err != nil {
			t.Fatal(err)
		}
		if got, want := out.String(), strings.TrimPrefix(want, "\n"); got != want {
			t.Errorf("%s:\n%s\nwant:\n%s", f, got, want)
		}
	}
}

func TestTableSelect(t *testing.T) {
	tab := ports(t)
	if err := tab.Select([]string{"tw", "pid"}); err == nil ||
		err.Error() != `no field "pid"; the fields are comm, raddr, tw, rate_s, life_ns, reuse, note` {
		t.Errorf("an unknown field: %v", err)
	}
	if err := tab.Select([]string{"tw", "tw"}); err == nil || err.Error() != `field "tw" is named twice` {
		t.Errorf("a field named twice: %v", err)
	}
	if err := tab.Select([]string{"raddress"}); err == nil || err.Error() != `no field "raddress"; did you mean raddr?` {
		t.Errorf("nearly a field: %v", err)
	}
	if err := tab.Select([]string{"LIFE", "Raddr"}); err != nil {
		t.Errorf("headings: %v", err)
	}
	if err := tab.Select([]string{"reuse", "comm"}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := tab.Write(&out, Text); err != nil {
		t.Fatal(err)
	}
	if want := "REUSE COMM\nyes   curl\nno    npm\\x20start\n-     日本\n"; out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
}

func TestTableEmpty(t *testing.T) {
	tab := ports(t)
	tab.Reset()
	if tab.Len() != 0 || NewTable().Len() != 0 {
		t.Errorf("%d rows after Reset", tab.Len())
	}
	for f, want := range map[Format]string{
		Text: "COMM   RADDR TW RATE_S LIFE NOTE\n",
		CSV:  "comm,raddr,tw,rate_s,life_ns,reuse,note\n",
		JSON: "",
	} {
		var out bytes.Buffer
		if err := tab.Write(&out, f); err != nil || out.String() != want {
			t.Errorf("%s: %q, %v, want %q", f, out.String(), err, want)
		}
	}
}

func TestTableErrors(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	if err := ports(t).Write(w, Text); !errors.Is(err, unix.EPIPE) {
		t.Errorf("a closed pipe: %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a row with a cell too few was taken")
		}
	}()
	ports(t).Add(Value{})
}

// TestTableFits: on a terminal the columns that matter least go first, then long values are
// cut; a pipe gets everything.
func TestTableFits(t *testing.T) {
	tab := NewTable(TableColumn{Name: "comm"}, TableColumn{Name: "raddr"}, TableColumn{Name: "used", Right: true, Drop: 1}, TableColumn{Name: "note", Drop: 2})
	tab.Add(String("payment-gw-prod"), Addr(netip.MustParseAddr("2001:db8:a:b:c:d:e:443")), Uint(26911), Prose("out of ports"))
	for n, want := range map[int]string{
		0:  "COMM            RADDR                   USED NOTE\npayment-gw-prod 2001:db8:a:b:c:d:e:443 26911 out of ports\n",
		60: "COMM            RADDR                   USED NOTE\npayment-gw-prod 2001:db8:a:b:c:d:e:443 26911 out of ports\n",
		50: "COMM            RADDR                   USED\npayment-gw-prod 2001:db8:a:b:c:d:e:443 26911\n",
		40: "COMM            RADDR\npayment-gw-prod 2001:db8:a:b:c:d:e:443\n",
		36: "COMM            RADDR\npayment-gw-prod 2001:db8:a~c:d:e:443\n",
	} {
		tab.SetWidth(n)
		var out bytes.Buffer
		if err := tab.Write(&out, Text); err != nil || out.String() != want {
			t.Errorf("%d columns, %v:\n%swant\n%s", n, err, out.String(), want)
		}
	}
}
