package kernel

import (
	"io/fs"
	"maps"
	"strconv"
	"strings"
	"testing"
)

func TestParseSettings(t *testing.T) {
	all := map[string]string{"core/somaxconn": "4096\n", "ipv4/tcp_max_syn_backlog": "512\n", "ipv4/tcp_syncookies": "1\n",
		"ipv4/tcp_ehash_entries": "262144\n"}
	read := func(m map[string]string) func(string) (string, error) {
		return func(name string) (string, error) {
			s, ok := m[name]
			if !ok {
				return "", &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
			}
			return s, nil
		}
	}
	base := Settings{TWRecycle: -1, LoIPv6Off: -1, Somaxconn: 4096, SYNBacklog: 512, SYNCookies: 1, DefaultTWBuckets: 131072}
	for _, tt := range []struct {
		name   string
		change func(map[string]string, *Settings)
	}{
		{"6.18", func(map[string]string, *Settings) {}},
		{"the initial namespace's table", func(m map[string]string, _ *Settings) { m["ipv4/tcp_ehash_entries"] = "-262144\n" }},
		{"before 6.1", func(m map[string]string, s *Settings) { delete(m, "ipv4/tcp_ehash_entries"); s.DefaultTWBuckets = 0 }},
		{"IPv6 is off on lo", func(m map[string]string, s *Settings) {
			m["ipv6/conf/lo/disable_ipv6"], m["ipv4/ip_nonlocal_bind"] = "1\n", "1\n"
			s.LoIPv6Off, s.NonlocalBind = 1, 1
		}},
		{"before 4.12", func(m map[string]string, s *Settings) { m["ipv4/tcp_tw_recycle"] = "1\n"; s.TWRecycle = 1 }},
	} {
		m, want := maps.Clone(all), base
		tt.change(m, &want)
		if got, err := parseSettings(read(m)); err != nil || got != want {
			t.Errorf("%s: %+v (%v), want %+v", tt.name, got, err, want)
		}
	}
	for name, value := range map[string]string{"core/somaxconn": "", "ipv4/tcp_ehash_entries": "many"} {
		m := maps.Clone(all)
		m[name] = value
		if _, err := parseSettings(read(m)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s = %q: error %v does not name it", name, value, err)
		}
	}
}

// TestSettingsOfNamespace compares with what sysctl(8) prints there, and the default of
// the buckets with what a new namespace has.
func TestSettingsOfNamespace(t *testing.T) {
	n := newNetNS(t)
	limits, err := n.Limits()
	if err != nil {
		t.Fatal(err)
	}
	n.exec(t, "sysctl", "-w", "net.core.somaxconn=77", "net.ipv4.tcp_max_syn_backlog=88")
	s, err := n.Settings()
	if err != nil || s.Somaxconn != 77 || s.SYNBacklog != 88 {
		t.Errorf("%+v, %v", s, err)
	}
	if want := strings.TrimSpace(n.exec(t, "sysctl", "-n", "net.ipv4.tcp_syncookies")); strconv.Itoa(s.SYNCookies) != want {
		t.Errorf("tcp_syncookies is %d, sysctl says %s", s.SYNCookies, want)
	}
	if int64(s.DefaultTWBuckets) != limits.MaxTWBuckets && s.DefaultTWBuckets != 0 {
		t.Errorf("the default of the buckets is %d, a new namespace has %d", s.DefaultTWBuckets, limits.MaxTWBuckets)
	}
}
