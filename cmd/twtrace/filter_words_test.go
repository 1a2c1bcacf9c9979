package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/live"
)

// askedOf runs a command line up to where the hooks are attached, and returns how.
func askedOf(t *testing.T, line string) live.Options {
	t.Helper()
	var got *live.Options
	o := attachedBy(func(o live.Options) (running, error) {
		got = &o
		return nil, errors.New("enough")
	}, strings.Fields(line)...)
	if got == nil {
		t.Fatalf("%s: no hook is attached: %s", line, o.stderr)
	}
	return *got
}

// A filter in words is the same filter as the flags, in the kernel and in user space,
// wherever the words are.
func TestWordsAreFlags(t *testing.T) {
	home, err := kernel.CurrentNetNS()
	if err != nil {
		t.Fatal(err)
	}
	netns := strconv.FormatUint(uint64(home.Inum), 10)
	for _, verb := range []string{"trace", "top -b", "record -w " + filepath.Join(t.TempDir(), "x"), "storms", "ports", "-b"} {
		for _, tt := range []struct{ words, flags string }{
			{"pid 42 rport 443", "-p 42 -D 443"}, {"rport 80-90 raddr 10.77 -4", "--rport 80-90 --raddr 10.77.0.0/16 -4"},
			{"netns " + netns + " uid 0", "-N " + netns + " --uid 0"}, {"comm nginx unit cron", "--unit cron --comm nginx"}, {"raddr !10.0.0.0/8", "--raddr !10.0.0.0/8"},
		} {
			words, flags := askedOf(t, verb+" "+tt.words+" --max-conns 100"), askedOf(t, verb+" "+tt.flags+" --max-conns 100")
			f, g := words.Tracer.Filter, flags.Tracer.Filter
			if f.Kernel() != g.Kernel() || f.String() != g.String() {
				t.Errorf("%s %s: %q, by flags %q; the kernel gets\n%+v, by flags\n%+v", verb, tt.words, f, g, f.Kernel(), g.Kernel())
			}
			if !slices.Equal(words.Named, flags.Named) || (len(words.Named) == 1) != strings.Contains(tt.words, "netns") {
				t.Errorf("%s %s: namespaces %v, by flags %v", verb, tt.words, words.Named, flags.Named)
			}
			if words.Tracer.MaxConns != 100 {
				t.Errorf("%s %s: a flag behind the words is lost", verb, tt.words)
			}
		}
	}
	for line, want := range map[string]string{
		"trace nginx :8080": "comm *nginx*, port 8080", "trace -D 8080 nginx -p 1": "pid 1, comm *nginx*, remote port 8080", "trace ! nginx -D 80": "remote port 80, not (comm *nginx*)",
		":8080 -b": "port 8080", "10.77 nginx -b": "comm *nginx*, address 10.77.0.0/16", "ports :8080 nginx": "comm *nginx*, port 8080", "trace -L 80 lport 80-90": "local port 80, local port 80-90",
		"trace nginx -- true": "followed processes, comm *nginx*", "trace -- true": "followed processes", "record -w x --force :80 -- echo -D 9": "followed processes, port 80",
	} {
		if got := askedOf(t, line).Tracer.Filter.String(); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

func TestArrange(t *testing.T) {
	app := newApp(os.Stdout, os.Stderr)
	for _, tt := range []struct{ line, want, job string }{
		{"trace nginx -o json :80 -4", "trace -o json -4 nginx :80", ""}, {"trace nginx --count=3 x", "trace --count=3 nginx x", ""},
		{"trace a -p 1 -- curl -s x -o y", "trace -p 1 a", "curl -s x -o y"}, {"trace -- a", "trace", "a"}, {"trace -p -- a", "trace -p -- a", ""},
		{"-r a.zst b.zst -b", "-r a.zst -b b.zst", ""}, {"convert a b -w c", "convert -w c a b", ""}, {"--comm doctor bogus", "--comm doctor bogus", ""},
		{"explain -- -x", "explain -- -x", ""}, {"-N web trace x -i", "trace -N web -i x", ""}, {"trace x --dport 80", "trace --dport x 80", ""}, {"list - x", "list - x", ""}, {"", "", ""},
	} {
		got, job := arrange(app, append([]string{"twtrace"}, strings.Fields(tt.line)...))
		if s := strings.Join(got[1:], " "); s != tt.want || strings.Join(job, " ") != tt.job {
			t.Errorf("%s: %q, job %q; want %q, %q", tt.line, s, job, tt.want, tt.job)
		}
	}
}

// With --read the names of files come first, then the filter.
func TestFilesAndWords(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "any name")
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ args, files, words []string }{
		{[]string{"-r", "a.zst", "b.zst", "nginx", ":80"}, []string{"a.zst", "b.zst"}, []string{"nginx", ":80"}},
		{[]string{"-r", "a", there, "comm", there}, []string{"a", there}, []string{"comm", there}}, {[]string{"-r", "a", "10.0.0.0/8"}, []string{"a"}, []string{"10.0.0.0/8"}},
		{[]string{"-r", "-", "-o", "json", "x.ndjson", dir}, []string{"-", "x.ndjson"}, []string{dir}}, {[]string{"a.zst"}, nil, []string{"a.zst"}},
	} {
		app := newApp(os.Stdout, os.Stderr)
		var files, words []string
		app.Command("trace").Action = func(c *cli.Context) error {
			files, words = fileNames(c), filterWords(c)
			return nil
		}
		line, _ := arrange(app, append([]string{"twtrace", "trace"}, tt.args...))
		if err := app.Run(line); err != nil || !slices.Equal(files, tt.files) || !slices.Equal(words, tt.words) {
			t.Errorf("%v: files %q, words %q, %v", tt.args, files, words, err)
		}
	}
}
