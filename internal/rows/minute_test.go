package rows

import (
	"fmt"
	"strings"
	"testing"
)

// The last minute: spans of five seconds, those without a sample as the one before.
func TestMinute(t *testing.T) {
	var m minute
	for _, v := range []struct {
		at   int64
		n    uint64
		want string
	}{
		{1000, 5, "0 0 0 0 0 0 0 0 0 0 0 5"},
		{1004, 7, "0 0 0 0 0 0 0 0 0 0 0 7"},
		{1005, 9, "0 0 0 0 0 0 0 0 0 0 7 9"},
		{1020, 2, "0 0 0 0 0 0 0 7 9 9 9 2"},
		{1019, 3, "0 0 0 0 0 0 0 7 9 9 9 3"}, // time does not go back
		{9999, 1, "3 3 3 3 3 3 3 3 3 3 3 1"},
	} {
		m.add(v.at*1e9, v.n)
		if got := strings.Trim(strings.Join(strings.Fields(fmt.Sprint(m.bins)), " "), "[]"); got != v.want {
			t.Errorf("%d at %d: %s, want %s", v.n, v.at, got, v.want)
		}
	}
}
