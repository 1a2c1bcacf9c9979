package record

import (
	"net/netip"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// busy is the nth of the records of a busy host: each connection has four, two of
// either end, and there are 2,500 destinations.
func busy(i int, client, server *event.Who) event.Event {
	e := nth(i)
	c := i / 4
	e.Time = t0.Add(time.Duration(i) * 28 * time.Microsecond).UnixNano()
	e.Cookie = uint64(5000000 + c*2 + i%2)
	e.Remote = at([4]byte{127, 0, 1, byte(c % 50)}, 7000+c/50%50)
	e.Local = at([4]byte{127, 0, 0, 1}, 32768+c*7919%28000)
	e.Process.Who, e.Opener.Who, e.CloseProc.Who = client, client, client
	e.InState = int64(1000 + i*7919%9001)
	if i%2 == 1 {
		e.Local, e.Remote, e.Role = e.Remote, e.Local, event.Server
		e.Process, e.Opener = event.Proc{PID: 811, Comm: "postgres", Who: server}, event.Proc{}
		e.Owner, e.CloseProc = event.ByListen, event.Proc{}
	}
	if i%4 < 2 {
		e.Kind, e.Reason, e.Old, e.New, e.Life = event.Open, event.ReasonNone, event.SynSent, event.Established, 0
		e.Closer, e.CloseProc, e.Stamps = event.SideNone, event.Proc{}, event.Unknown
	} else if i%4 == 3 {
		e.Kind, e.Reason, e.Old, e.New, e.Closer = event.Close, event.PassiveClose, event.LastAck, event.Closed, event.RemoteSide
		e.CloseProc, e.Stamps = e.Process, event.Unknown
	}
	return e
}

// manyBusy are 20,000 of them.
func manyBusy() []event.Event {
	client := &event.Who{Start: 84778, HasUID: true, PPID: 977, PComm: "bash", Exe: "/app/checkout", Cgroup: "/system.slice/shop.service", Unit: "shop.service"}
	server := &event.Who{Start: 5150, HasUID: true, UID: 105, PPID: 1, PComm: "systemd", Exe: "/usr/lib/postgresql/bin/postgres", Cgroup: "/system.slice/postgresql.service"}
	all := make([]event.Event, 20000)
	for i := range all {
		all[i] = busy(i, client, server)
	}
	return all
}

func at(addr [4]byte, port int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4(addr), uint16(port))
}
