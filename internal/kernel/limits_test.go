package kernel

import (
	"errors"
	"io/fs"
	"maps"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// sysctls is net.ipv4 as a 6.18 has it; older kernels lack some.
func sysctls() map[string]string {
	return map[string]string{
		"ip_local_port_range":     "32768\t60999\n",
		"ip_local_reserved_ports": "\n",
		"tcp_max_tw_buckets":      "131072\n",
		"tcp_tw_reuse":            "2\n",
		"tcp_tw_reuse_delay":      "1000\n",
		"tcp_fin_timeout":         "60\n",
		"tcp_timestamps":          "1\n",
		"tcp_rfc1337":             "0\n",

		"ip_unprivileged_port_start": "1024\n",
	}
}

func parseFrom(m map[string]string) (Limits, error) {
	return parseLimits(func(name string) (string, error) {
		s, ok := m[name]
		if !ok {
			return "", &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		return s, nil
	})
}

func TestParseLimits(t *testing.T) {
	base := Limits{PortLow: 32768, PortHigh: 60999, MaxTWBuckets: 131072, TWReuse: 2,
		TWReuseDelayMS: 1000, FinTimeout: time.Minute, Timestamps: 1, UnprivPortStart: 1024}
	for _, tt := range []struct {
		name   string
		change func(map[string]string, *Limits)
		usable int
	}{
		{"6.18", func(map[string]string, *Limits) {}, 28232},
		{"before 6.14", func(m map[string]string, l *Limits) {
			delete(m, "tcp_tw_reuse_delay")
			l.TWReuseDelayMS = -1
		}, 28232},
		{"reserved ports, some of them outside", func(m map[string]string, l *Limits) {
			m["ip_local_reserved_ports"] = "8080,32760-32769,40000,60999-61005\n"
			l.ReservedPorts, l.Reserved = "8080,32760-32769,40000,60999-61005", 4
		}, 28228},
		{"one port", func(m map[string]string, l *Limits) {
			m["ip_local_port_range"] = "5000\t5000\n"
			l.PortLow, l.PortHigh = 5000, 5000
		}, 1},
		{"all ports", func(m map[string]string, l *Limits) {
			m["ip_local_port_range"] = "1\t65535\n"
			l.PortLow, l.PortHigh = 1, 65535
		}, 65535},
		{"negative buckets", func(m map[string]string, l *Limits) {
			m["tcp_max_tw_buckets"] = "-1\n"
			l.MaxTWBuckets = -1
		}, 28232},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, want := sysctls(), base
			tt.change(m, &want)
			got, err := parseFrom(m)
			if err != nil || got != want {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
			}
			if got.UsablePorts() != tt.usable {
				t.Errorf("%d usable ports, want %d", got.UsablePorts(), tt.usable)
			}
		})
	}
}

func TestParseLimitsErrors(t *testing.T) {
	for name, bad := range map[string][]string{
		"ip_local_port_range":     {"", "1", "1 2 3", "x 5", "5 x", "60999 32768", "1 65536"},
		"ip_local_reserved_ports": {"x", "1-x", "70000"},
		"tcp_max_tw_buckets":      {"", "many"},
		"tcp_tw_reuse_delay":      {"soon"},
	} {
		for _, value := range bad {
			m := sysctls()
			m[name] = value
			if _, err := parseFrom(m); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s = %q: error %v does not name it", name, value, err)
			}
		}
	}
	for name := range sysctls() {
		m := sysctls()
		delete(m, name)
		_, err := parseFrom(m)
		if optional := name == "tcp_tw_reuse_delay"; optional != (err == nil) || err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

func TestEphemeral(t *testing.T) {
	l := Limits{PortLow: 1000, PortHigh: 2000, Reserved: 101, ReservedPorts: "1500-1600"}
	for port, want := range map[uint16]bool{999: false, 1000: true, 1499: true, 1500: false, 1600: false, 2000: true, 2001: false} {
		if got := l.Ephemeral(port); got != want {
			t.Errorf("Ephemeral(%d) = %v", port, got)
		}
	}
}

func TestWithRange(t *testing.T) {
	l := Limits{PortLow: 40000, PortHigh: 40099, ReservedPorts: "8080,40010-40019"}
	for _, tt := range []struct {
		low, high uint16
		usable    int
	}{{40000, 40099, 90}, {1024, 65535, 64501}, {50000, 50009, 10}} {
		if got := l.WithRange(tt.low, tt.high); got.UsablePorts() != tt.usable || got.PortLow != tt.low {
			t.Errorf("%d to %d: %d usable ports, want %d", tt.low, tt.high, got.UsablePorts(), tt.usable)
		}
	}
}

// TestLimitsOfAnotherNamespace changes every limit in a namespace and compares
// with what sysctl(8) prints there.
func TestLimitsOfAnotherNamespace(t *testing.T) {
	n := newNetNS(t)
	for name, value := range map[string]string{
		"ip_local_port_range": "40000 40099", "ip_local_reserved_ports": "40010-40019,50000",
		"tcp_max_tw_buckets": "77", "tcp_tw_reuse": "1", "tcp_fin_timeout": "7",
		"tcp_timestamps": "0", "tcp_rfc1337": "1", "ip_unprivileged_port_start": "2000",
	} {
		n.sysctl(t, name, value)
	}
	l, err := n.Limits()
	if err != nil {
		t.Fatal(err)
	}
	if l.UsablePorts() != 90 || l.MaxTWBuckets != 77 || l.FinTimeout != 7*time.Second {
		t.Errorf("limits are not those set: %+v", l)
	}
	printed := map[string]string{}
	for name := range l.Map() {
		out := n.exec(t, "sysctl", "-n", name)
		printed[name] = strings.Join(strings.Fields(out), " ")
	}
	if !maps.Equal(l.Map(), printed) {
		t.Errorf("Map   %v\nsysctl %v", l.Map(), printed)
	}
	_, none := exec.Command("sysctl", "-n", "net.ipv4.tcp_tw_reuse_delay").Output()
	if (none == nil) != (l.TWReuseDelayMS >= 0) {
		t.Errorf("tcp_tw_reuse_delay is %d, sysctl: %v", l.TWReuseDelayMS, none)
	}
}
