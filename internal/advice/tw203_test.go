package advice

import (
	"net/netip"
	"testing"
)

var tw203Scenarios = []scenario{
	{name: "a crawler", facts: func() Facts {
		o := client(churning(2000))
		o.Remote, o.Destinations = netip.AddrPort{}, 1900
		return traced().owned(o)
	},
		want:  []string{"TW203 info", "TW000 ok"},
		words: []string{"1,900 destinations", "190/s"}},
	{name: "a client of a few dozen destinations", facts: func() Facts {
		o := client(churning(2000))
		o.Remote, o.Destinations = netip.AddrPort{}, 60
		return traced().owned(o)
	},
		want: []string{"TW000 ok"}},
}

func TestTW203(t *testing.T) { play(t, "TW203") }
