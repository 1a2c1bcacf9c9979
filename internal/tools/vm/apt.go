package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// mirrorEnv names the Debian mirror on machines whose own apt sources have none.
const mirrorEnv = "TWTRACE_DEBIAN_MIRROR"

// keyring is where the package debian-archive-keyring puts its keys.
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// apt is an apt of our own, which knows one suite of Debian and nothing of the
// packages installed on this machine. The machine's own configuration stays in
// force (proxies, time-outs) and stays untouched.
type apt struct {
	config string // file
}

// newApt writes the configuration to dir.
func newApt(ctx context.Context, dir, suite string) (*apt, error) {
	mirror, err := debianMirror(ctx)
	if err != nil {
		return nil, err
	}
	for _, d := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	// Old suites are kept with the index of their last day.
	sources := fmt.Sprintf("deb [signed-by=%s check-valid-until=no] %s %s main\n", keyring, mirror, suite)
	var conf strings.Builder
	for _, kv := range [][2]string{
		{"Dir::State", dir},
		{"Dir::State::lists", filepath.Join(dir, "lists")},
		{"Dir::State::status", filepath.Join(dir, "status")},
		{"Dir::Cache", filepath.Join(dir, "cache")},
		{"Dir::Etc::sourcelist", filepath.Join(dir, "sources.list")},
		{"Dir::Etc::sourceparts", "/dev/null"},
		{"Dir::Etc::preferences", "/dev/null"},
		{"Dir::Etc::preferencesparts", "/dev/null"},
		{"APT::Architecture", "amd64"},
		{"APT::Sandbox::User", ""}, // the cache is not for _apt to write in
		{"Acquire::Languages", "none"},
		{"Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", "false"},
		{"Acquire::Retries", "3"},
	} {
		fmt.Fprintf(&conf, "%s %q;\n", kv[0], kv[1])
	}
	a := &apt{config: filepath.Join(dir, "apt.conf")}
	for name, content := range map[string]string{"apt.conf": conf.String(), "sources.list": sources, "status": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *apt) command(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	cmd, err := tool(ctx, name, args...)
	if err != nil {
		return nil, err
	}
	cmd.Env = append(os.Environ(), "APT_CONFIG="+a.config, "LC_ALL=C")
	return cmd, nil
}

func (a *apt) update(ctx context.Context) error {
	// Without the option a failed download is a warning, and exits 0.
	cmd, err := a.command(ctx, "apt-get", "-q", "update", "-o", "APT::Update::Error-Mode=any")
	if err != nil {
		return err
	}
	_, err = output(cmd)
	return err
}

// show returns what the suite says about a package.
func (a *apt) show(ctx context.Context, name string) (stanza, error) {
	cmd, err := a.command(ctx, "apt-cache", "show", "--no-all-versions", name)
	if err != nil {
		return nil, err
	}
	b, err := output(cmd)
	if err != nil {
		return nil, err
	}
	return parseStanza(string(b)), nil
}

// download puts the packages' files in dir, their checksums verified.
func (a *apt) download(ctx context.Context, dir string, pkgs []stanza) error {
	args := []string{"-q", "download"}
	for _, p := range pkgs {
		args = append(args, p["Package"]+"="+p["Version"])
	}
	cmd, err := a.command(ctx, "apt-get", args...)
	if err != nil {
		return err
	}
	cmd.Dir = dir
	_, err = output(cmd)
	return err
}

// stanza is one package's control fields.
type stanza map[string]string

func parseStanza(s string) stanza {
	p := stanza{}
	for line := range strings.Lines(s) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			break
		}
		// A line that begins with a space continues a field of no use here.
		if k, v, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, " ") {
			p[k] = strings.TrimSpace(v)
		}
	}
	return p
}

// depends returns the names in the Depends field, of alternatives the first.
func (p stanza) depends() []string {
	var names []string
	for dep := range strings.SplitSeq(p["Depends"], ",") {
		if f := strings.Fields(dep); len(f) > 0 {
			names = append(names, f[0])
		}
	}
	return names
}

// debianMirror returns the URI of the Debian archive that this machine uses.
func debianMirror(ctx context.Context) (string, error) {
	if m := os.Getenv(mirrorEnv); m != "" {
		return m, nil
	}
	cmd, err := tool(ctx, "apt-get", "indextargets",
		"--format", "$(SITE)|$(ORIGIN)|$(LABEL)|$(COMPONENT)", "Created-By: Packages")
	if err != nil {
		return "", err
	}
	b, err := output(cmd)
	if err != nil {
		return "", err
	}
	if m := pickMirror(string(b)); m != "" {
		return m, nil
	}
	return "", fmt.Errorf("find a Debian mirror: none in the apt sources of this machine; name one in %s", mirrorEnv)
}

// pickMirror picks from lines of site, origin, label and component. Origin and
// label are unknown until the machine's apt has fetched the index.
func pickMirror(targets string) string {
	var guess string
	for line := range strings.Lines(targets) {
		f := strings.Split(strings.TrimSpace(line), "|")
		switch {
		case len(f) != 4 || f[3] != "main":
		case f[1] == "Debian" && f[2] == "Debian":
			return f[0]
		case guess == "" && f[1] == "" && strings.HasSuffix(strings.TrimSuffix(f[0], "/"), "/debian"):
			guess = f[0]
		}
	}
	return guess
}
