package kernel

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// Counters are the kernel's counters of one network namespace. A counter that a
// kernel does not have is 0.
type Counters struct {
	// TW and TWKilled together grow by one at every birth of a mini-socket, in
	// TIME_WAIT or parked in FIN_WAIT2; before 5.18 when it expires instead (see
	// TimeWaitCountedAtBirth). TWKilled counts those with a timeout of at most 4 s;
	// nothing killed them.
	TW, TWKilled uint64
	TWRecycled   uint64 // mini-sockets whose port connect() took over
	TWOverflow   uint64 // TCPTimeWaitOverflow: births refused, by the bucket limit or without memory

	PAWSActive, PAWSEstab, PAWSTimewait uint64 // segments refused because of their timestamps
	ACKSkippedTimeWait                  uint64 // ACKs that TIME_WAIT did not send because of the rate limit
	AbortOnData, AbortOnClose           uint64 // resets sent because data was unread, or arrived after close
	AbortOnLinger, AbortOnTimeout       uint64
	ListenOverflows, ListenDrops        uint64
	SyncookiesSent                      uint64
	ReqQFullDrop, ReqQFullCookies       uint64 // SYNs beyond tcp_max_syn_backlog: dropped, or answered with a cookie
	SYNRetrans                          uint64 // SYNs and SYN-ACKs sent again
	MemoryPressures                     uint64 // times that TCP came under memory pressure (tcp_mem)
	OutNoRoutes                         uint64 // packets with no route to their destination, of both families

	ActiveOpens, PassiveOpens uint64 // connect() calls that sent a SYN; connections accepted
	AttemptFails, EstabResets uint64
	OutRsts                   uint64

	// TimeWait counts the mini-sockets alive, of both families and both substates.
	TimeWait uint64
	// InUse counts full sockets of both families: the kernel keeps IPv4 in
	// sockstat and IPv6 in sockstat6, and InUse is their sum.
	InUse uint64
	// Orphans and Alloc are of the whole host, not of the namespace.
	Orphans, Alloc uint64
}

// Counters reads the counters of n. If a process in n is known, it does not join n:
// it is cheap then, and works for any user.
func (n NetNS) Counters() (Counters, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	c, err := Counters{}, error(nil)
	if n.holds(threadNS) {
		c, err = readCounters("/proc/thread-self/net/")
	} else if dir := fmt.Sprintf("/proc/%d/", n.PID); n.PID != 0 && n.holds(dir+"ns/net") {
		c, err = readCounters(dir + "net/")
	} else {
		err = n.Do(func() (err error) {
			c, err = readCounters("/proc/thread-self/net/")
			return err
		})
	}
	if err != nil {
		return Counters{}, fmt.Errorf("read counters of network namespace %s: %w", n, err)
	}
	return c, nil
}

// holds reports whether the namespace file at path is n.
func (n NetNS) holds(path string) bool {
	inum, err := nsInum(path)
	return err == nil && inum == n.Inum
}

// readCounters reads the files below dir, which ends in a slash.
func readCounters(dir string) (Counters, error) {
	var c Counters
	for _, file := range []struct {
		name     string
		parse    func(io.Reader, *Counters) error
		optional bool
	}{
		{"netstat", parseNetstat, false},
		{"snmp", parseSNMP, false},
		{"sockstat", parseSockstat, false},
		{"sockstat6", parseSockstat, true}, // absent with ipv6.disable=1
		{"snmp6", parseSNMP6, true},        // likewise
	} {
		f, err := os.Open(dir + file.name)
		if os.IsNotExist(err) && file.optional {
			continue
		}
		if err != nil {
			return c, err
		}
		err = file.parse(f, &c)
		f.Close()
		if err != nil {
			return c, fmt.Errorf("parse %s%s: %w", dir, file.name, err)
		}
	}
	return c, nil
}

// parseNetstat reads the TcpExt counters of /proc/net/netstat into c.
func parseNetstat(r io.Reader, c *Counters) error {
	return parsePairs(r, "TcpExt:", "TW", map[string]*uint64{
		"TW": &c.TW, "TWKilled": &c.TWKilled, "TWRecycled": &c.TWRecycled,
		"TCPTimeWaitOverflow": &c.TWOverflow,
		"PAWSActive":          &c.PAWSActive, "PAWSEstab": &c.PAWSEstab, "PAWSTimewait": &c.PAWSTimewait,
		"TCPACKSkippedTimeWait": &c.ACKSkippedTimeWait,
		"TCPAbortOnData":        &c.AbortOnData, "TCPAbortOnClose": &c.AbortOnClose,
		"TCPAbortOnLinger": &c.AbortOnLinger, "TCPAbortOnTimeout": &c.AbortOnTimeout,
		"ListenOverflows": &c.ListenOverflows, "ListenDrops": &c.ListenDrops,
		"SyncookiesSent": &c.SyncookiesSent, "TCPReqQFullDrop": &c.ReqQFullDrop, "TCPReqQFullDoCookies": &c.ReqQFullCookies,
		"TCPSynRetrans": &c.SYNRetrans, "TCPMemoryPressures": &c.MemoryPressures,
	})
}

// parseSNMP reads the Ip and Tcp counters of /proc/net/snmp into c.
func parseSNMP(r io.Reader, c *Counters) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := parsePairs(bytes.NewReader(text), "Ip:", "OutNoRoutes", map[string]*uint64{"OutNoRoutes": &c.OutNoRoutes}); err != nil {
		return err
	}
	return parsePairs(bytes.NewReader(text), "Tcp:", "ActiveOpens", map[string]*uint64{
		"ActiveOpens": &c.ActiveOpens, "PassiveOpens": &c.PassiveOpens,
		"AttemptFails": &c.AttemptFails, "EstabResets": &c.EstabResets, "OutRsts": &c.OutRsts,
	})
}

// parseSNMP6 adds the counter of /proc/net/snmp6 to c: a name and a value on each line.
func parseSNMP6(r io.Reader, c *Counters) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) != 2 || f[0] != "Ip6OutNoRoutes" {
			continue
		}
		v, err := strconv.ParseUint(f[1], 10, 64)
		if err != nil {
			return fmt.Errorf("counter %s: %w", f[0], err)
		}
		c.OutNoRoutes += v
		break
	}
	return lines.Err()
}

// parsePairs reads the two lines that start with prefix, names and then values,
// into the counters named in to. Kernels differ in which counters they have, and in
// which order; must is one that all have.
func parsePairs(r io.Reader, prefix, must string, to map[string]*uint64) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	var names []string
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) == 0 || f[0] != prefix {
			continue
		}
		if names == nil {
			names = f
			continue
		}
		if len(f) != len(names) {
			return fmt.Errorf("%s has %d names and %d values", prefix, len(names)-1, len(f)-1)
		}
		found := false
		for i, name := range names {
			p, ok := to[name]
			if !ok {
				continue
			}
			v, err := strconv.ParseUint(f[i], 10, 64)
			if err != nil {
				return fmt.Errorf("counter %s: %w", name, err)
			}
			*p = v
			found = found || name == must
		}
		if !found {
			return fmt.Errorf("%s has no counter %s", prefix, must)
		}
		return nil
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return fmt.Errorf("no %s lines", prefix)
}

// parseSockstat adds the TCP line of /proc/net/sockstat, or the TCP6 line of
// sockstat6, to c:
//
//	TCP: inuse 12 orphan 0 tw 4 alloc 14 mem 3
//	TCP6: inuse 2
func parseSockstat(r io.Reader, c *Counters) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) == 0 || f[0] != "TCP:" && f[0] != "TCP6:" {
			continue
		}
		to := map[string]*uint64{"inuse": &c.InUse, "tw": &c.TimeWait, "orphan": &c.Orphans, "alloc": &c.Alloc}
		for i := 1; i+1 < len(f); i += 2 {
			p, ok := to[f[i]]
			if !ok {
				continue
			}
			v, err := strconv.ParseUint(f[i+1], 10, 64)
			if err != nil {
				return fmt.Errorf("%s %s: %w", f[0], f[i], err)
			}
			*p += v
		}
		return nil
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return fmt.Errorf("no TCP line")
}
