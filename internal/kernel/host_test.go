package kernel

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

func TestThisHost(t *testing.T) {
	h, err := ThisHost()
	if err != nil {
		t.Fatal(err)
	}
	for option, got := range map[string]string{"-n": h.Hostname, "-r": h.Release, "-v": h.Version, "-m": h.Machine} {
		if want := strings.TrimSpace(run(t, "uname", option)); got != want {
			t.Errorf("uname %s: %q, want %q", option, got, want)
		}
	}
	if want := strings.TrimSpace(run(t, "getconf", "PAGESIZE")); strconv.Itoa(h.PageSize) != want {
		t.Errorf("page size %d, want %s", h.PageSize, want)
	}
	if want := strings.TrimSpace(run(t, "getconf", "_NPROCESSORS_ONLN")); strconv.Itoa(h.CPUs) != want {
		t.Errorf("%d CPUs, want %s", h.CPUs, want)
	}
	if len(h.BootID) != 36 {
		t.Errorf("boot id %q is no UUID", h.BootID)
	}
	switch h.HZ {
	case 100, 250, 300, 1000:
	default:
		t.Errorf("HZ is %d", h.HZ)
	}
}

func TestParseCPUList(t *testing.T) {
	for list, want := range map[string]int{"0\n": 1, "0-1\n": 2, "0-3,8-11\n": 8, "0,2,4-5": 4} {
		if got, err := parseCPUList(list); err != nil || got != want {
			t.Errorf("%q is %d CPUs (%v), want %d", list, got, err, want)
		}
	}
	for _, list := range []string{"", "x", "0-", "0-x"} {
		if _, err := parseCPUList(list); err == nil {
			t.Errorf("%q passed", list)
		}
	}
}

func TestMemAvailable(t *testing.T) {
	got, err := parseMemAvailable(strings.NewReader("MemTotal:  2000 kB\nMemAvailable:   12345 kB\n"))
	if err != nil || got != 12345<<10 {
		t.Errorf("got %d, %v", got, err)
	}
	for _, bad := range []string{"", "MemTotal: 1 kB\n", "MemAvailable: x kB\n"} {
		if _, err := parseMemAvailable(strings.NewReader(bad)); err == nil {
			t.Errorf("%q passed", bad)
		}
	}
	if n, err := MemAvailable(); err != nil || n == 0 {
		t.Errorf("this host has %d bytes available, %v", n, err)
	}
}

// TestClockOffset: a time in one clock, moved by the offset, must lie between
// two readings of the other. The offset is exact to half of the time that its
// best try took; 10 ms is far more than any try among sixteen needs.
func TestClockOffset(t *testing.T) {
	offset := ClockOffset()
	before := time.Now().UnixNano()
	moved := monotonic() + offset
	after := time.Now().UnixNano()
	const slack = int64(10 * time.Millisecond)
	if moved < before-slack || moved > after+slack {
		t.Errorf("moved time %d is not between %d and %d", moved, before, after)
	}
}

func TestParseSymbol(t *testing.T) {
	b, err := os.ReadFile("testdata/kallsyms")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		addr uint64
		err  error
	}{
		{"tw_timer_handler", 0xffffffff81a00020, nil},
		{"inet_twsk_alloc", 0xffffffff81a00030, nil}, // .llvm.N, and not .cold
		{"inet_twsk_free", 0xffffffff81a00050, nil},  // .cfi_jt
		{"tcp_time_wait", 0xffffffff81a00070, nil},   // itself before its .llvm.N
		{"nf_ct_get", 0xffffffffc0400000, nil},       // of a module
		{"hidden", 0, ErrHidden},
		{"tw_timer", 0, nil},
		{"", 0, nil},
	} {
		addr, err := parseSymbol(strings.NewReader(string(b)), tt.name)
		if addr != tt.addr || !errors.Is(err, tt.err) {
			t.Errorf("%q is at %x (%v), want %x (%v)", tt.name, addr, err, tt.addr, tt.err)
		}
	}
	if _, err := parseSymbol(strings.NewReader("zz T odd\n"), "odd"); err == nil || errors.Is(err, ErrNoSymbol) {
		t.Errorf("an address that is no number: %v", err)
	}
	if addr, err := parseSymbol(strings.NewReader("ff T last"), "last"); addr != 0xff || err != nil {
		t.Errorf("last line without a newline: %x, %v", addr, err)
	}
	if _, err := parseSymbol(io.MultiReader(strings.NewReader("ff T a\n"), failing{}), "b"); !errors.Is(err, errRead) {
		t.Errorf("a read that fails: %v", err)
	}
}

// Of several, each is found, in any order.
func TestParseSymbols(t *testing.T) {
	b, err := os.ReadFile("testdata/kallsyms")
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseSymbols(strings.NewReader(string(b)), []string{"nf_ct_get", "none", "tw_timer_handler", "inet_twsk_alloc"})
	want := []uint64{0xffffffffc0400000, 0, 0xffffffff81a00020, 0xffffffff81a00030}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %x, %v; want %x", got, err, want)
	}
}

// parseSymbol is parseSymbols for one.
func parseSymbol(r io.Reader, name string) (uint64, error) {
	addrs, err := parseSymbols(r, []string{name})
	if err != nil {
		return 0, err
	}
	return addrs[0], nil
}

var errRead = errors.New("read failed")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errRead }

func TestSymbols(t *testing.T) {
	kerneltest.RequireRoot(t)
	addrs, err := Symbols("tw_timer_handler")
	if err != nil || addrs[0] < 1<<63 {
		t.Errorf("tw_timer_handler is at %x, %v", addrs, err)
	}
	if _, err := Symbols("no_such_function"); !errors.Is(err, ErrNoSymbol) {
		t.Errorf("no_such_function: %v", err)
	}
}

func TestBTF(t *testing.T) {
	if err := BTFAvailable(""); err != nil {
		t.Error(err)
	}
	if err := BTFAvailable(kernelBTF); err != nil {
		t.Error(err)
	}
	dir := t.TempDir()
	if err := BTFAvailable(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := BTFAvailable(empty); err == nil || !strings.Contains(err.Error(), empty) {
		t.Errorf("an empty file: %v", err)
	}
}

func TestParseCaps(t *testing.T) {
	const status = "Name:\ttwtrace\nCapInh:\t0000000000000000\nCapPrm:\t000001ffffffffff\nCapEff:\t000000c000000000\n"
	c, err := parseCaps(strings.NewReader(status))
	if err != nil || c != 1<<unix.CAP_BPF|1<<unix.CAP_PERFMON {
		t.Errorf("got %x, %v", uint64(c), err)
	}
	for _, bad := range []string{"", "Name:\tx\n", "CapEff:\tzz\n"} {
		if _, err := parseCaps(strings.NewReader(bad)); err == nil {
			t.Errorf("%q passed", bad)
		}
	}
}

func TestCanTrace(t *testing.T) {
	with := func(caps ...int) (c Caps) {
		for _, n := range caps {
			c |= 1 << n
		}
		return c
	}
	for _, tt := range []struct {
		name    string
		caps    Caps
		missing []string // in the error, in order
	}{
		{"root", ^Caps(0), nil},
		{"two capabilities", with(unix.CAP_BPF, unix.CAP_PERFMON), nil},
		{"CAP_SYS_ADMIN covers both", with(unix.CAP_SYS_ADMIN), nil},
		{"no perfmon", with(unix.CAP_BPF), []string{"missing CAP_PERFMON:", "run as root", "setcap cap_bpf,cap_perfmon,"}},
		{"nothing", 0, []string{"missing CAP_BPF and CAP_PERFMON:", "run as root"}},
	} {
		err := tt.caps.CanTrace()
		if (err == nil) != (tt.missing == nil) {
			t.Errorf("%s: %v", tt.name, err)
		}
		for _, word := range tt.missing {
			if err != nil && !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %v does not say %q", tt.name, err, word)
			}
		}
	}
	if lacks := (^Caps(0)).Lacks(); len(lacks) != 0 {
		t.Errorf("root lacks %v", lacks)
	}
	if lacks := with(unix.CAP_BPF, unix.CAP_PERFMON).Lacks(); len(lacks) != 4 {
		t.Errorf("two capabilities lack %v", lacks)
	}
}

// TestUserNamespaceOfAChild: a child in a user namespace of its own is not in the host's.
func TestUserNamespaceOfAChild(t *testing.T) {
	if os.Getenv("TWTRACE_TEST_CHILD") != "" {
		if InInitUserNS() {
			t.Error("the child takes its user namespace for the host's")
		}
		return
	}
	kerneltest.RequireRoot(t)
	cmd := exec.Command("unshare", "--user", "--map-root-user", os.Args[0], "-test.run=^TestUserNamespaceOfAChild$")
	cmd.Env = append(os.Environ(), "TWTRACE_TEST_CHILD=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
