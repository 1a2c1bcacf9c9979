package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/workload"
)

// TestDoctorTape: a recording has the owner and the destination in it, for anybody to
// read; of a healthy hour it is the bad minute that counts.
func TestDoctorTape(t *testing.T) {
	t.Parallel()
	ns := narrow(t, 300)
	file := filepath.Join(t.TempDir(), "t.ndjson.zst")
	rec := command("record", "-w", file, "-N", ns.Path(), "--duration", "20s")
	var errs talk
	rec.Stderr = &errs
	must(t, rec.Start())
	client := caller("checkout", 40, workload.HalfClose, one)
	client.Connect.Fails = 5
	onStage(t, ns, client, database)
	if err := rec.Wait(); err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	v := doctored(t, command("doctor", "-o", "json", "--window", "2s", "-r", file))
	found := v.of("TW101", ns)
	if v.ExitCode != 2 || len(found) != 1 || found[0].Scope.Comm != "checkout" || found[0].Scope.Raddr != "127.0.0.7" {
		t.Errorf("exit code %d:%s", v.ExitCode, v.words())
	}
	if early := doctored(t, command("doctor", "-o", "json", "--window", "500ms", "-r", file, "--to", "500ms")); early.ExitCode == 2 && len(early.of("TW101", ns)) == 0 {
		t.Errorf("before there was anything to see: %s", early.words())
	}
	if o := ended(t, command("doctor", "-r", file)); !strings.Contains(o.stdout, "watched 10s of t.ndjson.zst") {
		t.Errorf("%s", o.stdout)
	}
	for _, args := range [][]string{{"--no-bpf"}, {"--preflight"}, {"--syscalls", "on"}} {
		o := ended(t, command(append(append([]string{"doctor"}, args...), "-r", file)...))
		o.failed(t, 3, args[0])
	}
}
