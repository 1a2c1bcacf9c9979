package view

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/rows"
)

// uxSpaces are three network namespaces with a name.
func uxSpaces() map[uint32]string {
	return map[uint32]string{4026532245: "ux-app", 4026532246: "ux-cli", 4026532247: "ux-web", 4026531840: ""}
}

// prompted is a model that shows s, with the prompt open.
func prompted(s *State) *model {
	m := newModel(newFake(), LoopOptions{Interval: time.Second, NetNS: uxSpaces})
	m.width, m.height = 80, 24
	m.past.Add(s, -1)
	m.prompt()
	return m
}

// press types text, or one of the keys in angle brackets.
func (m *model) press(keys string) {
	for keys != "" {
		if name, rest, ok := strings.Cut(strings.TrimPrefix(keys, "<"), ">"); ok && keys[0] == '<' {
			m.edit(name, "")
			keys = rest
			continue
		}
		m.edit(keys[:1], keys[:1])
		keys = keys[1:]
	}
}

// typedKeys is what is shown after text and keys were typed into the prompt.
func typedKeys(text string, keys ...string) Display {
	m := prompted(told())
	m.press(text)
	for _, k := range keys {
		m.edit(k, "")
	}
	return m.display
}

// uxState has rows of two namespaces.
func uxState() *State {
	s := told()
	for i := range s.Rows {
		s.Rows[i].NetNS = 4026532246 + uint32(i%2)
	}
	s.Rows[0].Owner.Comm = "a b"
	return s
}

// line is what is typed, with the cursor, and what is said above it.
func (m *model) line() string {
	d := &m.display
	return d.Typed[:d.cursor()] + "_" + d.Typed[d.cursor():]
}

func TestPromptEditing(t *testing.T) {
	for _, tt := range []struct{ keys, want string }{
		{"abc<left><left>x", "ax_bc"}, {"abc<home>x<end>y", "xabcy_"}, {"abc<left><backspace>", "a_c"}, {"abc<home><delete>", "_bc"}, {"ab cd<ctrl+w>", "ab _"},
		{"ab cd <ctrl+w>", "ab _"}, {"abc<left><ctrl+u>", "_c"}, {"abc<left><ctrl+k>", "ab_"}, {"é<left>x<right>y", "xéy_"}, {"<backspace><left><right><delete>", "_"}, {"a<ctrl+a>b<ctrl+e>c", "bac_"},
	} {
		m := prompted(told())
		for _, k := range strings.SplitAfter(tt.keys, "é") {
			if rest, ok := strings.CutSuffix(k, "é"); ok {
				m.press(rest)
				m.insert("é")
			} else {
				m.press(k)
			}
		}
		if got := m.line(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.keys, got, tt.want)
		}
	}
}

func TestPromptCompletes(t *testing.T) {
	for _, tt := range []struct{ keys, want, offers string }{
		{"rp<tab>", "rport _", "80 5432 6379 8080 9092 10248"}, {"rport 5<tab>", "rport 5432 _", ""}, {"comm ch<tab>", "comm checkout _", ""}, {"che<tab>", "checkout _", ""},
		{"c<tab>", "comm_", "comm container cgroup closed-by checkout curl"}, {"c<tab><tab>", "container_", "comm container cgroup closed-by checkout curl"}, {"c<shift+tab>", "curl_", "comm container cgroup closed-by checkout curl"},
		{"netns <tab>", "netns ux-_", "ux-app ux-cli ux-web"}, {"netns <tab><tab><tab>", "netns ux-cli_", "ux-app ux-cli ux-web"}, {"netns !ux-w<tab>", "netns !ux-web _", ""}, {"netns ux-app,ux-w<tab>", "netns ux-app,ux-web _", ""},
		{"role <tab>", "role client_", "client server"}, {"closer l<tab>", "closer local _", ""}, {"unit <tab>", "unit c_", "checkout.service cron.service"}, {"uid <tab>", "uid 1000 _", ""}, {"exe /<tab>", "exe /app/checkout _", ""},
		{"pod <tab>", "pod shop/ledger-0 _", ""}, {"parent b<tab>", "parent bash _", ""}, {":54<tab>", ":5432 _", ""}, {"54<tab>", "5432 _", ""}, {"10.2.4<tab>", "10.2.4.17 _", ""}, {"raddr 127<tab>", "raddr 127.0.0.1 _", ""},
		{"comm a<tab>", `comm a\x20b _`, ""}, {"nginx<home>rp<tab>", "rport _nginx", ""}, {"event <tab>", "event _", ""}, {"zz<tab>", "zz_", ""}, {"lport <tab>", "lport 443 _", ""},
	} {
		m := prompted(uxState())
		m.press(tt.keys)
		if got := m.line(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.keys, got, tt.want)
		}
		if tt.offers != "" {
			m.press(" <backspace>")
			m = prompted(uxState())
			m.press(tt.keys)
			if got := strings.Join(m.display.Line.offers, " "); got != tt.offers {
				t.Errorf("%s: offers %s, want %s", tt.keys, got, tt.offers)
			}
		}
	}
}

func TestPromptFilters(t *testing.T) {
	for _, tt := range []struct {
		keys, words, says string // the filter in force, and what is said of what is typed
		rows              int
	}{
		{"", "", "", 8}, {"ngi", "ngi", "shows comm *ngi*", 1}, {":5432", ":5432", "shows port 5432", 2}, {"5432 check", "5432 check", "shows comm *check*, port 5432", 1},
		{"check curl", "check curl", "shows comm *check*, comm *curl*", 0}, {"netns ux-web", "netns ux-web", "shows netns ux-web", 4}, {"10.2.0", "10.2.0", "shows address 10.2.0.0/24", 4},
		{"rport", "", "rport requires a value: the remote port", 8}, {"rpor", "", "", 8}, {"envoy rpor", "envoy", "shows comm *envoy*", 1}, {"envoy rport", "envoy", "rport requires a value: the remote port", 1},
		{"dport 8080", "d", `no word "dport": did you mean rport (remote port)?`, 0}, {"netns ux-wbe", "", `unknown namespace "ux-wbe"; known: ux-app, ux-cli, ux-web`, 8},
		{"netns ux-", "", "", 8}, {"tw>100", "", `no comparison such as "tw>100": sort by that number, or filter by name, port or address: nginx, :8080, 10.77`, 8},
		{"uid 1000", "uid 1000", "shows uid 1000", 1}, {"unit cron", "unit cron", "shows unit cron.service", 1}, {"unit nginx", "unit nginx", "shows unit nginx.service", 0}, {"event open", "event open", "the live view takes no event; its words are ", 0},
		{"! envoy", "! envoy", "shows not (comm *envoy*)", 7}, {"pid 811 rport 80", "pid 811 rport 80", "shows pid 811, remote port 80", 0},
	} {
		m := prompted(uxState())
		m.press(tt.keys)
		d := &m.display
		says := d.Line.problem + d.Line.means
		if !strings.HasPrefix(says, tt.says) || tt.says == "" && says != "" {
			t.Errorf("%s: it says %q, want %q", tt.keys, says, tt.says)
		}
		if d.Line.problem == "" && (d.Words != tt.words || len(m.rows()) != tt.rows) {
			t.Errorf("%s: filter %q with %d rows, want %q with %d", tt.keys, d.Words, len(m.rows()), tt.words, tt.rows)
		}
		if d.Line.problem != "" {
			m.press("<enter>")
			if !d.Prompt || d.Line.problem == "" {
				t.Errorf("%s: the prompt is gone with an error in it", tt.keys)
			}
		}
		m.press("<esc>")
		if d.Prompt || d.Filter != nil || len(m.rows()) != 8 {
			t.Errorf("%s: Esc does not bring back what was", tt.keys)
		}
	}
}

func TestPromptHistory(t *testing.T) {
	m := prompted(told())
	for _, words := range []string{"envoy", ":5432", "envoy", "curl"} {
		m.press("<ctrl+u>" + words + "<enter>")
		m.prompt()
	}
	m.press("<ctrl+u>dra")
	for _, tt := range []struct{ keys, want string }{
		{"<up>", "curl_"}, {"<up>", "envoy_"}, {"<up>", ":5432_"}, {"<up>", ":5432_"}, {"<down><down>", "curl_"}, {"<down>", "dra_"}, {"<down>", "dra_"}, {"<ctrl+p>", "curl_"}, {"<ctrl+n>", "dra_"}, {"<up><up><home>x", "x_envoy"},
	} {
		m.press(tt.keys)
		if got := m.line(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.keys, got, tt.want)
		}
	}
	for i := range 3 * maxHistory {
		m.press(fmt.Sprintf("<ctrl+k><ctrl+u>:%d<enter>", i+1))
		m.prompt()
	}
	if n := len(m.typing.history); n != maxHistory || m.typing.history[n-1] != ":300" {
		t.Errorf("%d filters in the history, the last %q", n, m.typing.history[n-1])
	}
}

// Whatever comms there are, what Tab puts in filters for exactly that comm.
func TestOffersOfHostileComms(t *testing.T) {
	for _, comm := range []string{"\x1b[2J\x1b[31m", "a b\tc\nd", "日本語プロ", "-", "# remark", `back\slash`, "!not", "or", "not", "port", "8080", "a,b", "*", "=", `"`, "\xff\xfe", "10.0.0.1"} {
		s := base()
		s.Rows = []rows.Row{{Owner: event.Proc{PID: 1, Comm: comm}, Role: event.Client}, {Owner: event.Proc{PID: 2, Comm: "other"}, Role: event.Client}}
		for _, o := range prompted(s).offersAt("comm ") {
			m := prompted(s)
			m.insert("comm " + o.text)
			if list := m.rows(); len(list) != 1 || list[0].Owner.Comm != o.show {
				t.Errorf("%q: %q shows %d rows; %s", o.show, o.text, len(list), m.display.Line.problem)
			}
		}
	}
}

// The prompt through the running program, on a terminal.
func TestPromptOnTerminal(t *testing.T) {
	p := openPTY(t)
	src := newFake()
	wait := p.start(t.Context(), src, LoopOptions{Interval: time.Second, NetNS: uxSpaces})
	p.Await("waiting")
	src.states <- uxState()
	p.Await("8 flows")
	for _, s := range []step{
		{"/", "Tab: comm pid port"}, {"dport 80", `! no word "dport": did you mean rport (remote port)?`}, {"\r", "/dport 80_"}, {"\x15rp\t", "/rport _"}, {"54\t", "/rport 5432 _"}, {"netns \t", "/rport 5432 netns ux-_"},
		{"\t", "[ux-app]"}, {"\t", "[ux-cli]"}, {"\x1b[Z", "[ux-app]"}, {"\t\r", "filter rport 5432 netns ux-cli"}, {"/\x15:8080\r", "filter :8080"}, {"/", "/:8080_"}, {"\x1b[A", "/rport 5432 netns ux-cli_"},
		{"\x1b[B", "/:8080_"}, {"\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D", "/_:8080"}, {"nginx ", "/nginx _:8080"}, {"\x1b", "? help"}, {"\x1b", "8 flows"},
		{"/\x1b[200~ envoy\n:8080 \x1b[201~", "shows comm *envoy*, port 8080"}, {"\r", "1 flow "},
	} {
		p.Press(s.press)
		p.Await(s.shows)
	}
	p.Press("q")
	if err := wait(); err != nil {
		t.Error(err)
	}
	p.Restored()
}
