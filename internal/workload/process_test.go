package workload_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// envParent makes the test binary a process that starts a workload and waits to
// be killed.
const envParent = "TWTRACE_TEST_PARENT"

func beParent() {
	p, err := workload.Start(context.Background(), "", server("127.0.0.1:0"))
	if err == nil {
		_, err = p.Ready()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(p.PID())
	select {}
}

func server(at string) workload.Spec {
	return workload.Spec{Serve: &workload.Serve{At: []netip.AddrPort{netip.MustParseAddrPort(at)}, End: workload.WaitEOF}}
}

func TestWorkloadDoesNotOutliveItsParent(t *testing.T) {
	ns := kerneltest.NetNS(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), envParent+"=1")
	out, err := cmd.StdoutPipe()
	if err == nil {
		ns.Do(t, func() { err = cmd.Start() })
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	stat := "/proc/" + strings.TrimSpace(line) + "/stat"
	kerneltest.Eventually(t, patience, func() (bool, string) {
		b, err := os.ReadFile(stat)
		// Nobody may collect it.
		return errors.Is(err, os.ErrNotExist) || strings.Contains(string(b), ") Z "), string(b)
	})
}

func TestContextEndsProcess(t *testing.T) {
	ns := kerneltest.NetNS(t)
	ctx, cancel := context.WithCancel(t.Context())
	p, err := workload.Start(ctx, ns.Path(), server("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := p.Ready()
	if err != nil || len(addrs) != 1 || addrs[0].Port() == 0 {
		t.Errorf("listens on %v, %v", addrs, err)
	}
	cancel()
	if _, err := p.Wait(); err == nil {
		t.Error("a process that was cut short has a log")
	}
	if err := p.Held(); err == nil {
		t.Error("Held waits for a process that is gone")
	}
}

func TestErrorsOfTheProcessAreToldByTheParent(t *testing.T) {
	ns := kerneltest.NetNS(t)
	p, err := workload.Start(t.Context(), ns.Path(), server("192.0.2.1:7000"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Ready()
	if err == nil || !strings.Contains(err.Error(), "listen on 192.0.2.1:7000") {
		t.Errorf("the error is %v", err)
	}
	if _, err := workload.Start(t.Context(), "/nonexistent", server("127.0.0.1:0")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in a namespace that does not exist: %v", err)
	}
}

func TestValidate(t *testing.T) {
	at := []netip.AddrPort{workload.IPv4}
	for name, spec := range map[string]workload.Spec{
		"nothing to do":      {},
		"two things to do":   {Noise: &workload.Noise{}, Connect: &workload.Connect{To: at, End: workload.Close}},
		"long comm":          {Comm: "0123456789abcdef", Noise: &workload.Noise{}},
		"no address":         {Serve: &workload.Serve{End: workload.Close}},
		"no destination":     {Connect: &workload.Connect{End: workload.Close}},
		"unknown end":        {Serve: &workload.Serve{At: at, End: "bang"}},
		"no end":             {Connect: &workload.Connect{To: at, Count: 1}},
		"held without limit": {Connect: &workload.Connect{To: at, End: workload.Hold}},
	} {
		if err := spec.Validate(); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestNoise(t *testing.T) {
	ns := kerneltest.NetNS(t)
	p, err := workload.Start(t.Context(), ns.Path(), workload.Spec{
		Comm: "neighbour", Workers: 2, Noise: &workload.Noise{Rate: 1000, Forks: 20},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Ready(); err != nil {
		t.Fatal(err)
	}
	if err := p.Go(); err != nil {
		t.Fatal(err)
	}
	kerneltest.Eventually(t, patience, func() (bool, string) {
		n := ns.Nstat(t)["TcpOutSegs"]
		return n > 100, fmt.Sprintf("%d segments", n)
	})
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	l, err := p.Wait()
	if err != nil || l.Opened != 4 || l.Rounds == 0 || l.Forks == 0 {
		t.Errorf("%+v, %v", l, err)
	}
	checkSockets(t, ns, "time-wait", nil)
}
