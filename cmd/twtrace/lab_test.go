package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// lab is three hosts in a row, as network namespaces with names: visitors on ux-cli, a proxy
// on ux-web that has 2,000 ports, and what it passes on to on ux-app. The names are in a
// mount namespace of its own, with all that runs in the lab.
type lab struct {
	dir    string
	mounts string // its mount namespace
	tmux   string // the socket of its terminals
	actors incident
}

// rig makes the namespaces, and then waits to be killed.
const rig = `set -e
mkdir -p /run/netns; mount -t tmpfs tmpfs /run/netns
for n in ux-cli ux-web ux-app; do ip netns add $n; ip -n $n link set lo up; done
wire() {
	ip -n $1 link add $2 type veth peer name $5 netns $4
	ip -n $1 addr add $3/24 dev $2; ip -n $4 addr add $6/24 dev $5
	ip -n $1 link set $2 up; ip -n $4 link set $5 up
}
wire ux-cli web 10.78.0.1 ux-web cli 10.78.0.2
wire ux-web app 10.77.0.1 ux-app web 10.77.0.2
ip netns exec ux-web sysctl -qw net.ipv4.ip_local_port_range="32768 34767"
echo ready
exec sleep 1000
`

func openLab(t *testing.T) *lab {
	t.Helper()
	for program, debian := range map[string]string{"ip": "iproute2", "nsenter": "util-linux", "unshare": "util-linux", "tmux": "tmux", "sysctl": "procps", "ab": packages["ab"], "nginx": packages["nginx"]} {
		kerneltest.RequireTool(t, program, debian)
	}
	l := &lab{dir: t.TempDir()}
	l.actors.dir = l.dir
	l.tmux = filepath.Join(l.dir, "tmux")
	host := l.actors.play(t, nil, exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", rig))
	host.awaits(t, "ready", 1)
	l.mounts = fmt.Sprintf("/proc/%d/ns/mnt", host.Process.Pid)

	exe, err := os.Executable()
	must(t, err)
	// What else this machine does is not on its screens.
	must(t, os.WriteFile(filepath.Join(l.dir, "twtrace"), fmt.Appendf(nil, `#!/bin/sh
verb=top
case "$1" in [a-z]*) verb=$1; shift ;; esac
%s=1 exec %s $verb -N ux-cli,ux-web,ux-app "$@"
`, asTwtrace, exe), 0o700))
	l.nginx(t, "ux-app", `location / { return 200 "hello\n"; }`, 8080)
	l.nginx(t, "ux-web", `location / { proxy_pass http://10.77.0.2:8080; proxy_http_version 1.1; proxy_set_header Connection ""; }`, 80)
	return l
}

// command is one that runs in the lab, on one of its hosts unless that is "".
func (l *lab) command(host string, args ...string) *exec.Cmd {
	in := []string{"--mount=" + l.mounts, "--"}
	if host != "" {
		in = append(in, "ip", "netns", "exec", host)
	}
	return exec.Command("nsenter", slices.Concat(in, args)...)
}

// run runs a command in the lab to its end.
func (l *lab) run(t *testing.T, host string, args ...string) string {
	t.Helper()
	out, err := l.command(host, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v: %s", args, err, out)
	}
	return string(out)
}

// python starts a script in the lab, until the test ends.
func (l *lab) python(t *testing.T, host, name string, args ...string) *actor {
	t.Helper()
	return l.actors.play(t, nil, l.command(host, script(t, name, args...).Args...))
}

// nginx starts a server with two workers, and waits until it listens.
func (l *lab) nginx(t *testing.T, host, location string, port int) {
	t.Helper()
	dir := filepath.Join(l.dir, host)
	must(t, os.Mkdir(dir, 0o755))
	conf := filepath.Join(dir, "nginx.conf")
	must(t, os.WriteFile(conf, fmt.Appendf(nil, `
daemon off; worker_processes 2; pid pid; error_log error.log; user root;
events { worker_connections 512; }
http {
	access_log off; keepalive_requests 100000000;
	client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
	server { listen %d; %s }
}`, port, location), 0o600))
	l.actors.play(t, nil, l.command(host, "nginx", "-p", dir, "-c", conf))
	kerneltest.Eventually(t, patience, func() (bool, string) {
		out := l.run(t, host, "ss", "-Htln", "sport", "=", fmt.Sprintf(":%d", port))
		return strings.Contains(out, "LISTEN"), "nobody listens on " + host
	})
}

// sysctl is what a sysctl of a host is.
func (l *lab) sysctl(t *testing.T, host, name string) string {
	t.Helper()
	return strings.Join(strings.Fields(l.run(t, host, "sysctl", "-n", name)), " ")
}

// shell is a shell in a window of tmux.
type shell struct {
	*lab
	t    *testing.T
	pane string
	keys int // that were pressed
}

// shell opens a terminal of that size, with a shell in it. The directory of the lab is the
// first in which it searches for commands.
func (l *lab) shell(t *testing.T, width, height int) *shell {
	t.Helper()
	s := &shell{lab: l, t: t}
	open := l.command("", "tmux", "-S", l.tmux, "-f", "/dev/null", "new-session", "-d", "-P", "-F", "#{pane_id}", "-x", fmt.Sprint(width), "-y", fmt.Sprint(height),
		"env PS1='$ ' HISTFILE= PATH="+l.dir+":$PATH bash --norc --noprofile")
	open.Env = append(os.Environ(), "TERM=xterm-256color", "LC_ALL=C.UTF-8")
	out, err := open.Output()
	if err != nil {
		t.Fatalf("open a terminal: %v", err)
	}
	s.pane = strings.TrimSpace(string(out))
	t.Cleanup(func() { _ = s.tmux("kill-pane", "-t", s.pane).Run() })
	s.until("the prompt", func(text string) bool { return strings.HasPrefix(text, "$") })
	return s
}

func (s *shell) tmux(args ...string) *exec.Cmd {
	return exec.Command("tmux", append([]string{"-S", s.lab.tmux}, args...)...)
}

// ask is the answer of tmux.
func (s *shell) ask(args ...string) string {
	s.t.Helper()
	out, err := s.tmux(args...).Output()
	if err != nil {
		s.t.Fatalf("tmux %q: %v", args, err)
	}
	return string(out)
}

// text is what is on the screen.
func (s *shell) text() string { s.t.Helper(); return s.ask("capture-pane", "-p", "-t", s.pane) }

// types types characters.
func (s *shell) types(text string) {
	s.t.Helper()
	s.keys += len(text)
	s.ask("send-keys", "-t", s.pane, "-l", text)
}

// enter presses Enter.
func (s *shell) enter() {
	s.t.Helper()
	s.keys++
	s.ask("send-keys", "-t", s.pane, "Enter")
}

// until waits for a condition of the screen, and returns that screen.
func (s *shell) until(what string, ok func(text string) bool) (text string) {
	s.t.Helper()
	kerneltest.Eventually(s.t, patience, func() (bool, string) {
		text = s.text()
		return ok(text), fmt.Sprintf("not so: %s; the screen is\n%s", what, text)
	})
	return text
}

// copied presses a key that copies, and returns what the terminal has taken, and under which
// name it has it.
func (s *shell) copied(key string) (text, buffer string) {
	s.t.Helper()
	name := func() string {
		names := strings.Fields(s.ask("list-buffers", "-F", "#{buffer_name}"))
		if len(names) == 0 {
			return ""
		}
		return names[0]
	}
	before := name()
	s.types(key)
	s.until("the terminal has taken what "+key+" copies", func(string) bool {
		buffer = name()
		return buffer != before
	})
	return s.ask("show-buffer", "-b", buffer), buffer
}

// paste pastes what the terminal has under a name, runs it, and waits for the prompt.
func (s *shell) paste(buffer string) (text string) {
	s.t.Helper()
	s.types("clear")
	s.enter()
	s.until("an empty screen", func(text string) bool { return strings.TrimSpace(text) == "$" })
	s.ask("paste-buffer", "-t", s.pane, "-b", buffer)
	s.enter()
	return s.until("the prompt", func(text string) bool { return strings.HasSuffix(strings.TrimSpace(text), "\n$") })
}
