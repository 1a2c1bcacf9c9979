package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// hold5s is how long a load that must not be flagged goes on, at full speed.
const hold5s = 5 * time.Second

// packages are Debian's for the programs that scenarios start.
var packages = map[string]string{
	"ab": "apache2-utils", "curl": "curl", "mariadb": "mariadb-client", "mariadb-slap": "mariadb-client",
	"mariadbd": "mariadb-server-core", "nginx": "nginx", "perl": "perl-base", "redis-benchmark": "redis-tools", "wrk": "wrk",
}

// start starts a program of the scenario; it ends with the test.
func (a *act) start(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	for _, word := range append([]string{name}, args...) { // nice and others may come first
		if p, ok := packages[word]; ok {
			kerneltest.RequireTool(t, word, p)
			break
		}
	}
	cmd := exec.Command(name, args...)
	cmd.Dir = a.dir
	log, err := os.Create(filepath.Join(a.dir, filepath.Base(name)+".log"))
	must(t, err)
	t.Cleanup(func() { log.Close() })
	cmd.Stdout, cmd.Stderr = log, log
	a.ns.Start(t, cmd)
	return cmd
}

// serves waits until something listens at 127.0.0.1 and the port.
func (a *act) serves(t *testing.T, port int) {
	t.Helper()
	kerneltest.Eventually(t, patience, func() (bool, string) {
		out := a.ns.SS(t, "-Htln", "sport", "=", fmt.Sprintf(":%d", port))
		return strings.Contains(out, "LISTEN"), "nobody listens"
	})
}

// atOnce starts programs whose load must not depend on what else the machine does.
var atOnce = []string{"nice", "-n", "-20"}

// again runs a command four times a second, whatever becomes of it, until five calls
// have failed. What is late is made up for: a forecast supposes that the load goes on
// as it did.
func (a *act) again(t *testing.T, name string, args ...string) {
	t.Helper()
	const every = 250 * time.Millisecond
	args = append(slices.Clone(atOnce), append([]string{name}, args...)...)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		var running sync.WaitGroup
		defer running.Wait()
		for due := time.Now(); ; due = due.Add(every) {
			select {
			case <-stop:
				return
			case <-time.After(time.Until(due)):
			}
			cmd := exec.Command(args[0], args[1:]...)
			if err := a.ns.NetNS().Do(cmd.Start); err != nil {
				t.Errorf("start %s: %v", name, err)
				return
			}
			running.Go(func() { _ = cmd.Wait() }) // it is to fail in the end
		}
	}()
	defer func() { close(stop); <-done }()
	a.until(t, 5, failed)
	a.until(t, 1, begun)
}

// hog runs a load at full speed, once the forecasts of others cannot suffer and one
// scenario at a time, until the storm is there that it is to make, or for a while if it
// is to make none.
func (a *act) hog(t *testing.T, storms bool, name string, args ...string) {
	t.Helper()
	a.full.Wait()
	a.heavy.Lock()
	defer a.heavy.Unlock()
	a.ns.Sysctl(t, "net.ipv4.tcp_max_tw_buckets", "1000000") // or it is these that a fast machine fills first
	cmd := a.start(t, "nice", append([]string{"-n", "10", name}, args...)...)
	if storms {
		a.until(t, 1, begun)
	} else {
		time.Sleep(hold5s)
	}
	_ = cmd.Process.Kill() // it may have ended
}

// installMariaDB makes the files of a server, which takes a while, on a machine whose
// name has no address too (--force).
func installMariaDB(t *testing.T, dir string) {
	t.Helper()
	kerneltest.RequireTool(t, "mariadb-install-db", "mariadb-server-core")
	kerneltest.RequireTool(t, "mariadb", "mariadb-client")
	install := exec.Command("mariadb-install-db", "--no-defaults", "--force", "--user=root", "--skip-test-db", "--innodb-log-file-size=4M",
		"--auth-root-authentication-method=normal", "--datadir="+dir)
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// mariadb starts a server that has no password.
func mariadb(t *testing.T, a *act) {
	data := filepath.Join(a.dir, "data")
	must(t, os.CopyFS(data, os.DirFS(a.database)))
	// On the client's CPU, and in no hurry to run before it, so that at the end of a
	// connection the client is the first to close: which of them has the TIME_WAIT is a
	// race otherwise.
	a.start(t, "nice", "-n", "-20", "chrt", "--batch", "0", "taskset", "-c", "0", "mariadbd", "--no-defaults", "--user=root", "--datadir="+data, "--skip-grant-tables", "--skip-networking=0", "--bind-address=127.0.0.1",
		"--port=3306", "--socket="+filepath.Join(a.dir, "sock"), "--pid-file="+filepath.Join(a.dir, "pid"),
		"--innodb-buffer-pool-size=8M", "--innodb-log-file-size=4M")
	a.serves(t, 3306)
}

func everyQuery(t *testing.T, a *act) {
	mariadb(t, a)
	a.again(t, "taskset", "-c", "0", "mariadb", "--no-defaults", "-h", "127.0.0.1", "-e", "select 1")
}

func pooledQueries(t *testing.T, a *act) {
	mariadb(t, a)
	a.hog(t, false, "mariadb-slap", "--no-defaults", "-h", "127.0.0.1", "--create-schema=information_schema", "--concurrency=4", "--number-of-queries=1000000", "--query=select 1")
}

// redis is redis-benchmark with the given arguments, on loopback, where ports are
// reused after a second.
func redis(args ...string) func(*testing.T, *act) {
	return func(t *testing.T, a *act) {
		a.ns.Sysctl(t, "net.ipv4.tcp_tw_reuse", "2")
		// Debian's package of the server enables a service, and that of the tools has the
		// same program: its name decides what it does.
		kerneltest.RequireTool(t, "redis-check-rdb", "redis-tools")
		program, err := exec.LookPath("redis-check-rdb")
		must(t, err)
		server := filepath.Join(a.dir, "redis-server")
		must(t, os.Symlink(program, server))
		a.start(t, server, "--port", "6379", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", a.dir)
		a.serves(t, 6379)
		a.hog(t, args[1] == "0", "redis-benchmark", append(args, "-h", "127.0.0.1", "-c", "2", "-n", "100000000", "-q", "-t", "ping_mbulk")...)
	}
}

// nginx starts a server at port 8081, and one at 8080 that passes on to it.
func nginx(t *testing.T, a *act, keepAlive bool) {
	upstream, pass := "", ""
	if keepAlive {
		upstream, pass = "keepalive 8; keepalive_requests 100000000;", `proxy_http_version 1.1; proxy_set_header Connection "";`
	}
	conf := filepath.Join(a.dir, "nginx.conf")
	must(t, os.WriteFile(conf, fmt.Appendf(nil, `
daemon off; worker_processes 1; pid pid; error_log stderr; user root;
events { worker_connections 512; }
http {
	access_log off; keepalive_requests 100000000;
	client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
	upstream back { server 127.0.0.1:8081; %s }
	server { listen 127.0.0.1:8080; location / { proxy_pass http://back; %s } }
	server { listen 127.0.0.1:8081; location / { return 200 "hello\n"; } }
}`, upstream, pass), 0o600))
	a.start(t, "nginx", "-p", a.dir, "-c", conf)
	a.serves(t, 8080)
}

const (
	served  = "http://127.0.0.1:8081/"
	proxied = "http://127.0.0.1:8080/"
)

func ab(args ...string) func(*testing.T, *act) {
	return func(t *testing.T, a *act) {
		nginx(t, a, true)
		a.hog(t, len(args) == 0, "ab", append(args, "-c", "2", "-n", "10000000", served)...)
	}
}

func wrk(args ...string) func(*testing.T, *act) {
	return func(t *testing.T, a *act) {
		a.ns.Sysctl(t, "net.ipv4.tcp_tw_reuse", "2") // wrk may be faster to close
		nginx(t, a, true)
		a.hog(t, len(args) > 0, "wrk", append(args, "-t", "1", "-c", "2", "-d", "60s", served)...)
	}
}

// proxy has few connections to an nginx that passes many requests on.
func proxy(keepAlive bool) func(*testing.T, *act) {
	return func(t *testing.T, a *act) {
		nginx(t, a, keepAlive)
		a.hog(t, !keepAlive, "ab", "-k", "-c", "2", "-n", "10000000", proxied)
	}
}

func curls(t *testing.T, a *act) {
	nginx(t, a, true)
	a.again(t, "curl", "-s", served)
}

// restart has a server leave TIME_WAIT on its port, and another one want that.
func restart(t *testing.T, a *act) {
	const server = `use IO::Socket::INET; my $s = IO::Socket::INET->new(Listen => 5, LocalAddr => "127.0.0.1", LocalPort => 7070) or exit 3; for (1..3) { close $s->accept }`
	a.start(t, "perl", "-e", server)
	a.serves(t, 7070)
	for range 3 {
		a.ns.Do(t, func() {
			c, err := net.Dial("tcp4", "127.0.0.1:7070")
			must(t, err)
			_, _ = c.Read(make([]byte, 1)) // its end
			c.Close()
		})
	}
	a.start(t, "perl", "-e", server)
	a.until(t, 1, failed)
}

// outOfFiles has a client open connections until it has no descriptor for more.
func outOfFiles(t *testing.T, a *act) {
	nginx(t, a, true)
	a.start(t, "sh", "-c", `ulimit -n 40; exec perl -e 'use Socket; for (1..50) { socket($s[$_], PF_INET, SOCK_STREAM, 0) and connect($s[$_], pack_sockaddr_in(8081, inet_aton("127.0.0.1"))); } sleep 1000'`)
	a.until(t, 3, failed)
}
