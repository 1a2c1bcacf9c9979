package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// What the tour of on-call engineers holds twtrace to.
const (
	keysToCulprit  = 9 // twtrace, Enter, Enter
	statesToAnswer = 2 // of one second each
)

// TestScenarioTour plays three incidents in a real terminal, with the keys of somebody who has
// never seen twtrace: to the culprit's name, and to a cure that is copied by one key and works
// as it is when it is pasted, and so does what takes it back.
func TestScenarioTour(t *testing.T) {
	kerneltest.RequireRoot(t)
	for _, x := range []struct {
		name string
		play func(*lab, *testing.T)
	}{
		{"a proxy that keeps no connection", (*lab).portsRunOut},
		{"a storm that is over", (*lab).stormIsOver},
		{"connections that nobody closes", (*lab).nobodyCloses},
	} {
		t.Run(x.name, func(t *testing.T) { x.play(openLab(t), t) }) // each needs all of its ports
	}
}

// reuse is the cure of ports that run out, and what takes it back.
const (
	reuse     = "ip netns exec ux-web sysctl -w net.ipv4.tcp_tw_reuse=1"
	reuseUndo = "ip netns exec ux-web sysctl -w net.ipv4.tcp_tw_reuse=2"
)

// fill has the proxy open so many connections: it has 2,000 ports.
func (l *lab) fill(t *testing.T, n int) {
	t.Helper()
	l.run(t, "ux-cli", "ab", "-q", "-n", fmt.Sprint(n), "-c", "4", "http://10.78.0.2/")
}

// portsRunOut: nginx opens a connection for each request that it passes on.
func (l *lab) portsRunOut(t *testing.T) {
	visitors := l.python(t, "ux-cli", "visitor.py", "10.78.0.2", "80")
	visitors.awaits(t, "status 200", 20)
	l.fill(t, 2100)
	visitors.awaits(t, "status 502", 20)

	s := l.shell(t, 132, 43)
	page := s.culprit("nginx", `CRIT .*10\.77\.0\.2:8080`)
	hasLines(t, page, "^"+regexp.QuoteMeta(reuse)+"$")
	l.cured(t, s, reuse, reuseUndo, func() {
		n := len(visitors.said(t))
		kerneltest.Eventually(t, patience, func() (bool, string) {
			since := visitors.said(t)[n:]
			return strings.HasSuffix(since, strings.Repeat("status 200\n", 40)), tail(since)
		})
	})

	l.fill(t, 2100) // the cure has let ports go
	l.lastScreen(t, 2, "ux-web", "nginx", reuse)
}

// stormIsOver: who looks comes late, and nothing happens any more. Ten ports are free.
func (l *lab) stormIsOver(t *testing.T) {
	l.fill(t, 1990)
	s := l.shell(t, 80, 24)
	page := s.culprit("10.77.0.2:8080", "TW101")
	for _, never := range []string{"connect() fails", "EADDRNOTAVAIL"} { // that is not so
		if strings.Contains(page, never) {
			t.Errorf("the page says %q\n%s", never, page)
		}
	}
	hasLines(t, page, `entered( TIME_WAIT|$)`, `likely nginx \(a`) // nobody saw who it was
	l.cured(t, s, reuse, reuseUndo, func() {})
	l.lastScreen(t, -1, "ux-web", "likely nginx", reuse)
}

// nobodyCloses: one server never closes the connections that its clients have closed, and
// another one does not accept.
func (l *lab) nobodyCloses(t *testing.T) {
	l.python(t, "ux-app", "stuck.py", "billing-api", "10.77.0.2", "8081").awaits(t, "serves", 1)
	l.python(t, "ux-app", "stuck.py", "report-api", "10.77.0.2", "8082").awaits(t, "serves", 1)
	l.python(t, "ux-web", "stuck.py", "gateway", "10.77.0.2", "8081", "30").awaits(t, "closed", 60)
	l.python(t, "ux-web", "stuck.py", "gateway", "10.77.0.2", "8082", "10").awaits(t, "waits", 20)
	s := l.shell(t, 80, 24)
	s.culprit("report-api", `TW211 .*10\.77\.0\.2:8082`)
	s.types("\x1b")
	s.until("the table, with both", func(text string) bool {
		return strings.Contains(text, "billing-api") && strings.Contains(text, "report-api")
	})
	s.types("D")
	s.until("the finding of the other one", func(text string) bool { return strings.Contains(text, "TW207") || strings.Contains(text, "CLOSE_WAIT") })
	l.lastScreen(t, 1, "ux-app", "api", "")
}

// culprit starts twtrace, and returns the page that Enter opens. By then the name of the
// culprit is on the screen, after so few keys, and no more than so few states.
func (s *shell) culprit(name, finding string) (page string) {
	s.t.Helper()
	up, state, screens := regexp.MustCompile(`\bup (\S+)`), "", []string(nil)
	found := regexp.MustCompile(finding)
	s.types("twtrace")
	s.enter()
	s.until(finding+", and "+name, func(text string) bool {
		if m := up.FindString(text); m != "" && m != state {
			state, screens = m, append(screens, text)
		}
		return found.MatchString(text) && strings.Contains(text, name)
	})
	if len(screens) > statesToAnswer {
		s.t.Errorf("%s is found after %d states:\n%s", name, len(screens), strings.Join(screens, "\n"))
	}
	s.enter()
	page = s.until("the page of "+name, func(text string) bool {
		return !strings.Contains(text, "[1 Flows]") && strings.Contains(text, name) && strings.Contains(text, "Esc back")
	})
	if s.keys > keysToCulprit {
		s.t.Errorf("%s is named after %d keys", name, s.keys)
	}
	return page
}

// cured copies the cure from the screen by one key, and what takes it back by another, and
// runs both in a shell. helps waits until the cure has helped.
func (l *lab) cured(t *testing.T, s *shell, cure, undo string, helps func()) {
	t.Helper()
	now, nowBuffer := s.copied("y")
	back, backBuffer := s.copied("Y")
	if now != cure || back != undo {
		t.Fatalf("y copies %q and Y copies %q, want\n%q and %q; the screen is\n%s", now, back, cure, undo, s.text())
	}
	other := l.shell(t, 80, 24)
	for _, p := range []struct {
		buffer, command string
		then            func()
	}{{nowBuffer, cure, helps}, {backBuffer, undo, func() {}}} {
		name, value, _ := strings.Cut(p.command[strings.LastIndex(p.command, "net."):], "=")
		out := other.paste(p.buffer)
		if got := l.sysctl(t, "ux-web", name); got != value {
			t.Errorf("after %s it is %s; the shell prints\n%s", p.command, got, out)
		}
		p.then()
	}
	s.types("q")
	s.until("the prompt", func(text string) bool { return strings.HasSuffix(strings.TrimSpace(text), "$") })
}

// lastScreen runs doctor on a terminal of 80x24, whose last screen is to have the verdict, who
// it is, and the cure on one line. It ends with that code; any if that is negative.
func (l *lab) lastScreen(t *testing.T, code int, where, who, cure string) {
	t.Helper()
	s := l.shell(t, 80, 24)
	s.types("twtrace doctor --window 2s; echo ends $?")
	s.enter()
	text := s.until("the end", func(text string) bool { return regexp.MustCompile(`(?m)^ends \d+$`).MatchString(text) })
	want := []string{"^(CRITICAL|WARNING) .*" + where, "^ +who .*" + who}
	if code >= 0 {
		want = append(want, fmt.Sprintf("^ends %d$", code))
	}
	if cure != "" {
		want = append(want, regexp.QuoteMeta(cure)+"( |$)")
	}
	hasLines(t, text, want...)
}

// hasLines fails unless each pattern matches in one line of a text.
func hasLines(t *testing.T, text string, patterns ...string) {
	t.Helper()
	for _, p := range patterns {
		if !regexp.MustCompile("(?m)" + p).MatchString(text) {
			t.Errorf("no line with %q in\n%s", p, text)
		}
	}
}
