package session

import (
	"slices"
	"testing"

	"github.com/twtrace/twtrace/internal/conn"
)

// TestRefusals: each thing that a table had no room for is said, and nothing else.
func TestRefusals(t *testing.T) {
	if got := refusals(&conn.Totals{Duplicates: 1, Unmatched: 1, Dropped: 1, DestinationsRefused: 1}); got != nil {
		t.Errorf("it says %q", got)
	}
	want := []string{"more than 1,048,576 connections: up to 12,345 not shown", "more than 65,536 rows: the rest are in (other)",
		"7 listeners not remembered: servers may lack their owner"}
	if got := refusals(&conn.Totals{Untracked: 12345, GroupsRefused: 2, ListenersRefused: 7}); !slices.Equal(got, want) {
		t.Errorf("it says %q, want %q", got, want)
	}
}
