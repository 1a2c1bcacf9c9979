package advice

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

// kind is what differs between services for a known client.
type kind uint8

const (
	other kind = iota
	web
	sql
	cache
)

// service is what usually listens on a port.
type service struct {
	name string
	how  string // its clients keep connections, where the client is not known
	kind kind
}

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
	5432:  {"PostgreSQL", sqlReuse + "; or pgbouncer in front of it", sql},
	6379:  {"Redis", "one client object per process, which keeps its connections; not one per command", cache},
	11211: {"memcached", "one client object per process, or persistent connections in PHP", other},
	27017: {"MongoDB", "one MongoClient per process: it is a pool", other},
	5672:  {"AMQP", "one connection per process and channels on it", other},
	9092:  {"Kafka", "one producer or consumer object per process, not one per message", other},
}

const (
	httpReuse = "one client object for all requests, with keep-alive, and each response read to its end"
	sqlReuse  = "one connection pool per process, which keeps its idle connections"
)

// words is how a client keeps connections. {n} stands for how many.
type words struct {
	reuse string // it keeps none
	size  string // it keeps too few; "" if there is nothing to set
}

// dialect is how one kind of client keeps connections, in its own words.
type dialect struct {
	names []string // of the executable or the process; one that ends in * is a prefix
	by    map[kind]words
}

// clients are the known ones; other stands for any kind of service.
var clients = []dialect{
	{[]string{"nginx"}, map[kind]words{other: {
		"nginx: `keepalive N` in the upstream, `proxy_http_version 1.1` and `proxy_set_header Connection \"\"` (the default in recent versions: check yours)",
		"nginx: `keepalive {n}` or more in the upstream, which counts the idle connections of each worker; " +
			"`keepalive_requests`, 1,000 by default, ends each connection after as many"}}},
	{[]string{"haproxy"}, map[kind]words{other: {
		"HAProxy: `http-reuse safe` or `always`, and no `option httpclose`; idle connections are pooled",
		"HAProxy: `pool-max-conn {n}` or more on the server line, or none"}}},
	{[]string{"envoy"}, map[kind]words{other: {reuse: "Envoy: max_requests_per_connection unset or high, and an idle timeout below the upstream's"}}},
	{[]string{"java"}, map[kind]words{
		other: {reuse: "Java: one pooled client object for all requests"},
		web: {"Java: one pooled HttpClient for all requests, bodies read to the end",
			"Java: room for {n} idle connections per host (Apache HttpClient: setMaxConnPerRoute({n}); OkHttp: ConnectionPool({n}, ...))"},
		sql:   {"Java: HikariCP or another pool", "Java, HikariCP: maximumPoolSize and minimumIdle of {n} or more"},
		cache: {"Java: one JedisPool or Lettuce client per process", "Java, Jedis: JedisPoolConfig.setMaxIdle({n}) (the default is 8)"}}},
	{[]string{"python*", "gunicorn*", "uwsgi*", "celery*"}, map[kind]words{
		other: {reuse: "Python: one client object per process"},
		web: {"Python: one requests.Session per process",
			"Python, requests: mount an HTTPAdapter(pool_maxsize={n}) (the default is 10)"},
		sql:   {"Python: SQLAlchemy's pool, or the psycopg pool", "Python, SQLAlchemy: create_engine(pool_size={n}) (the default is 5)"},
		cache: {reuse: "Python: one redis.Redis object per process"}}},
	{[]string{"node", "nodejs"}, map[kind]words{
		other: {reuse: "Node: one client object per process"},
		web:   {"Node: an Agent with keepAlive: true", "Node: an Agent with keepAlive: true and maxFreeSockets of {n} or more"},
		sql:   {"Node: the driver's pool", "Node: the driver's pool, with room for {n} idle connections (mysql2: maxIdle; pg: max)"}}},
	{[]string{"php*"}, map[kind]words{
		other: {reuse: "PHP: persistent connections"},
		sql: {reuse: "PHP: persistent connections, or ProxySQL or pgbouncer in front of php-fpm " +
			"(transaction mode breaks session state)"}}},
	{[]string{"redis-benchmark"}, map[kind]words{other: {reuse: "redis-benchmark: -k 1"}}},
	{[]string{"ab"}, map[kind]words{other: {reuse: "ab: -k"}}},
	{[]string{"wrk", "wrk2", "hey", "oha"}, map[kind]words{other: {reuse: "the load tester: do not ask for `Connection: close`, and leave keep-alive on"}}},
	{[]string{"curl"}, map[kind]words{other: {reuse: "curl: several URLs in one call share a connection; a long-running client is better"}}},
	{[]string{"mysql", "mariadb", "psql"}, map[kind]words{other: {reuse: "the command line: put many statements into one call; a long-running client is better"}}},
}

// goClient is what Go programs say, whatever their name.
var goClient = dialect{by: map[kind]words{
	other: {"Go: one client object for the whole program",
		"Go: room for {n} idle connections (http.Transport.MaxIdleConnsPerHost, if it speaks HTTP, and sql.DB.SetMaxIdleConns: the default of both is 2)"},
	web: {"Go: one http.Client for all requests, each response body read to its end and closed",
		"Go: http.Transport.MaxIdleConnsPerHost = {n} (the default is 2)"},
	sql:   {"Go: one sql.DB for the whole program", "Go: sql.DB.SetMaxIdleConns({n}) (the default is 2)"},
	cache: {reuse: "Go: one client object for the whole program"},
}}

// goModules are what Go programs say that are built with a module, of one kind of service.
var goModules = []struct {
	path string // its beginning
	kind kind
	words
}{
	{"github.com/gomodule/redigo", cache, words{"Go, redigo: one redis.Pool with MaxIdle above 0, its default", "Go, redigo: Pool.MaxIdle = {n}"}},
	{"github.com/redis/go-redis", cache, words{"Go, go-redis: one client for the whole program", "Go, go-redis: PoolSize of {n} or more, and MaxIdleConns unset or as many"}},
	{"github.com/valyala/fasthttp", web, words{"Go, fasthttp: one Client for all requests", "Go, fasthttp: MaxConnsPerHost of {n} or more, and a longer MaxIdleConnDuration"}},
	{"github.com/jackc/pgx", sql, words{"Go, pgx: one pgxpool.Pool for the whole program", "Go: sql.DB.SetMaxIdleConns({n}) (the default is 2); pgxpool: MaxConns of {n} or more, and a longer MaxConnIdleTime"}},
}

// wordsOf is how the program of o keeps connections to a service of the kind; they are empty
// if the client is not known.
func wordsOf(o *Contributor, k kind) words {
	for _, c := range clients {
		if slices.ContainsFunc(c.names, func(name string) bool { return isCalled(o.Process, name) }) {
			return c.words(k)
		}
	}
	if !o.Pool.Go {
		return words{}
	}
	for _, m := range goModules {
		if m.kind == k && slices.ContainsFunc(o.Pool.Modules, func(path string) bool { return strings.HasPrefix(path, m.path) }) {
			return m.words
		}
	}
	return goClient.words(k)
}

func (c *dialect) words(k kind) words {
	if w, ok := c.by[k]; ok {
		return w
	}
	return c.by[other]
}

func isCalled(p event.Proc, name string) bool {
	exe := ""
	if p.Who != nil {
		exe = path.Base(p.Who.Exe)
	}
	if prefix, ok := strings.CutSuffix(name, "*"); ok {
		return strings.HasPrefix(p.Comm, prefix) || strings.HasPrefix(exe, prefix)
	}
	return p.Comm == name || exe == name
}

// keepConnections is how the program of o keeps connections to a port.
func keepConnections(o *Contributor, port uint16) Remedy {
	p := &o.Pool
	s, known := services[port]
	text := "keep connections in the client and use them again"
	how := cmp.Or(wordsOf(o, s.kind).reuse, s.how, "a pool, or keep-alive")
	n, size := p.needs(), strings.ReplaceAll(wordsOf(o, s.kind).size, "{n}", fmt.Sprint(p.needs()))
	switch p.size() {
	case poolSmall:
		text = fmt.Sprintf("let the client keep %s connections, as many as it has at once in a burst", output.Count(uint64(n)))
		if o.PIDs > 1 && !p.Together {
			text = fmt.Sprintf("let each client process keep %s connections, as many as one has at once in a burst", output.Count(uint64(n)))
		}
		how = cmp.Or(size, "raise the limit of idle connections of its pool, and how long it keeps them")
	case poolNone, poolBusy:
		if n > 1 && size != "" {
			how += "; for as many as it has at once, " + size
		}
	}
	if known {
		text += fmt.Sprintf("; port %d is usually %s", port, s.name)
	}
	text += ": " + how
	if w := o.Process.Who; w != nil && w.Exe != "" && wordsOf(o, s.kind) == (words{}) {
		text += fmt.Sprintf(" (what %s is written in is not known; `twtrace explain TW201` names the settings of many clients)", w.Exe)
	}
	return Remedy{Text: text, Short: how}
}

// reuseConnections is the fix where connections of the program of o to d are too many.
func (d *Destination) reuseConnections(o Contributor) []Remedy {
	fix := []Remedy{keepConnections(&o, d.Remote.Port())}
	if n, of, most := o.Flow.closedThere(); most {
		server := Remedy{Text: fmt.Sprintf("the server closed %s of %s first: find out why. %s", output.Count(n), output.Count(of), whyServerCloses(o.Process, d.Remote.Port()))}
		if o.Pool.size() == poolSmall { // the client does keep connections
			fix = append([]Remedy{server}, fix...)
		} else {
			fix = append(fix, server)
		}
	} else {
		fix = append(fix, Remedy{Text: "keep the client's idle timeout below the server's, so that the server never closes a connection that the client is about to use"})
	}
	fix = append(fix, Remedy{Text: "or spread the load over more addresses or ports of the destination: each has a full range of local ports"})
	if d.Local == d.Remote.Addr() && !d.loopback() {
		fix = append(fix, Remedy{Text: "the destination is this host: connect to 127.0.0.1 or ::1, where the kernel reuses ports already (tcp_tw_reuse=2)"})
	}
	return fix
}

// webClients are those that speak HTTP, to whatever port.
var webClients = []string{"nginx", "haproxy", "envoy", "ab", "wrk", "wrk2", "hey", "oha", "curl"}

// whyServerCloses is what makes a server close first, by what usually listens on the port
// and who connects.
func whyServerCloses(client event.Proc, port uint16) string {
	s, known := services[port]
	if s.kind == web || !known && slices.ContainsFunc(webClients, func(name string) bool { return isCalled(client, name) }) {
		return "Either the client asks for it (`Connection: close`, HTTP/1.0), or the server limits a connection " +
			"(nginx: keepalive_requests and keepalive_timeout; Apache: KeepAlive and MaxKeepAliveRequests)"
	}
	return "It may limit how long a connection is idle, or how many requests it serves"
}
