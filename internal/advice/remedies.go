package advice

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twtrace/twtrace/internal/output"
)

// sysctl returns the command that makes settings, "name=value" each, in the
// namespace of f. One command makes them in the order given.
func (f *Facts) sysctl(settings ...string) string {
	return f.Enter + "sysctl -w net.ipv4." + strings.Join(settings, " net.ipv4.")
}

// portRemedies are what gives d ports within a minute.
func portRemedies(f Facts, d Destination, r reuse) []Remedy {
	var now []Remedy
	if r == reuseOff {
		value, covers := "1", "if the destination uses TCP timestamps, which cannot be seen here"
		if d.Begun > 0 {
			covers = d.stamped() + " of those that began of late use TCP timestamps, and only such can be"
		}
		if d.loopback() {
			value, covers = "2", "on loopback only"
		}
		now = append(now, Remedy{
			Text:    "let connect() take over ports in TIME_WAIT, " + covers,
			Command: f.sysctl("tcp_tw_reuse=" + value),
			Undo:    f.sysctl("tcp_tw_reuse=" + strconv.Itoa(f.Limits.TWReuse)),
			Risk:    "behind IPVS, NAT or conntrack a port that comes back early can have its connection delayed or reset",
		})
	}
	if w, ok := widerRange(f); ok {
		now = append(now, w)
	}
	return append(now, Remedy{Text: "connect from another source address too: each has ports of its own to this destination"})
}

// widerRange is the remedy that gives every destination more ports. Ports that
// somebody listens on now are reserved first, so that connect() cannot take one
// while its server restarts.
func widerRange(f Facts) (Remedy, bool) {
	wide := f.Limits.WithRange(uint16(max(1024, f.Limits.UnprivPortStart)), 65535)
	listed := f.Limits.ReservedPorts
	var add []uint16
	for _, l := range f.Listeners {
		if p := l.Local.Port(); wide.Ephemeral(p) && !slices.Contains(add, p) {
			add = append(add, p)
		}
	}
	slices.Sort(add)
	gain := wide.UsablePorts() - len(add) - f.Limits.UsablePorts()
	if gain*10 < f.Limits.UsablePorts() {
		return Remedy{}, false // it is about as wide as it can be
	}
	settings := []string{fmt.Sprintf(`ip_local_port_range="%d %d"`, wide.PortLow, wide.PortHigh)}
	undo := []string{fmt.Sprintf(`ip_local_port_range="%d %d"`, f.Limits.PortLow, f.Limits.PortHigh)}
	if len(add) > 0 {
		for _, p := range add {
			if listed != "" {
				listed += ","
			}
			listed += strconv.Itoa(int(p))
		}
		settings = append([]string{"ip_local_reserved_ports=" + listed}, settings...)
		undo = append(undo, "ip_local_reserved_ports="+f.Limits.ReservedPorts)
	}
	return Remedy{
		Text:    fmt.Sprintf("widen the port range, %s ports more for every destination", output.Count(uint64(gain))),
		Command: f.sysctl(settings...),
		Undo:    f.sysctl(undo...),
		Risk:    "a server that is not running now may find its port taken when it starts: reserve that port as well",
	}, true
}

// services are what usually listens on a port, and how its clients reuse connections.
var services = map[uint16]struct{ name, how string }{
	80:    {"HTTP", httpReuse},
	443:   {"HTTPS", httpReuse},
	3000:  {"HTTP", httpReuse},
	8000:  {"HTTP", httpReuse},
	8080:  {"HTTP", httpReuse},
	8443:  {"HTTPS", httpReuse},
	9200:  {"Elasticsearch", httpReuse},
	3306:  {"MySQL", sqlReuse},
	5432:  {"PostgreSQL", sqlReuse + "; or a pgbouncer in front"},
	6379:  {"Redis", "one client object per process, which keeps its connections; not one per command"},
	11211: {"memcached", "one client object per process, or persistent connections in PHP"},
	27017: {"MongoDB", "one MongoClient per process: it is a pool"},
	5672:  {"AMQP", "one connection per process and channels on it"},
	9092:  {"Kafka", "one producer or consumer object per process, not one per message"},
}

const (
	httpReuse = "one client object for all requests (Go: one http.Client, bodies read and closed, MaxIdleConnsPerHost above 2; " +
		"Python: requests.Session; Node: an Agent with keepAlive; Java: a pooled HttpClient); " +
		"nginx: keepalive in upstream, proxy_http_version 1.1 and an empty Connection header; HAProxy: http-reuse; ab: -k"
	sqlReuse = "a pool (Go: sql.DB with SetMaxIdleConns; Java: HikariCP; Python: SQLAlchemy; PHP: persistent connections)"
)

// reuseConnections is the cure of TW101.
func reuseConnections(d Destination) []Remedy {
	text := "reuse connections in the client: a pool, or keep-alive"
	if s, ok := services[d.Remote.Port()]; ok {
		text = fmt.Sprintf("reuse connections in the client; port %d is usually %s: %s", d.Remote.Port(), s.name, s.how)
	}
	fix := []Remedy{
		{Text: text},
		{Text: "keep the client's idle timeout below the server's, so that connections are not closed under it"},
		{Text: "or more addresses or ports of the destination: each has all local ports to itself"},
	}
	if d.Local == d.Remote.Addr() && !d.loopback() {
		fix = append(fix, Remedy{Text: "the destination is this host: towards 127.0.0.1 or ::1 the ports would be reused already (tcp_tw_reuse=2)"})
	}
	return fix
}
