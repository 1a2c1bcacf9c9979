package view

import (
	"net/netip"
	"testing"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/rows"
)

// TestConcerns: a finding is on the page of the rows that it is about, and of no other.
func TestConcerns(t *testing.T) {
	nginx := &rows.Row{}
	nginx.NetNS, nginx.Role, nginx.Owner = 7, event.Client, event.Proc{PID: 5, Comm: "nginx"}
	nginx.Local, nginx.Remote = netip.MustParseAddrPort("10.0.0.7:0"), netip.MustParseAddrPort("10.2.0.9:5432")
	for name, tt := range map[string]struct {
		finding advice.Finding
		want    bool
	}{
		"its destination":               {advice.Finding{ID: "TW101", Scope: advice.Scope{NetNS: 7, Raddr: "10.2.0.9", Rport: 5432}}, true},
		"another destination":           {advice.Finding{ID: "TW101", Scope: advice.Scope{NetNS: 7, Raddr: "10.2.0.8", Rport: 5432}}, false},
		"its process":                   {advice.Finding{ID: "TW203", Scope: advice.Scope{NetNS: 7, PID: 5, Comm: "nginx"}}, true},
		"processes of its name":         {advice.Finding{ID: "TW203", Scope: advice.Scope{NetNS: 7, Comm: "nginx"}}, true},
		"processes of another name":     {advice.Finding{ID: "TW202", Scope: advice.Scope{NetNS: 7, Comm: "cron"}}, false},
		"its namespace":                 {advice.Finding{ID: "TW303", Scope: advice.Scope{NetNS: 7}}, true},
		"another namespace":             {advice.Finding{ID: "TW303", Scope: advice.Scope{NetNS: 8}}, false},
		"namespaces that have ended":    {advice.Finding{ID: "TW304", Scope: advice.Scope{NetNS: 7}}, false},
		"what the trace could not show": {advice.Finding{ID: "TW900", Scope: advice.Scope{NetNS: 7}}, false},
	} {
		tt.finding.Severity = event.Info
		if got := concerns(&tt.finding, nginx); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}
