package view

import (
	"context"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/clipboard"
)

// notebook is a clipboard that remembers what it got.
type notebook struct {
	got    chan string
	result clipboard.Result
}

func (n *notebook) Copy(_ context.Context, text string) clipboard.Result {
	n.got <- text
	return n.result
}

const (
	cure, cureUndo = "ip netns exec shop sysctl -w net.ipv4.tcp_tw_reuse=1", "ip netns exec shop sysctl -w net.ipv4.tcp_tw_reuse=2"
	wider          = `ip netns exec shop sysctl -w net.ipv4.ip_local_reserved_ports=8080,9000 net.ipv4.ip_local_port_range="1024 65535"`
)

// What y and Y hand over is what is on the screen: the cures of a page one after the
// other and how each is taken back, then the commands that show the sockets.
func TestCopyCure(t *testing.T) {
	p := openPTY(t)
	src := newFake()
	notes := &notebook{make(chan string, 1), clipboard.Result{Words: "copied to the notebook"}}
	wait := p.start(t.Context(), src, LoopOptions{Clipboard: notes, Display: Display{Enter: inShop}})
	src.states <- told()
	p.Await("8 flows")
	copied := func(key, want string) {
		t.Helper()
		p.Press(key)
		if got := <-notes.got; got != want {
			t.Errorf("%s copied %q, want %q", key, got, want)
		}
		p.Await("copied to the notebook")
		p.Until("the command is on the screen", func() bool {
			for i, l := range commandLines(want, 80) {
				if !strings.Contains("\n"+p.Text(), "\n"+l) {
					return i < 0
				}
			}
			return true
		})
	}
	ss, tcpdump := "ip netns exec shop ss -tanH state time-wait 'dst 10.2.0.9:5432 and src 10.0.0.7'",
		"ip netns exec shop tcpdump -ni any 'host 10.2.0.9 and port 5432 and host 10.0.0.7'"
	copied("y", ss)
	p.Press("\r")
	p.Await("first seen")
	p.Await("\n" + cure) // at the left edge, whole
	copied("y", cure)
	copied("Y", cureUndo)
	copied("y", wider)
	copied("Y", `ip netns exec shop sysctl -w net.ipv4.ip_local_port_range="32768 60999" net.ipv4.ip_local_reserved_ports=`)
	copied("y", ss)
	copied("y", tcpdump)
	copied("y", cure)
	p.Press("\x1b[F") // the end of the page: its commands come first
	p.Await("and its packets")
	copied("y", ss)
	p.Press("D")
	p.Await("doctor: 1 finding")
	copied("y", cure)
	copied("Y", cureUndo)
	p.Press("?y")
	p.Await("no command on this screen")
	p.Press("Q")
	if err := wait(); err != nil {
		t.Error(err)
	}
	p.Restored()
	p.Await(cureUndo) // printed at the end
}

// What nobody may have taken is shown alone on the normal screen, in one piece, until a
// key is pressed; v shows it so at any time.
func TestCopyByHand(t *testing.T) {
	for name, result := range map[string]clipboard.Result{
		"none":  {Words: "this terminal has no clipboard", ByHand: true},
		"sent":  {Words: "sent, but nobody says that it was taken", ByHand: true, Sequence: "\x1b]52;c;eA==\a"},
		"taken": {Words: "copied"},
	} {
		t.Run(name, func(t *testing.T) {
			p := openPTY(t)
			src := newFake()
			notes := &notebook{make(chan string, 1), result}
			wait := p.start(t.Context(), src, LoopOptions{Clipboard: notes, Mouse: true})
			src.states <- told()
			p.Await("8 flows")
			p.Press("\r")
			p.Await("first seen")
			p.Press("y")
			<-notes.got
			words := result.Words
			if !result.ByHand {
				p.Await(" copied")
				p.Press("v")
				words = "the command alone"
			}
			shown := 0 // the normal screen keeps what it had
			alone := func(words string) {
				shown++
				p.Until("the command alone", func() bool {
					return !p.Full() && strings.Count(p.Text(), "any key returns.") == shown && strings.Contains(p.Text(), "twtrace: "+words)
				})
			}
			alone(words)
			if strings.Contains(p.Text(), "first seen") {
				t.Error("the page is on the normal screen")
			}
			p.Press("x")
			p.Until("the view is back", func() bool { return p.Full() && strings.Contains(p.Text(), "first seen") })
			p.Press("v")
			alone("the command alone")
			p.Press("\x03")
			if err := wait(); err != nil {
				t.Error(err)
			}
			p.Restored()
		})
	}
}
