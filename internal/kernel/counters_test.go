package kernel

import (
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
)

func parseFile(t *testing.T, c *Counters, parse func(io.Reader, *Counters) error, file string) {
	t.Helper()
	f, err := os.Open("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := parse(f, c); err != nil {
		t.Errorf("%s: %v", file, err)
	}
}

// TestParseCounters: columns come and go between kernels, and move.
func TestParseCounters(t *testing.T) {
	for file, want := range map[string]Counters{
		// PAWSPassive, gone with tcp_tw_recycle, stood before PAWSActive.
		"netstat-4.4": {TW: 410, TWRecycled: 411, TWKilled: 412, TWOverflow: 432, PAWSActive: 414, PAWSEstab: 415,
			ListenOverflows: 419, ListenDrops: 420, AbortOnData: 426, AbortOnClose: 427, AbortOnTimeout: 429,
			AbortOnLinger: 430, SyncookiesSent: 400, ReqQFullCookies: 433},
		"netstat-5.10": {TW: 510, TWRecycled: 511, TWKilled: 512, TWOverflow: 529, PAWSActive: 513, PAWSEstab: 514,
			ListenOverflows: 518, ListenDrops: 519, AbortOnData: 523, AbortOnClose: 524, AbortOnTimeout: 526,
			AbortOnLinger: 527, SyncookiesSent: 500, ReqQFullCookies: 530, ReqQFullDrop: 531,
			ACKSkippedTimeWait: 536},
		"netstat-6.18": {TW: 6010, TWRecycled: 6011, TWKilled: 6012, TWOverflow: 6077, PAWSActive: 6013, PAWSEstab: 6014,
			PAWSTimewait: 6018, ListenOverflows: 6022, ListenDrops: 6023, AbortOnData: 6054, AbortOnClose: 6055,
			AbortOnTimeout: 6057, AbortOnLinger: 6058, SyncookiesSent: 6000, ReqQFullCookies: 6078, ReqQFullDrop: 6079,
			SYNRetrans: 6100, MemoryPressures: 6060, ACKSkippedTimeWait: 6110},
	} {
		var got Counters
		parseFile(t, &got, parseNetstat, file)
		if got != want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", file, got, want)
		}
	}

	var got Counters
	parseFile(t, &got, parseSNMP, "snmp")
	parseFile(t, &got, parseSockstat, "sockstat")
	parseFile(t, &got, parseSockstat, "sockstat6")
	parseFile(t, &got, parseSNMP6, "snmp6")
	want := Counters{ActiveOpens: 101, PassiveOpens: 102, AttemptFails: 103, EstabResets: 104, OutRsts: 110, OutNoRoutes: 123,
		TimeWait: 28411, InUse: 42, Orphans: 3, Alloc: 61}
	if got != want {
		t.Errorf("snmp and sockstat:\ngot  %+v\nwant %+v", got, want)
	}
}

func TestParseCountersErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "no TcpExt: lines",
		"TcpExt: TW TWRecycled\n":        "no TcpExt: lines", // gVisor prints the names alone
		"TcpExt: TW A\nTcpExt: 1\n":      "2 names and 1 values",
		"TcpExt: TW\nTcpExt: x\n":        "counter TW",
		"TcpExt: TWX\nTcpExt: 1\n":       "no counter TW",
		"IpExt: TW\nIpExt: 1\nTcpExt:\n": "no TcpExt: lines",
	} {
		var c Counters
		if err := parseNetstat(strings.NewReader(text), &c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want it to say %q", text, err, want)
		}
	}
	var c Counters
	if err := parseSockstat(strings.NewReader("sockets: used 1\n"), &c); err == nil {
		t.Error("sockstat without a TCP line passed")
	}
	if err := parseSockstat(strings.NewReader("TCP: inuse x\n"), &c); err == nil {
		t.Error("sockstat with a word for a number passed")
	}
}

// TestCountersAgainstNstat makes connections in a namespace and compares each
// counter with what nstat(8) reads there.
func TestCountersAgainstNstat(t *testing.T) {
	n := newNetNS(t)
	const v4, v6 = 7, 5
	makeTimeWaits(t, n, "127.0.0.1", v4)
	makeTimeWaits(t, n, "::1", v6)

	got, err := n.Counters()
	if err != nil {
		t.Fatal(err)
	}
	nstat := parseNstat(t, n.exec(t, "nstat", "-asz"))
	for name, c := range map[string]uint64{
		"TcpExtTW": got.TW, "TcpExtTWKilled": got.TWKilled, "TcpExtTWRecycled": got.TWRecycled,
		"TcpExtTCPTimeWaitOverflow": got.TWOverflow, "TcpExtListenDrops": got.ListenDrops,
		"TcpActiveOpens": got.ActiveOpens, "TcpPassiveOpens": got.PassiveOpens,
		"TcpAttemptFails": got.AttemptFails, "TcpEstabResets": got.EstabResets, "TcpOutRsts": got.OutRsts,
	} {
		if want, ok := nstat[name]; !ok || c != want {
			t.Errorf("%s is %d, nstat says %d (%v)", name, c, want, ok)
		}
	}
	if got.ActiveOpens != v4+v6 || got.PassiveOpens != v4+v6 {
		t.Errorf("%d active and %d passive opens, made %d", got.ActiveOpens, got.PassiveOpens, v4+v6)
	}
	// sockstat has no tw of its own for IPv6: its one number counts both.
	if got.TimeWait != v4+v6 {
		t.Errorf("%d mini-sockets alive, made %d", got.TimeWait, v4+v6)
	}
	if got.InUse != 0 {
		t.Errorf("%d full sockets left", got.InUse)
	}
	types, err := btf.LoadKernelSpec()
	if err != nil {
		t.Fatal(err)
	}
	birth, err := TimeWaitCountedAtBirth(types)
	if err != nil {
		t.Fatal(err)
	}
	if counted := got.TW+got.TWKilled == v4+v6; counted != birth {
		t.Errorf("TW + TWKilled is %d after %d births, and TimeWaitCountedAtBirth says %v", got.TW+got.TWKilled, v4+v6, birth)
	}
}

// TestCountersCountBothFamilies: full sockets of IPv4 and IPv6 are in two files.
func TestCountersCountBothFamilies(t *testing.T) {
	n := newNetNS(t)
	_ = listen(t, n, "127.0.0.1:0")
	_ = listen(t, n, "[::1]:0")
	c, err := n.Counters()
	if err != nil {
		t.Fatal(err)
	}
	if c.InUse != 2 {
		t.Errorf("InUse is %d with a listener of each family", c.InUse)
	}
}

// parseNstat reads "TcpExtTW   12   0.0" lines.
func parseNstat(t *testing.T, out string) map[string]uint64 {
	t.Helper()
	m := map[string]uint64{}
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		v, err := strconv.ParseUint(f[1], 10, 64)
		if err != nil {
			t.Fatalf("nstat line %q: %v", line, err)
		}
		m[f[0]] = v
	}
	return m
}
