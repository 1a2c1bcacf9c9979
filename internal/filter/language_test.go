package filter

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

// spaces is a Language.NetNS that knows three namespaces.
func spaces(spec string) (uint32, string, error) {
	names := []string{"ux-app", "ux-cli", "ux-web"}
	if i := slices.Index(names, spec); i >= 0 {
		return uint32(4026532245 + i), spec, nil
	}
	if n, err := strconv.Atoi(spec); err == nil && n >= 4026532245 && n < 4026532248 {
		return uint32(n), names[n-4026532245], nil
	}
	return 0, "", fmt.Errorf("unknown namespace %q; known: %s", spec, strings.Join(names, ", "))
}

// flow is nginx, a client of 10.77.0.2:8080 in ux-web.
func flow() *event.Event {
	who := &event.Who{HasUID: true, UID: 65534, PPID: 17449, PComm: "systemd", Exe: "/usr/sbin/nginx", Unit: "nginx.service",
		Cgroup: "/system.slice/nginx.service", Container: "8f3e2a61b0c9", ContainerName: "web-1", Pod: "5b1c0000", PodName: "shop/web-0"}
	return &event.Event{Kind: event.TimeWaitEnter, Reason: event.ActiveClose, Process: event.Proc{PID: 17451, Comm: "nginx", Who: who},
		NetNS: 4026532247, Role: event.Client, Closer: event.LocalSide,
		Local: netip.MustParseAddrPort("10.77.0.1:33000"), Remote: netip.MustParseAddrPort("10.77.0.2:8080")}
}

func TestLanguage(t *testing.T) {
	l := &Language{NetNS: spaces}
	for _, tt := range []struct {
		line  string
		match bool
		words string // as the filter describes itself
	}{
		{"", true, ""},
		// Ports, without a word and with one.
		{":8080", true, "port 8080"}, {"8080", true, "port 8080"}, {":33000", true, "port 33000"}, {":80", false, "port 80"},
		{"*:8080", true, "port 8080"}, {"8000-8099", true, "port 8000-8099"}, {":8000-8099", true, "port 8000-8099"},
		{":80,:8080", true, "port 80 or port 8080"}, {"80,8080", true, "port 80 or port 8080"},
		{"port 8080", true, "port 8080"}, {"port 33000", true, "port 33000"}, {"port 80,443", false, "port 80 or port 443"},
		{"!:8080", false, "not port 8080"}, {"port !8080", false, "not port 8080"}, {"!port 80", true, "not port 80"},
		{"rport 8080", true, "remote port 8080"}, {"lport 8080", false, "local port 8080"}, {"lport 33000", true, "local port 33000"},
		{"rport 8080,80", true, "remote port 80 or 8080"}, {"lport 1-65535", true, "local port 1-65535"},
		// Addresses.
		{"10.77.0.2:8080", true, "10.77.0.2:8080"}, {"10.77.0.1:8080", false, "10.77.0.1:8080"}, {"10.77.0.1:33000", true, "10.77.0.1:33000"},
		{"10.77.0.2", true, "address 10.77.0.2"}, {"10.77", true, "address 10.77.0.0/16"}, {"10.77.", true, "address 10.77.0.0/16"},
		{"10.", true, "address 10.0.0.0/8"}, {"10.77.0", true, "address 10.77.0.0/24"}, {"10.7", false, "address 10.7.0.0/16"},
		{"10.77:8080", true, "10.77.0.0/16:8080"}, {"10.77/12", true, "address 10.64.0.0/12"}, {"10.77.0.0/16", true, "address 10.77.0.0/16"},
		{"10.77.0.0/16:8000-8099", true, "10.77.0.0/16:8000-8099"}, {"!10.77.0.2", false, "not address 10.77.0.2"},
		{"10.78,10.77", true, "address 10.78.0.0/16 or address 10.77.0.0/16"}, {"0.0.0.0/0", true, "address 0.0.0.0/0"},
		{"[::1]:80", false, "[::1]:80"}, {"[::1]", false, "address ::1"}, {"::1", false, "address ::1"}, {"2001:db8::/32", false, "address 2001:db8::/32"},
		{"[2001:db8::]/32:443", false, "[2001:db8::/32]:443"}, {"::ffff:10.77.0.2", true, "address 10.77.0.2"},
		{"addr 10.77", true, "address 10.77.0.0/16"}, {"raddr 10.77.0.2", true, "remote address 10.77.0.2"}, {"raddr 10.77.0.1", false, "remote address 10.77.0.1"},
		{"laddr 10.77.0", true, "local address 10.77.0.0/24"}, {"laddr !10.77", false, "not local address 10.77.0.0/16"},
		// Processes.
		{"nginx", true, "comm *nginx*"}, {"gin", true, "comm *gin*"}, {"ng?nx", true, "comm ng?nx"}, {"apache", false, "comm *apache*"}, {"!nginx", false, "not comm *nginx*"},
		{"nginx,ab", true, "comm *nginx* or *ab*"}, {"comm nginx", true, "comm nginx"}, {"comm ngin", false, "comm ngin"}, {"COMM nginx", true, "comm nginx"},
		{"comm=nginx", true, "comm nginx"}, {"--comm=nginx", true, "comm nginx"}, {"--comm nginx", true, "comm nginx"}, {"comm = nginx", true, "comm nginx"}, {"comm= nginx", true, "comm nginx"},
		{"comm port", false, "comm port"}, {`"port"`, false, "comm *port*"}, {`comm "a b"`, false, "comm a b"}, {`comm a\ b`, false, `comm a\ b`},
		{"pid 17451", true, "pid 17451"}, {"-p 17451", true, "pid 17451"}, {"pid !1", true, "not pid 1"}, {"uid 65534", true, "uid 65534"}, {"uid 0", false, "uid 0"},
		{"unit nginx", true, "unit nginx.service"}, {"unit cron", false, "unit cron.service"}, {"exe nginx", true, "exe nginx"}, {"exe /usr/sbin/*", true, "exe /usr/sbin/*"},
		{"parent 17449", true, "parent 17449"}, {"parent systemd", true, "parent systemd"}, {"pod shop/*", true, "pod shop/*"}, {"container 8f3e", true, "container 8f3e"},
		{"cgroup /system.slice", true, "cgroup /system.slice"},
		// The rest.
		{"netns ux-web", true, "netns ux-web"}, {"netns ux-app", false, "netns ux-app"}, {"netns !ux-web", false, "not netns ux-web"}, {"netns 4026532247", true, "netns ux-web"}, {"-N ux-web", true, "netns ux-web"},
		{"netns ux-app,ux-web", true, "netns ux-app or ux-web"},
		{"role client", true, "role client"}, {"closer local", true, "closed by local"}, {"closed_by remote", false, "closed by remote"}, {"closed-by local", true, "closed by local"},
		{"event time_wait_enter", true, "event time_wait_enter"}, {"event tw_exit", false, "event time_wait_exit"}, {"reason active_close", true, "reason active_close"},
		{"4", true, "IPv4"}, {"-6", false, "IPv6"}, {"ipv6", false, "IPv6"}, {"!ipv6", true, "IPv4"},
		// Several words mean all of them.
		{"nginx :8080", true, "comm *nginx*, port 8080"}, {"nginx 8080", true, "comm *nginx*, port 8080"}, {"nginx :443", false, "comm *nginx*, port 443"},
		{"nginx ab", false, "comm *nginx*, comm *ab*"}, {"nginx gin", true, "comm *nginx*, comm *gin*"}, {"nginx !ab", true, "comm *nginx*, not comm *ab*"},
		{":8080 :33000", true, "port 8080, port 33000"}, {":8080 :80", false, "port 8080, port 80"}, {"nginx and port 8080", true, "comm *nginx*, port 8080"},
		{"laddr 10.77 laddr !10.77.0.1", false, "local address 10.77.0.0/16, not local address 10.77.0.1"}, {"role client closer local", true, "role client, closed by local"},
		{"nginx not :80", true, "comm *nginx*, not port 80"}, {"not not nginx", true, "comm *nginx*"}, {"rport ! 80", true, "not remote port 80"}, {"!rport !8080", true, "remote port 8080"},
		// The inverse.
		{"! nginx", false, "not (comm *nginx*)"}, {"! nginx :80", true, "not (comm *nginx*, port 80)"}, {"! nginx :8080", false, "not (comm *nginx*, port 8080)"},
		{"! nginx ab", true, "not (comm *nginx*, comm *ab*)"}, {"!nginx ab", false, "not comm *nginx*, comm *ab*"},
	} {
		f, err := l.ParseLine(tt.line)
		if err != nil {
			t.Errorf("%q: %v", tt.line, err)
			continue
		}
		if got := f.Match(flow()); got != tt.match {
			t.Errorf("%q matches: %v, want %v", tt.line, got, tt.match)
		}
		if got := f.String(); got != tt.words {
			t.Errorf("%q is %q, want %q", tt.line, got, tt.words)
		}
		if args, err := l.ParseArgs(strings.Fields(tt.line)); !strings.ContainsAny(tt.line, `"\`) && (err != nil || !reflect.DeepEqual(args, f)) {
			t.Errorf("%q as arguments: %v, %v", tt.line, args, err)
		}
	}
}

const allWords = "its words are comm, pid, port, lport, rport, addr, laddr, raddr, netns, unit, uid, exe, parent, pod, container, cgroup, role, closed-by, event, reason"

func TestLanguageRefuses(t *testing.T) {
	l := &Language{NetNS: spaces}
	for _, tt := range []struct{ line, want string }{
		{"dport 8080", `no word "dport": did you mean rport (remote port)?`}, {"dport", `no word "dport": did you mean rport (remote port)?`},
		{"--dport 8080", `no word "dport": did you mean rport (remote port)?`}, {"dport=8080", `no word "dport": did you mean rport (remote port)?`},
		{"sport 8080", `no word "sport": did you mean lport (local port)?`}, {"daddr 10.77", `no word "daddr": did you mean raddr (remote address)?`},
		{"host 10.77.0.2", `no word "host": did you mean addr (local or remote address)? for a process of that name: comm host`},
		{"lprot 80", `no word "lprot": did you mean lport (local port)? for a process of that name: comm lprot`},
		{"dst 10.77.0.2:8080", `no word "dst": did you mean raddr (remote address)? for a process of that name: comm dst`},
		{"namespace ux-web", `no word "namespace": did you mean netns (network namespace)? for a process of that name: comm namespace`},
		{"netsn ux-web", `no word "netsn": did you mean netns (network namespace)? for a process of that name: comm netsn`},
		{"user 0", `no word "user": did you mean uid (user id)? for a process of that name: comm user`},
		{"port:8080", `bad word "port:8080": did you mean port 8080?`}, {"dport:8080", `bad word "dport:8080": did you mean rport 8080?`},
		{"tw>100", `no comparison such as "tw>100": sort by that number, or filter by name, port or address: nginx, :8080, 10.77`},
		{"tw=100", `no word "tw"; ` + allWords}, {"--json", `no word "json"; ` + allWords},
		{"nginx:8080", `bad address "nginx:8080": nginx is no IP address; for a process and a port: nginx :8080`},
		{"db.internal:5432", `bad address "db.internal:5432": db.internal is no IP address; for a process and a port: db.internal :5432`},
		{"nginx,8080", `bad list "nginx,8080": names, ports and addresses are words of their own, with a blank between them`},
		{"/usr/sbin/nginx", `no word before "/usr/sbin/nginx": did you mean exe /usr/sbin/nginx or cgroup /usr/sbin/nginx?`},
		{"nginx or ab", `no "or" between words: a comma gives alternatives of one word, as in comm nginx,ab or :80,:443`},
		{"netns ux-wbe", `unknown namespace "ux-wbe"; known: ux-app, ux-cli, ux-web`},
		{"rport", "rport requires a value: the remote port"}, {"nginx comm", "comm requires a value: the process name"}, {"!", "! requires a filter behind it"}, {"nginx !", "! requires a word behind it"},
		{`comm "a b`, "a quotation mark is not closed"},
		{"rport x", `bad port "x": not a number; example: 3306,8000-8099`}, {"rport 99999", `bad port "99999": ports go from 1 to 65535`},
		{"99999", `bad port "99999": ports go from 1 to 65535; for a process: pid 99999`}, {":0", `bad port "0": ports go from 1 to 65535`},
		{":8080:", `bad address ":8080:": not an IP address; example: 10.0.0.0/8,2001:db8::1`},
		{"10.77.0.2:", `bad port ":": not a number; example: 3306,8000-8099`}, {"300.1.1.1", `bad address "300.1.1.1": not an IP address; example: 10.0.0.0/8,2001:db8::1`},
		{"10.77/33", `bad prefix "10.77/33": the length must be 0 to 32`}, {"raddr 10.0.0.0/99", `bad prefix "10.0.0.0/99": the length must be 0 to 32`},
		{"raddr 10.77.0.2:8080", `bad address "10.77.0.2:8080": it has a port; give 10.77.0.2 here, and 8080 to lport or rport`},
		{"pid nginx", `bad pid "nginx": not a number; for a name use --comm; example: 4242,4243`},
		{"role boss", `bad role "boss": use client, server`},
		{"billing-api-server", `bad comm "billing-api-server": the kernel keeps 15 bytes of a comm; use "billing-api-ser"`},
		{"rport 80 rport 443", "rport 80 conflicts with rport 443; for either: rport 80,443"},
		{"netns ux-web netns ux-app", "netns ux-web conflicts with netns ux-app; for either: netns ux-web,ux-app"},
		{"-4 -6", "ipv4 conflicts with ipv6; leave out both for all connections"},
	} {
		if f, err := l.ParseLine(tt.line); err == nil || err.Error() != tt.want {
			t.Errorf("%q: %v %v\nwant %s", tt.line, f, err, tt.want)
		}
	}
	for _, line := range []string{"rport", "comm", "!", "nginx !", `"x`, "rport !", "nginx and comm"} {
		if _, err := l.ParseLine(line); !errors.Is(err, ErrIncomplete) {
			t.Errorf("%q: %v, want an error that it goes on", line, err)
		}
	}
}

// A bare word is a process, whatever flag it resembles, if it cannot be meant for that.
func TestNamesLikeWords(t *testing.T) {
	for _, line := range []string{"init", "sort", "host", "local", "name", "sort nginx", "code", "node", "cron", "event-loop", "init :8080", "user nginx", "net", "service"} {
		if f, err := new(Language).ParseLine(line); err != nil || !f.Comms.Active() {
			t.Errorf("%q: %v, %v", line, f, err)
		}
	}
}

func TestFewerWords(t *testing.T) {
	doctor := &Language{Where: "doctor", Words: []string{"netns"}, NetNS: spaces}
	ports := &Language{Where: "ports", Words: []string{"comm", "port", "rport", "addr"}}
	for _, tt := range []struct {
		l          *Language
		line, want string
	}{
		{doctor, "netns ux-web", ""}, {doctor, "ux-web", `no word "ux-web": doctor takes no names of processes; its only word is netns`},
		{doctor, ":8080", "doctor takes no port or address; its only word is netns"}, {doctor, "rport 80", "doctor takes no rport; its only word is netns"}, {doctor, "ipv4", "doctor takes no ipv4; its only word is netns"},
		{ports, "nginx :8080 ipv4", ""}, {ports, "lport 80", "ports takes no lport; its words are comm, port, rport, addr"},
	} {
		if f, err := tt.l.ParseLine(tt.line); err != nil && err.Error() != tt.want || err == nil && tt.want != "" {
			t.Errorf("%q: %v %v, want %q", tt.line, f, err, tt.want)
		}
	}
}

func TestParseArgs(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"comm", "cron daemon", ":80"}, `comm cron\x20daemon, port 80`}, {[]string{"nginx :8080", "pid", "1"}, "pid 1, comm *nginx*, port 8080"},
		{[]string{"comm=a b"}, `comm a\x20b`}, {[]string{"!", "nginx"}, "not (comm *nginx*)"},
	} {
		if f, err := new(Language).ParseArgs(tt.args); err != nil || f.String() != tt.want {
			t.Errorf("%q: %q, %v", tt.args, f.String(), err)
		}
	}
	if f, _ := new(Language).ParseArgs([]string{"comm", "cron daemon"}); !f.Match(&event.Event{Kind: event.Open, Process: event.Proc{PID: 1, Comm: "cron daemon"}}) {
		t.Error("a comm with a blank does not match")
	}
}

func TestTypedAt(t *testing.T) {
	for _, tt := range []struct {
		line, word, text string
	}{
		{"", "", ""}, {"rp", "", "rp"}, {"rport ", "rport", ""}, {"rport 80", "rport", "80"}, {"rport 80 ", "", ""}, {"rport 80,44", "rport", "44"},
		{"comm=ng", "comm", "ng"}, {"comm=", "comm", ""}, {"--comm=a,b", "comm", "b"}, {"nginx ne", "", "ne"}, {"netns !ux", "netns", "ux"}, {"netns ! ux", "netns", "ux"},
		{"!comm ng", "comm", "ng"}, {"!ng", "", "ng"}, {"-N ", "netns", ""}, {"-N ux", "netns", "ux"}, {`comm "a b`, "comm", "a b"}, {`comm a\ b`, "comm", `a\ b`}, {"comm comm ", "", ""}, {"comm co", "comm", "co"},
		{":80", "", ":80"}, {"nginx,a", "", "a"}, {`"comm" `, "", ""},
	} {
		got := TypedAt(tt.line)
		word := ""
		if got.Word != nil {
			word = got.Word.Name
		}
		if word != tt.word || got.Text != tt.text || !strings.HasSuffix(tt.line, got.Text) || got.At != len(tt.line)-len(got.Text) {
			t.Errorf("%q: %q %q at %d", tt.line, word, got.Text, got.At)
		}
	}
}

// Whatever is typed, the parser ends, says what it means or what is wrong, and what it
// accepts the kernel's part accepts too.
func FuzzLanguage(f *testing.F) {
	for _, s := range []string{"nginx :8080", "! comm a,b port 80-90", "10.77:8080,[::1]:80", `comm "a b\x20" 'c`, "netns ux-web tw>100", "dport 80", "!!a not ! b", "a= =b --", "[::]/0:1", "\\", "4 -6", "raddr ::ffff:1.2.3.4/97"} {
		f.Add(s)
	}
	l := &Language{NetNS: spaces}
	f.Fuzz(func(t *testing.T, line string) {
		typed := TypedAt(line)
		if typed.At < 0 || typed.At > len(line) || line[typed.At:] != typed.Text {
			t.Fatalf("%q: %+v", line, typed)
		}
		got, err := l.ParseLine(line)
		if (got == nil) == (err == nil) {
			t.Fatalf("%q: %v, %v", line, got, err)
		}
		if err != nil {
			if err.Error() == "" {
				t.Fatalf("%q: no message", line)
			}
			return
		}
		e := flow()
		k := got.Kernel()
		if got.Match(e) && !k.accepts(e) {
			t.Fatalf("%q: the kernel drops what the filter accepts", line)
		}
		for _, part := range []*Filter{got.Sockets(), got.Places(), got.Spaces(), got.Kinds(), got.Processes()} {
			if got.Match(e) && !part.Match(e) {
				t.Fatalf("%q: %q refuses what the whole accepts", line, part)
			}
		}
		_ = got.String()
	})
}

// A quoted value is exactly that value.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{"nginx", "a b", "!x", "-", "=", `\`, "a,b*?", "\x1b[31m", "é日本", "\xff", "'\"", "# x", "Not"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, comm string) {
		if comm == "" || len(comm) > commBytes || strings.Contains(comm, "\x00") {
			return
		}
		got, err := new(Language).ParseLine("comm " + Quote(comm))
		if err != nil {
			t.Fatalf("%q: %q: %v", comm, Quote(comm), err)
		}
		if !got.Match(&event.Event{Kind: event.Open, Process: event.Proc{PID: 1, Comm: comm}}) {
			t.Fatalf("%q: %q does not match", comm, Quote(comm))
		}
	})
}
