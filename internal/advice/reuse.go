package advice

import (
	"fmt"
	"path"
	"strings"

	"github.com/twtrace/twtrace/internal/event"
)

// service is what usually listens on a port.
type service struct {
	name string
	how  string // its clients reuse connections, if it is not known which one it is
	kind kind
}

// kind tells services apart for a client that is known.
type kind uint8

const (
	other kind = iota
	web
	sql
)

// services are what usually listens on a port, and how its clients reuse connections.
var services = map[uint16]service{
	80:    {"HTTP", httpReuse, web},
	443:   {"HTTPS", httpReuse, web},
	3000:  {"HTTP", httpReuse, web},
	8000:  {"HTTP", httpReuse, web},
	8080:  {"HTTP", httpReuse, web},
	8443:  {"HTTPS", httpReuse, web},
	9200:  {"Elasticsearch", httpReuse, web},
	3306:  {"MySQL", sqlReuse, sql},
	5432:  {"PostgreSQL", sqlReuse + "; or a pgbouncer in front", sql},
	6379:  {"Redis", "one client object per process, which keeps its connections; not one per command", other},
	11211: {"memcached", "one client object per process, or persistent connections in PHP", other},
	27017: {"MongoDB", "one MongoClient per process: it is a pool", other},
	5672:  {"AMQP", "one connection per process and channels on it", other},
	9092:  {"Kafka", "one producer or consumer object per process, not one per message", other},
}

const (
	httpReuse = "one client object for all requests (Go: one http.Client, bodies read and closed, MaxIdleConnsPerHost above 2; " +
		"Python: requests.Session; Node: an Agent with keepAlive; Java: a pooled HttpClient); " +
		"nginx: keepalive in upstream, proxy_http_version 1.1 and an empty Connection header; HAProxy: http-reuse; ab: -k"
	sqlReuse = "a pool (Go: sql.DB with SetMaxIdleConns; Java: HikariCP; Python: SQLAlchemy; PHP: persistent connections)"
)

// clients are how some reuse connections, in their own words: of any service, or of
// the web and of databases.
var clients = []struct {
	names         []string // of the executable or the process; one that ends in * is the begin of it
	any, web, sql string
}{
	{names: []string{"nginx"}, any: "nginx: `keepalive N` in the upstream, `proxy_http_version 1.1` and `proxy_set_header Connection \"\"` " +
		"(recent versions do it by default: look at the version)"},
	{names: []string{"haproxy"}, any: "HAProxy: `http-reuse safe` or `always`, and no `option httpclose`; idle connections are pooled"},
	{names: []string{"envoy"}, any: "Envoy: max_requests_per_connection unset or high, and an idle timeout below the upstream's"},
	{names: []string{"java"}, any: "Java: one pooled client object for all requests", web: "Java: one pooled HttpClient for all requests, bodies read to the end",
		sql: "Java: HikariCP or another pool"},
	{names: []string{"python*", "gunicorn*", "uwsgi*", "celery*"}, any: "Python: one client object per process", web: "Python: one requests.Session per process",
		sql: "Python: SQLAlchemy's pool, or the psycopg pool"},
	{names: []string{"node", "nodejs"}, any: "Node: one client object per process", web: "Node: an Agent with keepAlive: true", sql: "Node: the driver's pool"},
	{names: []string{"php*"}, any: "PHP: persistent connections", sql: "PHP: persistent connections, or ProxySQL or pgbouncer in front of php-fpm " +
		"(transaction mode breaks session state)"},
	{names: []string{"redis-benchmark"}, any: "redis-benchmark: -k 1"},
	{names: []string{"ab"}, any: "ab: -k"},
	{names: []string{"wrk", "wrk2", "hey", "oha"}, any: "the load tester: do not ask for `Connection: close`, nor switch keep-alive off"},
	{names: []string{"curl"}, any: "curl: several URLs in one call share a connection; better a client that stays"},
	{names: []string{"mysql", "mariadb", "psql"}, any: "the command line: many statements in one call; better a client that stays"},
}

// inWords is how the client reuses connections to a service of the kind, "" if that is
// not known of it.
func inWords(p event.Proc, k kind) string {
	for _, c := range clients {
		for _, name := range c.names {
			if !isCalled(p, name) {
				continue
			}
			switch {
			case k == web && c.web != "":
				return c.web
			case k == sql && c.sql != "":
				return c.sql
			}
			return c.any
		}
	}
	return ""
}

func isCalled(p event.Proc, name string) bool {
	exe := ""
	if p.Who != nil {
		exe = path.Base(p.Who.Exe)
	}
	if begin, ok := strings.CutSuffix(name, "*"); ok {
		return strings.HasPrefix(p.Comm, begin) || strings.HasPrefix(exe, begin)
	}
	return p.Comm == name || exe == name
}

// reuseConnections is the cure of TW101.
func reuseConnections(d Destination) []Remedy {
	text := "reuse connections in the client"
	s, known := services[d.Remote.Port()]
	if known {
		text += fmt.Sprintf("; port %d is usually %s", d.Remote.Port(), s.name)
	}
	switch how := inWords(d.Owner, s.kind); {
	case how != "":
		text += ": " + how
	case known:
		text += ": " + s.how
	default:
		text += ": a pool, or keep-alive"
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
