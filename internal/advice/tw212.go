package advice

import (
	"cmp"
	"fmt"
	"net/netip"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

var tw212 = rule{id: "TW212", title: "idle timeouts of client and server race", find: idleTimeouts}

const (
	// idleFew is how many connections must have been reset: one or two may be a restart.
	idleFew = 3
	// idleShare is how many of all must be: fewer are within what retries are for.
	idleShare = 0.01
	// idleSpread is how far apart idle times are that are one timeout.
	idleSpread = 1.5
)

// idleTimeouts is TW212.
func idleTimeouts(f Facts) []Finding {
	var found []Finding
	for _, r := range f.Traffic.IdleResets {
		if r.N < idleFew || r.N > r.Of || r.Idle <= 0 || float64(r.N) < idleShare*float64(r.Of) || len(found) == maxFindings {
			continue
		}
		found = append(found, r.finding(&f))
	}
	return found
}

func (r *IdleReset) finding(f *Facts) Finding {
	client, server := "clients elsewhere", "the server at "+r.Server.String()
	switch {
	case r.Wrote.Known():
		client = many(r.Wrote, r.PIDs, false)
	case r.Here:
		client = "clients on this host whose process is not known"
	}
	if r.Closed.Known() {
		server = named(r.Closed)
	}
	after := r.after()
	x := Finding{
		Severity: event.Warn,
		Short: fmt.Sprintf("%s of the connections to %s were reset: the server had closed them after %s idle, and the client used them",
			output.Percent(r.N, r.Of), r.Server, after),
		What: fmt.Sprintf("%s of %s connections of %s to %s (%s) were reset: %s closed them after %s without data, and the client sent data on them afterwards",
			output.Count(r.N), output.Count(r.Of), client, r.Server, output.Percent(r.N, r.Of), server, after),
		When: "now: " + output.Rate(f.perSecond(r.N)) + " in the last " + output.Seconds(f.watched()),
		Why: "in each of them the server's FIN came first, then data of the client, then the reset: two idle timeouts race. " +
			"That request fails with ECONNRESET, EPIPE or an empty answer, though both ends work",
		Now: []Remedy{{Text: "have the client repeat a request once that fails on a reused connection, if it may be repeated",
			Risk: "a request that changes something may be done twice"}},
		Fix: []Remedy{
			{Text: fmt.Sprintf("keep the client's idle timeout below the server's: the server closes after %s, so have %s close connections that were idle for less%s",
				after, cmp.Or(r.Wrote.Comm, "the clients"), in(inIdleWords(r.Wrote, false)))},
			{Text: fmt.Sprintf("or raise the idle timeout of %s above the client's%s", cmp.Or(r.Closed.Comm, "the server"), in(inIdleWords(r.Closed, true)))},
		},
		Evidence: []Evidence{
			{Name: "reset_when_idle", Value: float64(r.N), Limit: float64(r.Of), Unit: "connections", Source: "trace"},
			{Name: "idle_p10", Value: r.Least.Seconds(), Unit: "s", Source: "trace"},
			{Name: "idle_p50", Value: r.Idle.Seconds(), Unit: "s", Source: "trace"},
			{Name: "idle_p90", Value: r.Longest.Seconds(), Unit: "s", Source: "trace"},
		},
	}
	if r.Unnamed > 0 {
		x.What += fmt.Sprintf("; so were %s more of clients on this host whose process is not known", output.Count(r.Unnamed))
	}
	x.Who = peerAt("clients of", r.Server, "sent data on closed connections")
	closer := Contributor{Process: r.Closed, PIDs: 1, N: r.N}
	writer := Contributor{Process: r.Wrote, PIDs: r.PIDs, N: r.N}
	var claims []claim
	if r.Wrote.Known() {
		claims = append(claims, f.counted(Opens, one(writer), writer.name()+" sent data afterwards, which a reset answered"))
	}
	if r.Closed.Known() {
		claims = append(claims, f.counted(Closes, one(closer), closer.name()+" closed them first"))
	}
	x.by(claims...)
	if r.Wrote.Known() {
		x.Scope = Scope{}.ofMany(r.Wrote, r.PIDs).at(netip.AddrPort{}, r.Server)
	} else {
		x.Scope = Scope{}.of(r.Closed).at(r.Server, netip.AddrPort{})
	}
	return x
}

// after is how long the connections had been idle: one time, where they have one in common.
func (r *IdleReset) after() string {
	if float64(r.Longest) <= idleSpread*float64(r.Least) {
		return "about " + tenths(r.Idle)
	}
	return tenths(r.Least) + " to " + tenths(r.Longest)
}

// tenths is a time of seconds, as timeouts are: "2.0 s".
func tenths(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// in puts the words of a program behind a sentence, if there are any.
func in(words string) string {
	if words == "" {
		return ""
	}
	return " (" + words + ")"
}

// idleSettings are what the idle timeouts of programs are called, of one that serves and of
// one that connects, with their defaults.
var idleSettings = []struct {
	names          []string // as in clients
	server, client string
}{
	{names: []string{"node", "nodejs"}, server: "Node: server.keepAliveTimeout, 5 s by default", client: "Node: keepAliveTimeout of undici's Agent, freeSocketTimeout of agentkeepalive"},
	{names: []string{"nginx"}, server: "nginx: keepalive_timeout, 75 s by default", client: "nginx: keepalive_timeout in the upstream block, 60 s by default"},
	{names: []string{"haproxy"}, server: "HAProxy: timeout http-keep-alive, or timeout client", client: "HAProxy: pool-purge-delay, 5 s by default"},
	{names: []string{"envoy"}, server: "Envoy: idle_timeout of the HTTP connection manager, 1 h by default", client: "Envoy: idle_timeout of the cluster, 1 h by default"},
	{names: []string{"traefik"}, server: "Traefik: respondingTimeouts.idleTimeout, 180 s by default", client: "Traefik: forwardingTimeouts.idleConnTimeout, 90 s by default"},
	{names: []string{"gunicorn*"}, server: "gunicorn: --keep-alive, 2 s by default"},
	{names: []string{"uvicorn*"}, server: "uvicorn: --timeout-keep-alive, 5 s by default"},
	{names: []string{"puma*"}, server: "Puma: persistent_timeout", client: "Ruby: keep_alive_timeout of Net::HTTP, 2 s by default"},
	{names: []string{"apache2", "httpd"}, server: "Apache: KeepAliveTimeout, 5 s by default", client: "Apache: ttl of ProxyPass"},
	{names: []string{"java"}, server: "Java: keepAliveTimeout of Tomcat, idleTimeout of Jetty", client: "Java: idleTimeout and maxLifetime of HikariCP, jdk.httpclient.keepalive.timeout of HttpClient"},
	{names: []string{"mysqld", "mariadbd"}, server: "wait_timeout, 8 h by default"},
	{names: []string{"postgres"}, server: "PostgreSQL: idle_session_timeout, off by default"},
	{names: []string{"redis-server", "valkey-server"}, server: "timeout, off by default"},
	{names: []string{"python*"}, server: "uvicorn: --timeout-keep-alive, gunicorn: --keep-alive", client: "Python: keepalive_timeout of aiohttp, keepalive_expiry of httpx; requests has none, so mount a Retry"},
}

// Where the program is not known, or its own settings are not.
const (
	anyIdleServer = "nginx: keepalive_timeout; Node: keepAliveTimeout; gunicorn: --keep-alive; Puma: persistent_timeout; Go: IdleTimeout of http.Server; a load balancer: its idle timeout"
	anyIdleClient = "Go: IdleConnTimeout; Java: idleTimeout of HikariCP; nginx: keepalive_timeout in the upstream block; Node: keepAliveTimeout of undici's Agent"
)

// inIdleWords is what p calls its idle timeout.
func inIdleWords(p event.Proc, serves bool) string {
	for _, s := range idleSettings {
		for _, name := range s.names {
			switch {
			case !isCalled(p, name):
			case serves && s.server != "":
				return s.server
			case !serves && s.client != "":
				return s.client
			}
		}
	}
	if serves {
		return anyIdleServer
	}
	return anyIdleClient
}
