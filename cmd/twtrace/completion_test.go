package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// offeredFor are the words that completion offers for the end of a line, and what it has
// the shell do.
func offeredFor(t *testing.T, words ...string) (offers []string) {
	t.Helper()
	o := ran(append([]string{completeVerb}, words...)...)
	if o.code != exitOK || o.stderr != "" {
		t.Fatalf("%q: exit code %d, stderr %q", words, o.code, o.stderr)
	}
	for line := range strings.Lines(o.stdout) {
		word, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		offers = append(offers, word)
	}
	return offers
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line string // the last word is completed
		want string
	}{
		{"tr", "trace"},
		{"trace --rp", "--rport"},
		{"trace --re", "--reason --read"},
		{"trace -o j", "json"},
		{"trace --output=j", "--output=json"},
		{"-o ", "text json"},
		{"doctor -o ", "text json md"},
		{"report -o m", "md"},
		{"trace --fields lif", ":nospace life_ns life_p50_ns"},
		{"trace --fields pid,lif", ":nospace pid,life_ns pid,life_p50_ns"},
		{"ports --fields usa", ":nospace usable"},
		{"trace --reason expired,reset_", ":nospace expired,reset_sent expired,reset_received"},
		{"trace --reason reset_sent,reset_", ":nospace reset_sent,reset_received"},
		{"storms --reason ", ":nospace ports buckets churn"},
		{"trace --event !storm_e", ":nospace !storm_end"},
		{"trace --closed-by ", ":nospace local remote both"},
		{"list --by net", "netns"},
		{"explain TW20", "TW201 TW202 TW203 TW204 TW205 TW206 TW207 TW208 TW209"},
		{"help con", "convert config"},
		{"completion ", "bash zsh fish"},
		{"trace -r ", ":files"},
		{"record -w x", ":files"},
		{"convert a", ":files"},
		{"trace -p 1 -- ls ", ":files"},
		{"trace rp", "rport"},
		{"trace role ", ":nospace client server"},
		{"--no-color tr", "trace"},
		{"-i 2s tr", "trace"},
		{"doctor --fail-on w", "warn"},
	} {
		if got := strings.Join(offeredFor(t, strings.Split(c.line, " ")...), " "); got != c.want {
			t.Errorf("%q: %q, want %q", c.line, got, c.want)
		}
	}
	// The flags of a command, all of them, and no hidden command.
	for _, cmd := range newApp(os.Stdout, os.Stderr).Commands {
		offers := offeredFor(t, cmd.Name, "-")
		for _, f := range cmd.Flags {
			if h := describeFlag(f); !cmd.Hidden && !slices.Contains(offers, "--"+h.long) && !slices.Contains(offers, "-"+h.short) {
				t.Errorf("%s -: no %s in %q", cmd.Name, f.Names()[0], offers)
			}
		}
	}
	if offers := offeredFor(t); !slices.Equal(offers, verbs) {
		t.Errorf("commands: %q", offers)
	}
	if offers := offeredFor(t, "trace", "-p", ""); !slices.Contains(offers, "1") {
		t.Errorf("processes: %q", offers)
	}
	ran("completion", "tcsh").failed(t, exitUsage, "bash, zsh or fish")
}

// TestCompletionScripts has each shell complete a line with its script.
func TestCompletionScripts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "twtrace"), []byte("#!/bin/sh\nexec "+self(t)+` "$@"`+"\n"), 0o755))
	for shell, line := range map[string]string{
		"bash": `source <(twtrace completion bash); COMP_WORDS=(twtrace trace --reason expired,reus); COMP_CWORD=3; _twtrace; echo "${COMPREPLY[@]}"`,
		"fish": `twtrace completion fish | source; complete -C "twtrace trace --reason expired,reus"`,
		"zsh":  `compdef() { true }; source <(twtrace completion zsh); compadd() { print -r -- $values }; words=(twtrace trace --reason expired,reus); CURRENT=4; _twtrace`,
	} {
		kerneltest.RequireTool(t, shell, shell)
		cmd := exec.Command(shell, "-c", line)
		cmd.Env = append(os.Environ(), asTwtrace+"=1", "PATH="+dir+":"+os.Getenv("PATH"))
		if o := ended(t, cmd); strings.TrimSpace(o.stdout) != "expired,reused" {
			t.Errorf("%s: %+v", shell, o)
		}
	}
}

// self is the path of this program.
func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	must(t, err)
	return path
}
