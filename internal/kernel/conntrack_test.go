package kernel

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
)

// TestParseConntrackStat: columns differ between kernels, numbers are hexadecimal, and
// each CPU has a line.
func TestParseConntrackStat(t *testing.T) {
	for file, want := range map[string]Conntrack{
		"nf_conntrack-5.10": {InsertFailed: 0x1a + 2, Drop: 0x10 + 0x20, EarlyDrop: 3},
		"nf_conntrack-6.18": {InsertFailed: 0xff + 1, Drop: 0x100, EarlyDrop: 0x11 + 0x22},
	} {
		f, err := os.Open("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var got Conntrack
		if err := parseConntrackStat(f, &got); err != nil || got != want {
			t.Errorf("%s: %+v (%v), want %+v", file, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                             "is empty",
		"entries drop\n":               "no insert_failed",
		"insert_failed drop\n1\n":      "2 names and 1 values",
		"insert_failed drop\n1 many\n": "drop",
	} {
		var c Conntrack
		if err := parseConntrackStat(strings.NewReader(text), &c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want it to say %q", text, err, want)
		}
	}
}

func TestParseConntrackState(t *testing.T) {
	nested := func(kind uint16, data []byte) []byte {
		b, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: 3, Data: []byte{9}}, {Type: kind | netlink.Nested, Data: data}})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	state := func(n byte) []byte {
		b, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: 1, Data: []byte{n}}})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, tt := range []struct {
		entry []byte
		want  string
	}{
		{nested(ctaProtoInfo, nested(2, state(3))), "other"},
		{nested(7, state(3)), "other"},
		{nil, "other"},
	} {
		if got, err := parseConntrackState(tt.entry); got != tt.want || err != nil {
			t.Errorf("%v: %q, %v; want %q", tt.entry, got, err, tt.want)
		}
	}
	for n, want := range map[byte]string{3: "ESTABLISHED", 7: "TIME_WAIT", 200: "200"} {
		tcp, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: ctaTCP | netlink.Nested, Data: state(n)}})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parseConntrackState(nested(ctaProtoInfo, tcp)); got != want || err != nil {
			t.Errorf("state %d: %q, %v; want %q", n, got, err, want)
		}
	}
}

// TestConntrackOfNamespace has conntrack follow connections in a namespace, and compares
// with what the kernel lists there.
func TestConntrackOfNamespace(t *testing.T) {
	n := newNetNS(t)
	before, err := n.Conntrack()
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("this kernel has no conntrack")
	}
	if err != nil || before.Count != 0 || before.Max == 0 || before.TimeWait == 0 {
		t.Fatalf("in a new namespace: %+v, %v", before, err)
	}
	if _, err := exec.LookPath("nft"); err != nil {
		if os.Getenv("CI") != "" && os.Getenv("TWTRACE_VM") != "1" {
			t.Fatal("needs nft (apt-get install nftables), and CI has to run it")
		}
		t.Skip("needs nft (apt-get install nftables), which has conntrack follow connections")
	}
	n.exec(t, "nft", "add table inet t; add chain inet t o { type filter hook output priority 0; ct state invalid drop; }")
	const made = 7
	makeTimeWaits(t, n, "127.0.0.1", made)
	makeTimeWaits(t, n, "::1", made)

	got, err := n.Conntrack()
	if err != nil || got.Count != 2*made {
		t.Errorf("%+v, %v; want %d entries", got, err, 2*made)
	}
	states, err := n.ConntrackStates()
	if err != nil || states["TIME_WAIT"] != 2*made || len(states) != 1 {
		t.Errorf("states %v, %v; want %d in TIME_WAIT", states, err, 2*made)
	}
	writable := strings.TrimSpace(n.exec(t, "sh", "-c", "find /proc/sys/net/netfilter/nf_conntrack_max -perm -u=w"))
	if got.MaxIsHere != (writable != "") {
		t.Errorf("MaxIsHere is %v, and find shows %q", got.MaxIsHere, writable)
	}
	n.exec(t, "sysctl", "-w", "net.netfilter.nf_conntrack_tcp_timeout_time_wait=33")
	if got, err = n.Conntrack(); err != nil || got.TimeWait.Seconds() != 33 {
		t.Errorf("after the timeout was set to 33: %+v, %v", got, err)
	}
}
