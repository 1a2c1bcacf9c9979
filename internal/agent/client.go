package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultSocket is where an agent listens, unless it is told otherwise.
const DefaultSocket = "/run/twtrace/agent.sock"

// Group is the group whose members may connect to an agent.
const Group = "twtrace"

// ErrNone reports that no agent answers.
var ErrNone = errors.New("no agent answers")

// DeniedError reports a socket that this user may not open.
type DeniedError struct {
	Path  string
	Group string // that may
}

func (e *DeniedError) Error() string {
	if e.Group == "root" {
		return fmt.Sprintf("only root may connect to the agent at %s: make a group %s for others, and start the agent again", e.Path, Group)
	}
	return fmt.Sprintf("only root and the members of group %s may connect to the agent at %s: add USER with usermod -aG %s USER, and log in again", e.Group, e.Path, e.Group)
}

// Client asks an agent, at the path of its socket or at an URL.
type Client struct {
	Where string
	base  string
	http  *http.Client
}

// answerPatience is how long an agent may take to start its answer.
const answerPatience = 10 * time.Second

// NewClient returns a client of the agent at the path of a socket, or at an http URL.
func NewClient(where string) *Client {
	c := &Client{Where: where, base: strings.TrimSuffix(where, "/"), http: &http.Client{}}
	if strings.HasPrefix(where, "http://") {
		c.http.Transport = &http.Transport{ResponseHeaderTimeout: answerPatience, DisableKeepAlives: true}
		return c
	}
	c.base = "http://agent"
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", where)
	}
	c.http.Transport = &http.Transport{DialContext: dial, ResponseHeaderTimeout: answerPatience, DisableKeepAlives: true}
	return c
}

// Ask says what of the stream is wanted.
type Ask struct {
	Past   time.Duration // how much of the past
	Live   bool          // and what comes then
	Filter string        // "" for everything
}

// Stream is the answer to /v1/stream, whose records are read from it.
type Stream struct {
	io.Reader
	Where   string
	From    time.Time // where it starts
	Now     time.Time // how far the agent was
	Filter  string    // of the agent, "" if it traces all
	Dropped uint64    // records of the past that was asked for, which the agent does not have any more
	body    io.Closer
}

// Close ends the answer.
func (s *Stream) Close() error { return s.body.Close() }

// closers close a body and let go of its context.
type closers struct {
	io.Closer
	cancel func()
}

func (c closers) Close() error {
	defer c.cancel()
	return c.Closer.Close()
}

// Stream asks for the stream. The error is ErrNone where nobody answers, and a *DeniedError
// where this user may not ask. Once it has answered, the stream outlives ctx: who stops reads
// what has come.
func (c *Client) Stream(ctx context.Context, ask Ask) (*Stream, error) {
	q := url.Values{"past": {ask.Past.String()}}
	if !ask.Live {
		q.Set("live", "0")
	}
	if ask.Filter != "" {
		q.Set("filter", ask.Filter)
	}
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	asked := context.AfterFunc(ctx, cancel)
	answer, err := c.get(lasting, "/v1/stream?"+q.Encode())
	if err == nil && !asked() {
		answer.Body.Close()
		err = ctx.Err()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	h := answer.Header
	s := &Stream{Reader: cutReader{answer.Body}, body: closers{answer.Body, cancel}, Where: c.Where, Filter: h.Get(HeaderFilter)}
	s.From, _ = time.Parse(time.RFC3339Nano, h.Get(HeaderFrom))
	s.Now, err = time.Parse(time.RFC3339Nano, h.Get(HeaderNow))
	s.Dropped, _ = strconv.ParseUint(h.Get(HeaderDropped), 10, 64)
	if err != nil {
		answer.Body.Close()
		return nil, fmt.Errorf("%s: this is no agent of twtrace", c.Where)
	}
	return s, nil
}

// Get returns what the agent answers to a path, such as /v1/status.
func (c *Client) Get(ctx context.Context, path string) ([]byte, error) {
	answer, err := c.get(ctx, path)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	return io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
}

// maxAnswer bounds what is read of an answer that is no stream.
const maxAnswer = 64 << 20

func (c *Client) get(ctx context.Context, path string) (*http.Response, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Where, err)
	}
	answer, err := c.http.Do(q)
	if err != nil {
		return nil, c.explain(err)
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		words, _ := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
		return nil, fmt.Errorf("the agent at %s says: %s", c.Where, strings.TrimSpace(string(words)))
	}
	return answer, nil
}

// explain words an error of a request.
func (c *Client) explain(err error) error {
	var cause *url.Error
	if errors.As(err, &cause) {
		err = cause.Err
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return &DeniedError{Path: c.Where, Group: groupOf(c.Where)}
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("%w at %s", ErrNone, c.Where)
	}
	return fmt.Errorf("ask the agent at %s: %w", c.Where, err)
}

// groupOf is the name of the group that a file belongs to, as far as it can be known.
func groupOf(path string) string {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return Group
	}
	g, err := user.LookupGroupId(strconv.FormatUint(uint64(st.Gid), 10))
	if err != nil {
		return strconv.FormatUint(uint64(st.Gid), 10)
	}
	return g.Name
}

// cutReader says what the sudden end of an answer means.
type cutReader struct{ io.Reader }

func (r cutReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, unix.ECONNRESET) {
		err = errors.New("the agent is gone, or has cut this reader off as too slow: records are missing from here on")
	}
	return n, err
}

// Listen makes the socket of an agent, for root and the members of a group, that of the
// process if it has no such group. A socket that nobody listens at is replaced.
func Listen(path string) (net.Listener, error) {
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return nil, fmt.Errorf("another agent listens at %s", path)
	} else if errors.Is(err, unix.ECONNREFUSED) {
		if st, err := os.Lstat(path); err == nil && st.Mode()&fs.ModeSocket != 0 {
			if err := os.Remove(path); err != nil {
				return nil, fmt.Errorf("replace a socket that nobody listens at: %w", err)
			}
		}
	}
	mask := unix.Umask(0o177) // nobody but root may connect, until the group is set
	ln, err := net.Listen("unix", path)
	unix.Umask(mask)
	if err != nil {
		return nil, fmt.Errorf("make the socket of the agent: %w", err)
	}
	if g, err := user.LookupGroup(Group); err == nil {
		gid, _ := strconv.Atoi(g.Gid)
		if err := os.Chown(path, -1, gid); err != nil {
			ln.Close()
			return nil, fmt.Errorf("give the socket to group %s: %w", Group, err)
		}
	}
	if err := os.Chmod(path, 0o660); err != nil {
		ln.Close()
		return nil, fmt.Errorf("open the socket to its group: %w", err)
	}
	return ln, nil
}
