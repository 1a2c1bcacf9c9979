package filter

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

// parseCase is one value of a flag: what it means, in words, or what its error says.
type parseCase struct{ in, want, wantErr string }

// runParse checks cases against a parser whose result is worded by str.
func runParse[T any](t *testing.T, parse func(string) (Set[T], error), str func(T) string, cases []parseCase) {
	t.Helper()
	for _, tt := range cases {
		got, err := parse(tt.in)
		if tt.wantErr != "" {
			if err == nil || err.Error() != tt.wantErr {
				t.Errorf("%q: error %v\nwant %s", tt.in, err, tt.wantErr)
			}
			if got.Active() || got.Not {
				t.Errorf("%q: a value beside the error: %v", tt.in, got)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", tt.in, err)
		} else if w := words("", got, str); strings.TrimSpace(w) != tt.want {
			t.Errorf("%q: got %q, want %q", tt.in, w, tt.want)
		}
	}
}

func TestParsePorts(t *testing.T) {
	runParse(t, ParsePorts, Ports.String, []parseCase{
		{in: "3306", want: "3306"},
		{in: " 3306 , 8000 - 8099 ", want: "3306 or 8000-8099"},
		{in: "1-65535", want: "1-65535"},
		{in: "80,80,79,81-90,85-100", want: "79-100"},
		{in: "65535,65534", want: "65534-65535"},
		{in: "!22,80", want: "not  22 or 80"},
		{in: "70000", wantErr: `bad port "70000": ports go from 1 to 65535`},
		{in: "0", wantErr: `bad port "0": ports go from 1 to 65535`},
		{in: "99999999999999999999", wantErr: `bad port "99999999999999999999": ports go from 1 to 65535`},
		{in: "80-70000", wantErr: `bad port "80-70000": ports go from 1 to 65535`},
		{in: "90-80", wantErr: `bad port range "90-80": the first port is above the last; did you mean 80-90?`},
		{in: "http", wantErr: `bad port "http": not a number; example: 3306,8000-8099`},
		{in: "+80", wantErr: `bad port "+80": not a number; example: 3306,8000-8099`},
		{in: "80-", wantErr: `bad port "80-": not a number; example: 3306,8000-8099`},
		{in: "", wantErr: `bad port list "": an item is empty; example: 3306,8000-8099`},
		{in: "!", wantErr: `bad port list "!": an item is empty; example: 3306,8000-8099`},
		{in: "80,", wantErr: `bad port list "80,": an item is empty; example: 3306,8000-8099`},
		{in: "80,!443", wantErr: `bad port list "80,!443": one ! in front negates the whole list; example: !3306,8000-8099`},
	})
}

func TestParsePrefixes(t *testing.T) {
	runParse(t, ParsePrefixes, netip.Prefix.String, []parseCase{
		{in: "10.0.0.1", want: "10.0.0.1/32"},
		{in: "2001:db8::1", want: "2001:db8::1/128"},
		{in: "10.1.2.3/8,10.0.0.0/8", want: "10.0.0.0/8"},
		{in: "::ffff:10.1.2.3", want: "10.1.2.3/32"},
		{in: "::ffff:10.1.2.3/104", want: "10.0.0.0/8"},
		{in: "!0.0.0.0/0", want: "not  0.0.0.0/0"},
		{in: "::/0", want: "::/0"},
		{in: "10.0.0", want: "10.0.0.0/24"},
		{in: "10.77,10.", want: "10.77.0.0/16 or 10.0.0.0/8"},
		{in: "10.0.0.0/33", wantErr: `bad prefix "10.0.0.0/33": the length must be 0 to 32`},
		{in: "10.0.0.0/", wantErr: `bad prefix "10.0.0.0/": the length must be 0 to 32`},
		{in: "::1/129", wantErr: `bad prefix "::1/129": the length must be 0 to 128`},
		{in: "::ffff:0.0.0.0/95", wantErr: `bad prefix "::ffff:0.0.0.0/95": the length must be 96 or more for an IPv4-mapped address; for all of IPv4 use 0.0.0.0/0`},
		{in: "fe80::1%eth0", wantErr: `bad address "fe80::1%eth0": traced addresses have no zone; leave out %eth0`},
		{in: ",", wantErr: `bad address list ",": an item is empty; example: 10.0.0.0/8,2001:db8::1`},
	})
}

func TestParsePIDs(t *testing.T) {
	runParse(t, ParsePIDs, decimal[uint32], []parseCase{
		{in: "4242", want: "4242"},
		{in: "!1,4194303,1", want: "not  1 or 4194303"},
		{in: "0", wantErr: `bad pid "0": pids go from 1 to 4194303`},
		{in: "4194304", wantErr: `bad pid "4194304": pids go from 1 to 4194303`},
		{in: "nginx", wantErr: `bad pid "nginx": not a number; for a name use --comm; example: 4242,4243`},
		{in: "-1", wantErr: `bad pid "-1": not a number; for a name use --comm; example: 4242,4243`},
	})
}

func TestParseComms(t *testing.T) {
	runParse(t, ParseComms, Glob.String, []parseCase{
		{in: "nginx,php*", want: "nginx or php*"},
		{in: "!sshd", want: "not  sshd"},
		{in: `a\,b`, want: `a\,b`},
		{in: "exactly-fifteen", want: "exactly-fifteen"},
		{in: "exactly-fifteen*", want: "exactly-fifteen*"},
		{in: "my-long-service-name", wantErr: `bad comm "my-long-service-name": the kernel keeps 15 bytes of a comm; use "my-long-service"`},
		{in: `npm\x20run\x20start\x20all`, wantErr: `bad comm "npm\\x20run\\x20start\\x20all": the kernel keeps 15 bytes of a comm; use "npm\\x20run\\x20start\\x20a"`},
		{in: `a\`, wantErr: `bad comm "a\\": nothing follows the last backslash; for a backslash itself use \\`},
		{in: `a\x2`, wantErr: `bad comm "a\\x2": \x needs two hexadecimal digits, as in \x20`},
		{in: `a\xgg`, wantErr: `bad comm "a\\xgg": \x needs two hexadecimal digits, as in \x20`},
		{in: "a,,b", wantErr: `bad comm list "a,,b": an item is empty; example: nginx,php*`},
	})
}

func TestParseEnum(t *testing.T) {
	runParse(t, ParseEnum[event.Reason], event.Reason.String, []parseCase{
		{in: "expired,reused,expired", want: "expired or reused"},
		{in: "!reset", want: "not  reset"},
	})
	runParse(t, ParseEnum[event.Side], event.Side.String, []parseCase{
		{in: "local", want: "local"},
		{in: "me", wantErr: `bad closed-by "me": use local, remote, both`},
		{in: "", wantErr: `bad closed-by list "": an item is empty; example: local`},
	})
	runParse(t, ParseEnum[event.Kind], event.Kind.String, []parseCase{
		{in: "time_wait_enter,tw_enter,tw_exit,open", want: "time_wait_enter or time_wait_exit or open"},
		{in: "parked", wantErr: `bad event "parked": use ` + strings.Join(event.Names[event.Kind](), ", ")},
		{in: "tw_", wantErr: `bad event "tw_": use ` + strings.Join(event.Names[event.Kind](), ", ")},
	})
}

func TestEnumNames(t *testing.T) {
	got := []string{enumName[event.Kind](), enumName[event.Reason](), enumName[event.Role](), enumName[event.Side]()}
	want := []string{"event", "reason", "role", "closed-by"}
	if !slices.Equal(got, want) {
		t.Errorf("enum names %q, want %q", got, want)
	}
}

func TestGlob(t *testing.T) {
	for _, tt := range []struct {
		pattern, comm string
		want          bool
	}{
		{"nginx", "nginx", true},
		{"nginx", "nginx2", false},
		{"nginx", "ngin", false},
		{"*", "x", true},
		{"*", "", false},
		{"php*", "php-fpm8.2", true},
		{"php*", "php", true},
		{"*sql*", "mysqld", true},
		{"*sql", "mysqld", false},
		{"a*b*c", "aXbXbXc", true},
		{"a*b*c", "aXbXbX", false},
		{"kworker/*:?", "kworker/0:1", true},
		{"kworker/*:?", "kworker/0:", false},
		{`a\*`, "a*", true},
		{`a\*`, "ab", false},
		{`npm\x20start`, "npm start", true},
		{`\\`, `\`, true},
		{`\x1B[0m`, "\x1b[0m", true},
		{"[ab]", "a", false},
		{"**a", "bca", true},
		{"?", "\xff", true},
	} {
		g, err := parseGlob(tt.pattern, "comm", commBytes)
		if err != nil {
			t.Errorf("%q: %v", tt.pattern, err)
		} else if got := g.Match(tt.comm); got != tt.want {
			t.Errorf("%q matches %q: %v, want %v", tt.pattern, tt.comm, got, tt.want)
		}
	}
	if (Glob{}).Match("x") {
		t.Error("the zero Glob matches")
	}
}

// FuzzParsers checks of every parser that what it takes is sound, that its own
// words are taken again and mean the same, and that its errors name the value.
func FuzzParsers(f *testing.F) {
	for _, s := range []string{"", "!", "80", "1-65535,!2", "10.0.0.0/8,::1", "::ffff:1.2.3.4/97", "fe80::1%lo",
		"nginx,php*", `a\,b\x20*`, `\`, "open,tw_exit", "!expired", "4194303,1", " 1 , 2 "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		again(t, s, ParsePorts, Ports.String)
		again(t, s, ParsePrefixes, netip.Prefix.String)
		again(t, s, ParsePIDs, decimal[uint32])
		again(t, s, ParseComms, Glob.String)
		again(t, s, ParseEnum[event.Kind], event.Kind.String)
		again(t, s, ParseEnum[event.Reason], event.Reason.String)
		ports, _ := ParsePorts(s)
		for i, r := range ports.Items {
			if r.First == 0 || r.First > r.Last || i > 0 && int(ports.Items[i-1].Last)+1 >= int(r.First) {
				t.Errorf("%q: ranges %v", s, ports.Items)
			}
		}
		prefixes, _ := ParsePrefixes(s)
		for _, p := range prefixes.Items {
			if p != p.Masked() || p.Addr().Is4In6() || p.Addr().Zone() != "" {
				t.Errorf("%q: prefix %v", s, p)
			}
		}
	})
}

func again[T any](t *testing.T, s string, parse func(string) (Set[T], error), str func(T) string) {
	t.Helper()
	set, err := parse(s)
	if err != nil {
		if msg := err.Error(); !strings.HasPrefix(msg, "bad ") || !strings.Contains(msg, `"`) {
			t.Errorf("%q: error %q does not name the value", s, msg)
		}
		return
	}
	if !set.Active() {
		t.Fatalf("%q: an empty list and no error", s)
	}
	items := make([]string, len(set.Items))
	for i, v := range set.Items {
		items[i] = str(v)
	}
	in := strings.Join(items, ",")
	if set.Not {
		in = "!" + in
	}
	set2, err := parse(in)
	if err != nil || fmt.Sprint(set) != fmt.Sprint(set2) {
		t.Errorf("%q became %v, written %q, which became %v, %v", s, set, in, set2, err)
	}
}
