package internal

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// formerVariables switched modes of twtrace, or of its tests, once.
var formerVariables = []string{
	"TWTRACE_WORKLOAD=run", "TWTRACE_WORKLOAD=exit", "TWTRACE_WORKLOAD=hand", "TWTRACE_WORKLOAD_COMM=comm",
	"TWTRACE_TEST_RUN=1", "TWTRACE_TEST_HOOKS=none", "TWTRACE_TEST_UNHOOK=all", "TWTRACE_TEST_WITHOUT_BPF=1",
	"TWTRACE_TEST_WITHOUT_FILES=1", "TWTRACE_PROCESS_TEST=1", "TWTRACE_TEST_KILLED=1", "TWTRACE_TEST_LOOP=1",
	"TWTRACE_TEST_CHILD=1", "TWTRACE_TEST_PARENT=1", "TWTRACE_TEST_ENTER=1", "TWTRACE_TEST_OTHER_NETNS=1",
	"TWTRACE_VM=1", "TWTRACE_PID1_ARTEFACT=1", "TWTRACE_CACHE=/nonexistent", "TWTRACE_DEBIAN_MIRROR=none", "TWTRACE_SOCKETS=1",
}

// TestEnvironmentSwitchesNothing runs the program as it ships with each variable that
// there ever was, and wants the same output.
func TestEnvironmentSwitchesNothing(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "twtrace")
	build := exec.Command("go", "build", "-o", program, module+"cmd/twtrace")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	binary, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	// It makes the names of variables from those of flags, so it has none whole. (Code that
	// compares with the prefix may go on with a letter or two.)
	for _, name := range regexp.MustCompile(`TWTRACE_[A-Z]{3,}[A-Z0-9_]*`).FindAll(binary, -1) {
		if string(name) != "TWTRACE_INTERVAL" { // an example in the help of config
			t.Errorf("the program has the name of a variable: %q", name)
		}
	}
	for _, args := range [][]string{{"--version"}, {"explain"}, {"trace", "--no-such-flag"}, {"demo-process"}} {
		run := func(variable ...string) (string, int) {
			cmd := exec.Command(program, args...)
			cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, variable...)
			out, _ := cmd.CombinedOutput() // its exit code is compared
			return string(out), cmd.ProcessState.ExitCode()
		}
		want, code := run()
		if want == "" {
			t.Errorf("%q prints nothing", args)
		}
		for _, v := range formerVariables {
			if got, c := run(v); got != want || c != code {
				t.Errorf("%q with %s: got %q and exit code %d, want %q and %d", args, v, got, c, want, code)
			}
		}
	}
}

// readsEnvironment are the files of the program that read variables, and which: what the
// terminal and the host are, and the defaults of flags. cmd/twtrace lists those flags, and
// has a test of what they may be.
var readsEnvironment = map[string][]string{
	"cmd/twtrace/top.go":                {`os.Getenv("TERM")`, `os.Getenv("NO_COLOR")`, `os.Getenv(name)`, `os.Environ()`}, // name: LC_ALL, LC_CTYPE, LANG
	"cmd/twtrace/ports.go":              {`os.Getenv("TERM")`},
	"cmd/twtrace/notify.go":             {`os.Getenv("NOTIFY_SOCKET")`},
	"cmd/twtrace/doctor_screen.go":      {`os.Getenv("TERM")`},
	"cmd/twtrace/settings_file.go":      {`os.Environ()`, `os.UserConfigDir()`},
	"internal/clipboard/clipboard.go":   {`os.Getenv("TERM")`},
	"internal/clipboard/multiplexer.go": {`os.Getenv("PATH")`},
	"internal/record/directory.go":      {`os.Getenv("SUDO_UID")`, `os.Getenv("SUDO_GID")`},
}

// TestEnvironmentIsReadInFewPlaces: a variable that is read somewhere else is a switch that
// nobody knows of.
func TestEnvironmentIsReadInFewPlaces(t *testing.T) {
	t.Parallel()
	reads := regexp.MustCompile(`os\.(Getenv|LookupEnv|Environ|ExpandEnv|User[A-Z][A-Za-z]+Dir)\([^)]*\)|[Ss]yscall\.(Getenv|Environ)\(`)
	whole := regexp.MustCompile(`TWTRACE_[A-Z0-9]+`)
	seen := make(map[string]bool)
	root := os.DirFS("..")
	for _, path := range shownSources(t, root) {
		text, err := os.ReadFile(filepath.Join("..", path))
		if err != nil {
			t.Fatal(err)
		}
		// The program makes the names of variables from those of flags, and has none whole.
		for _, name := range whole.FindAllString(string(text), -1) {
			if path != "cmd/twtrace/config.go" || name != "TWTRACE_INTERVAL" { // an example in its help
				t.Errorf("%s has the name of a variable: %s", path, name)
			}
		}
		for _, call := range reads.FindAllString(string(text), -1) {
			seen[path] = true
			if !slices.Contains(readsEnvironment[path], call) {
				t.Errorf("%s calls %s", path, call)
			}
		}
	}
	for path := range readsEnvironment {
		if !seen[path] && !strings.HasSuffix(path, "_test.go") {
			t.Errorf("%s reads no variable any more", path)
		}
	}
}
