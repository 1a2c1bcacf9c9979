package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// Settings are sysctls of one network namespace that limit no port and no TIME_WAIT
// socket, and that people change because of them.
type Settings struct {
	TWRecycle  int // net.ipv4.tcp_tw_recycle; -1 from 4.12 on, which has none
	Somaxconn  int // net.core.somaxconn: the most that listen() gives a backlog
	SYNBacklog int // net.ipv4.tcp_max_syn_backlog
	SYNCookies int // net.ipv4.tcp_syncookies
	// DefaultTWBuckets is what tcp_max_tw_buckets was when the namespace was made:
	// half of its hash buckets. 0 before 6.1, which does not tell how many these are.
	DefaultTWBuckets uint64
}

// Settings reads the settings of n, as Limits does.
func (n NetNS) Settings() (Settings, error) {
	var s Settings
	err := n.Do(func() (err error) {
		s, err = parseSettings(func(name string) (string, error) {
			b, err := os.ReadFile("/proc/sys/net/" + name)
			return string(b), err
		})
		return err
	})
	if err != nil {
		return Settings{}, fmt.Errorf("read settings of network namespace %s: %w", n, err)
	}
	return s, nil
}

// parseSettings makes Settings of the sysctls below net that read returns.
func parseSettings(read func(name string) (string, error)) (Settings, error) {
	s := Settings{TWRecycle: -1}
	hash := 0
	for _, v := range []struct {
		name     string
		to       *int
		optional bool
	}{
		{"ipv4/tcp_tw_recycle", &s.TWRecycle, true},
		{"core/somaxconn", &s.Somaxconn, false},
		{"ipv4/tcp_max_syn_backlog", &s.SYNBacklog, false},
		{"ipv4/tcp_syncookies", &s.SYNCookies, true}, // CONFIG_SYN_COOKIES
		{"ipv4/tcp_ehash_entries", &hash, true},
	} {
		text, err := read(v.name)
		if v.optional && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return s, err
		}
		if *v.to, err = strconv.Atoi(strings.TrimSpace(text)); err != nil {
			return s, fmt.Errorf("parse %s: %w", v.name, err)
		}
	}
	// Negative: the namespace shares the table of the initial one.
	s.DefaultTWBuckets = uint64(max(hash, -hash) / 2)
	return s, nil
}
