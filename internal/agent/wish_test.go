package agent

import (
	"net/url"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/filter"
)

// FuzzWish has the parser of requests for records meet what strangers ask.
func FuzzWish(f *testing.F) {
	for _, query := range []string{"", "past=15m", "past=0&live=0", "past=1h30m5s&live=true&filter=comm+nginx+rport+443", "past=-1s", "live=2",
		"filter=--comm%3Dnginx+-D+8000-8099", "past=1s&past=2s", "filter=%00%ff", "filter=laddr+10.0.0.0%2F8+netns+1", "x=1", "past=9999999h", "filter=%22a+b"} {
		f.Add(query)
	}
	a := &agent{opt: Options{ParseFilter: func(words string) (*filter.Filter, error) { return new(filter.Language).ParseLine(words) }}}
	f.Fuzz(func(t *testing.T, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		w, err := a.parseWish(q)
		switch {
		case err != nil && (err.Error() == "" || strings.ContainsAny(err.Error(), "\r\n\x00\x1b")):
			t.Errorf("%q: the answer is %q", query, err)
		case err == nil && w.past < 0:
			t.Errorf("%q: past %v", query, w.past)
		case err == nil && q.Has("filter") != (w.filter != nil):
			t.Errorf("%q: filter %v", query, w.filter)
		case err == nil && !q.Has("live") && !w.live:
			t.Errorf("%q does not go on", query)
		}
	})
}
