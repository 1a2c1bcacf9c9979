package kernel

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Conntrack is the connection tracking of one network namespace: a table of its
// own beside TCP's, with its own limit and its own TIME_WAIT.
type Conntrack struct {
	Count uint64 // entries of this namespace
	Max   uint64 // net.netfilter.nf_conntrack_max
	// MaxIsHere says that this namespace can set the limit; all but the initial one
	// can only read it.
	MaxIsHere bool

	InsertFailed uint64 // entries not inserted: another had the tuple, or a chain was too long
	Drop         uint64 // packets dropped because the table was full and no entry could be evicted
	EarlyDrop    uint64 // entries evicted early to make room

	TimeWait    time.Duration // net.netfilter.nf_conntrack_tcp_timeout_time_wait
	Established time.Duration // net.netfilter.nf_conntrack_tcp_timeout_established
}

// Both show the network namespace of the thread that reads.
const (
	conntrackSysctls = "/proc/sys/net/netfilter/nf_conntrack_"
	conntrackStat    = "/proc/thread-self/net/stat/nf_conntrack"
)

// Conntrack reads the connection tracking of n. The error is fs.ErrNotExist if the
// kernel has none, or has not loaded it.
func (n NetNS) Conntrack() (Conntrack, error) {
	var c Conntrack
	err := n.Do(func() (err error) { c, err = readConntrack(conntrackSysctls, conntrackStat); return err })
	if err != nil {
		return Conntrack{}, fmt.Errorf("read conntrack of network namespace %s: %w", n, err)
	}
	return c, nil
}

// readConntrack reads the sysctls, whose paths start with sysctls, and the counters
// in the file stat, which some kernels do not have.
func readConntrack(sysctls, stat string) (Conntrack, error) {
	var c Conntrack
	var timeWait, established uint64
	for _, v := range []struct {
		name string
		to   *uint64
	}{
		{"count", &c.Count}, {"max", &c.Max},
		{"tcp_timeout_time_wait", &timeWait}, {"tcp_timeout_established", &established},
	} {
		b, err := os.ReadFile(sysctls + v.name)
		if err != nil {
			return c, err
		}
		if *v.to, err = strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64); err != nil {
			return c, fmt.Errorf("parse nf_conntrack_%s: %w", v.name, err)
		}
	}
	c.TimeWait, c.Established = time.Duration(timeWait)*time.Second, time.Duration(established)*time.Second
	st, err := os.Stat(sysctls + "max")
	if err != nil {
		return c, err
	}
	c.MaxIsHere = st.Mode()&0o200 != 0

	f, err := os.Open(stat)
	if errors.Is(err, fs.ErrNotExist) { // CONFIG_NF_CONNTRACK_PROCFS
		return c, nil
	}
	if err != nil {
		return c, err
	}
	defer f.Close()
	return c, parseConntrackStat(f, &c)
}

// parseConntrackStat adds up the counters of all CPUs: one line of names, and one of
// hexadecimal numbers for each CPU. Kernels differ in which counters they have.
func parseConntrackStat(r io.Reader, c *Conntrack) error {
	to := map[string]*uint64{"insert_failed": &c.InsertFailed, "drop": &c.Drop, "early_drop": &c.EarlyDrop}
	lines := bufio.NewScanner(r)
	if !lines.Scan() {
		return fmt.Errorf("stat/nf_conntrack is empty: %w", errors.Join(io.ErrUnexpectedEOF, lines.Err()))
	}
	names := strings.Fields(lines.Text())
	if !slices.Contains(names, "insert_failed") {
		return fmt.Errorf("stat/nf_conntrack has no insert_failed among %q", names)
	}
	for lines.Scan() {
		values := strings.Fields(lines.Text())
		if len(values) != len(names) {
			return fmt.Errorf("stat/nf_conntrack has %d names and %d values", len(names), len(values))
		}
		for i, name := range names {
			if p, ok := to[name]; ok {
				v, err := strconv.ParseUint(values[i], 16, 64)
				if err != nil {
					return fmt.Errorf("stat/nf_conntrack %s: %w", name, err)
				}
				*p += v
			}
		}
	}
	return lines.Err()
}

// Numbers of ctnetlink (include/uapi/linux/netfilter/nfnetlink_conntrack.h).
const (
	ctNew        = unix.NFNL_SUBSYS_CTNETLINK << 8   // IPCTNL_MSG_CT_NEW
	ctGet        = unix.NFNL_SUBSYS_CTNETLINK<<8 | 1 // IPCTNL_MSG_CT_GET
	nfGenBytes   = 4                                 // struct nfgenmsg
	ctaProtoInfo = 4                                 // CTA_PROTOINFO
	ctaTCP       = 1                                 // CTA_PROTOINFO_TCP
	ctaTCPState  = 1                                 // CTA_PROTOINFO_TCP_STATE
)

// conntrackStates are the values of enum tcp_conntrack, named as conntrack(8) does.
var conntrackStates = [...]string{"NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT",
	"LAST_ACK", "TIME_WAIT", "CLOSE", "SYN_SENT2"}

// ConntrackStates counts the entries of n by TCP state; those of other protocols
// count as "other". It reads the whole table, and needs CAP_NET_ADMIN.
func (n NetNS) ConntrackStates() (map[string]uint64, error) {
	var conn *netlink.Conn
	err := n.Do(func() (err error) {
		conn, err = netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{MessageBufferSize: recvBytes})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open ctnetlink in network namespace %s: %w", n, err)
	}
	defer conn.Close()
	states, err := dumpConntrack(conn)
	if err != nil {
		return nil, fmt.Errorf("dump conntrack of network namespace %s: %w", n, err)
	}
	return states, nil
}

func dumpConntrack(conn *netlink.Conn) (map[string]uint64, error) {
	_, err := conn.Send(netlink.Message{
		Header: netlink.Header{Type: ctGet, Flags: netlink.Request | netlink.Dump},
		Data:   make([]byte, nfGenBytes), // of any family
	})
	if err != nil {
		return nil, err
	}
	states := make(map[string]uint64)
	for m, err := range conn.ReceiveIter() {
		if err != nil {
			return nil, err
		}
		if m.Header.Type != ctNew || len(m.Data) < nfGenBytes {
			continue
		}
		state, err := parseConntrackState(m.Data[nfGenBytes:])
		if err != nil {
			return nil, err
		}
		states[state]++
	}
	return states, nil
}

// parseConntrackState returns the state among the attributes of an entry.
func parseConntrackState(b []byte) (string, error) {
	for _, kind := range []uint16{ctaProtoInfo, ctaTCP, ctaTCPState} {
		attrs, err := netlink.NewAttributeDecoder(b)
		if err != nil {
			return "", err
		}
		if !seek(attrs, kind) {
			return "other", attrs.Err()
		}
		b = attrs.Bytes()
	}
	if len(b) != 1 {
		return "", fmt.Errorf("a conntrack state of %d bytes", len(b))
	}
	return conntrackState(b[0]), nil
}

// seek advances to the next attribute of that type, and reports whether there is one.
func seek(attrs *netlink.AttributeDecoder, kind uint16) bool {
	for attrs.Next() {
		if attrs.Type() == kind {
			return true
		}
	}
	return false
}

func conntrackState(n uint8) string {
	if int(n) < len(conntrackStates) {
		return conntrackStates[n]
	}
	return strconv.Itoa(int(n))
}
