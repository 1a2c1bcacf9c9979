package advice

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

// TestTheClientsWords: the cure is in the client's own words, and fits what usually listens
// on the port. Where nobody knows what the client is, it is in nobody's.
func TestTheClientsWords(t *testing.T) {
	const notWeb = "HTTP|http"
	for _, tt := range []struct {
		name, comm, exe, port string
		built                 *[]string // of a Go program, its modules
		none, small           string    // it keeps none, and it keeps too few: of 10
		not                   string    // what neither may say, by |
	}{
		{name: "nginx", comm: "nginx", exe: "/usr/sbin/nginx", port: "8080", none: "usually HTTP: nginx: `keepalive N`", small: "`keepalive 10` or more", not: "Go:"},
		{name: "HAProxy by its executable", comm: "worker", exe: "/usr/sbin/haproxy", port: "9999", none: "again: HAProxy: `http-reuse", small: "pool-max-conn 10"},
		{name: "Java to MySQL", comm: "java", port: "3306", none: "usually MySQL: Java: HikariCP", small: "maximumPoolSize and minimumIdle of 10", not: notWeb},
		{name: "Java to HTTPS", comm: "java", port: "443", none: "usually HTTPS: Java: one pooled HttpClient", small: "setMaxConnPerRoute(10)", not: "Hikari"},
		{name: "Java to Redis", comm: "java", port: "6379", none: "JedisPool", small: "setMaxIdle(10)", not: notWeb},
		{name: "Java to an unknown port", comm: "java", port: "9999", none: "Java: one pooled client object"},
		{name: "Python to PostgreSQL", comm: "gunicorn: worke", exe: "/usr/bin/python3.11", port: "5432", none: "usually PostgreSQL: Python: SQLAlchemy", small: "pool_size=10", not: notWeb},
		{name: "Python to HTTP", comm: "python3", port: "80", none: "requests.Session", small: "pool_maxsize=10", not: "SQLAlchemy"},
		{name: "PHP", comm: "php-fpm8.2", port: "3306", none: "pgbouncer", not: notWeb},
		{name: "ab", comm: "ab", port: "80", none: "usually HTTP: ab: -k"},
		{name: "a name that begins as one", comm: "abacus", port: "80", none: "usually HTTP: one client object for all requests", small: "limit of idle connections", not: "ab: |Go:|Python|Java"},
		{name: "redis-benchmark", comm: "redis-benchmark", port: "6379", none: "usually Redis: redis-benchmark: -k 1"},
		{name: "an unknown one to Redis", comm: "worker", port: "6379", none: "usually Redis: one client object per process", not: notWeb + "|Go|Java"},
		{name: "an unknown one", comm: "worker", exe: "/opt/shop/worker", port: "9999", none: "a pool, or keep-alive (what /opt/shop/worker is written in is not known", small: "limit of idle connections", not: notWeb + "|Go:|Java"},
		{name: "Go to HTTP", comm: "shop", exe: "/opt/shop", port: "8080", built: &[]string{}, none: "Go: one http.Client", small: "http.Transport.MaxIdleConnsPerHost = 10 (the default is 2)", not: "not known|sql"},
		{name: "Go to MySQL", comm: "shop", port: "3306", built: &[]string{"github.com/go-sql-driver/mysql"}, none: "one sql.DB", small: "sql.DB.SetMaxIdleConns(10) (the default is 2)", not: notWeb},
		{name: "Go to Redis, by redigo", comm: "shop", port: "6379", built: &[]string{"github.com/gomodule/redigo"}, none: "redis.Pool", small: "Pool.MaxIdle = 10", not: notWeb + "|go-redis"},
		{name: "Go to Redis, by go-redis", comm: "shop", port: "6379", built: &[]string{"github.com/redis/go-redis/v9"}, none: "go-redis", small: "PoolSize of 10", not: notWeb + "|redigo"},
		{name: "Go to an unknown port", comm: "shop", port: "7000", built: &[]string{}, none: "Go: one client object", small: "if it speaks HTTP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := Destination{Local: netip.MustParseAddr(here), Remote: netip.MustParseAddrPort("10.2.0.9:" + tt.port)}
			o := Contributor{Process: event.Proc{PID: 7, Comm: tt.comm, Who: &event.Who{Exe: tt.exe}}, PIDs: 1,
				Pool: Pool{Over: 9e9, Closed: 800, Brief: 800, Most: 10, Emptied: true}}
			p := &o.Pool
			if tt.built != nil {
				p.Go, p.Modules = true, *tt.built
			}
			none := d.reuseConnections(o)[0].Text
			p.Kept, p.Emptied = 2, false
			small := d.reuseConnections(o)[0].Text
			if !strings.Contains(none, tt.none) || !strings.Contains(small, tt.small) {
				t.Errorf("it keeps none: %s\nit keeps two: %s\nwant %q and %q", none, small, tt.none, tt.small)
			}
			if !strings.Contains(small, "let the client keep 10 connections") || strings.Contains(small, "{n}") {
				t.Errorf("it keeps two: %s", small)
			}
			for _, word := range strings.Split(tt.not, "|") {
				if word != "" && strings.Contains(none+small, word) {
					t.Errorf("it says %q: %s\n%s", word, none, small)
				}
			}
		})
	}
}
