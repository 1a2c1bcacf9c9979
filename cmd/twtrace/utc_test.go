package main

import (
	"strings"
	"testing"
	"time"
)

// TestZone: text has the times of the reader's zone, and names it; --utc stands before or
// behind the command; JSON and CSV have UTC whatever the zone.
func TestZone(t *testing.T) {
	t.Parallel()
	const file = "testdata/report.ndjson.zst"
	if _, err := time.LoadLocation("Asia/Kolkata"); err != nil {
		t.Skip("this host has no time zones")
	}
	in := func(zone, args string) string {
		cmd := command(strings.Fields(args)...)
		cmd.Env = append(cmd.Env, "TZ="+zone)
		o := ended(t, cmd)
		if o.stdout == "" || o.stderr != "" {
			t.Fatalf("%s: exit code %d: %s", args, o.code, o.stderr)
		}
		return o.stdout
	}
	for _, tt := range []struct{ zone, args, want string }{
		{"Asia/Kolkata", "trace -r " + file, "TIME(IST) "},
		{"America/Sao_Paulo", "trace -r " + file, "TIME(-03) "},
		{"Asia/Kolkata", "trace -o wide -r " + file, "+05:30 time_wait_enter"},
		{"Asia/Kolkata", "storms -r " + file, "TIME(IST) "},
		{"Asia/Kolkata", "ports -o wide -r " + file, "+05:30 "},
		{"Asia/Kolkata", "doctor -r " + file, " IST\n"},
		{"Asia/Kolkata", "trace --utc -r " + file, "TIME(UTC) "},
		{"Asia/Kolkata", "--utc trace -r " + file, "TIME(UTC) "},
		{"Asia/Kolkata", "doctor --utc -r " + file, " UTC\n"},
		{"Nowhere/Such", "trace -r " + file, "TIME(UTC) "},
	} {
		if got := in(tt.zone, tt.args); !strings.Contains(got, tt.want) {
			t.Errorf("TZ=%s twtrace %s has no %q:\n%.400s", tt.zone, tt.args, tt.want, got)
		}
	}
	for _, args := range []string{"trace -o json", "trace -o csv", "ports -o json", "storms -o csv", "doctor -o json"} {
		args += " -r " + file
		if there, utc := in("Asia/Kolkata", args), in("UTC", args); there != utc {
			t.Errorf("twtrace %s depends on the zone", args)
		}
	}
}
