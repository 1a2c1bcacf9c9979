package advice

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestEveryRuleHasAPage, by its ID and title, and every page of a TW a rule.
func TestEveryRuleHasAPage(t *testing.T) {
	ids, err := pageIDs()
	if err != nil {
		t.Fatal(err)
	}
	known := everyRule()
	for _, id := range ids {
		if !strings.HasPrefix(id, "TWD") && !slices.ContainsFunc(known, func(r rule) bool { return r.id == id }) {
			t.Errorf("%s has a page, and no rule", id)
		}
	}
	for _, r := range known {
		text, err := Explain(strings.ToLower(r.id))
		if err != nil || !strings.HasPrefix(text, r.id+" "+r.title+"\n\n") {
			t.Errorf("%s: %.60q, %v; want the title %q", r.id, text, err, r.title)
		}
	}
}

// TestPagesAreWhole: every page has every part, in order, with something in it, and
// says of what helps how to undo it and what it risks.
func TestPagesAreWhole(t *testing.T) {
	heading := regexp.MustCompile(`(?m)^## (.*)$`)
	ids, err := pageIDs()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		text, err := pages.ReadFile("explain/" + id + ".md")
		if err != nil {
			t.Fatal(err)
		}
		var parts []string
		for _, m := range heading.FindAllStringSubmatch(string(text), -1) {
			parts = append(parts, m[1])
		}
		if !slices.Equal(parts, pageParts) {
			t.Errorf("%s has the parts %q, want %q", id, parts, pageParts)
			continue
		}
		bodies := heading.Split(string(text), -1)[1:]
		for i, body := range bodies {
			if len(strings.Fields(body)) < 3 {
				t.Errorf("%s says nothing under %q: %q", id, parts[i], body)
			}
		}
		if now := bodies[slices.Index(pageParts, "What helps now")]; !strings.Contains(now, "undo: ") && id != "TW201" && id != "TW103" ||
			strings.Count(now, "undo: ") != strings.Count(now, "risk: ") {
			t.Errorf("%s names something that helps now without its undo or its risk:%s", id, now)
		}
		if !strings.Contains(string(text), "\n"+fence+"\n") && id != "TW000" {
			t.Errorf("%s has no command that proves it", id)
		}
		if refs := bodies[len(bodies)-1]; !regexp.MustCompile(`RFC \d|Linux: |\(\d\)|documentation|README`).MatchString(refs) {
			t.Errorf("%s refers to nothing:%s", id, refs)
		}
	}
}

// TestPagesDoNoHarm: a page names what does no good only under "What does not help", or
// where it says why.
func TestPagesDoNoHarm(t *testing.T) {
	ids, err := pageIDs()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		text, err := pages.ReadFile("explain/" + id + ".md")
		if err != nil {
			t.Fatal(err)
		}
		_, fixes, _ := strings.Cut(string(text), "## What helps now\n")
		fixes, _, _ = strings.Cut(fixes, "## What does not help\n")
		for line := range strings.Lines(fixes) {
			if harmful.MatchString(line) && !strings.Contains(line, "Take SO_LINGER of 0 out") {
				t.Errorf("%s names as a fix: %s", id, line)
			}
		}
	}
}

// TestPagesFit: prose is wrapped at 80 columns, and commands are short enough.
func TestPagesFit(t *testing.T) {
	ids, err := pageIDs()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		text, err := Explain(id)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(text) {
			if len(line) > pageWidth+1+4 || len(line) > pageWidth+1 && !strings.HasPrefix(line, "    ") {
				t.Errorf("%s: %d columns: %q", id, len(line)-1, line)
			}
			if strings.TrimRight(line, " \n")+"\n" != line || strings.Contains(line, fence) {
				t.Errorf("%s: blanks at the end, or a fence: %q", id, line)
			}
		}
		if strings.Contains(text, "\n\n\n") {
			t.Errorf("%s has two empty lines", id)
		}
	}
}

func TestRenderPage(t *testing.T) {
	const page = "# TW1 a title\n\n## Why\n\nIt is `so`, and\nnot else.\n\n- one\n  and more\n- two:\n  - deeper\n\n```\nss  -tan | wc\n```\n\n  end\n"
	const want = "TW1 a title\n\nWHY\nIt is so, and not else.\n\n- one and more\n- two:\n  - deeper\n\n    ss  -tan | wc\n\n  end\n"
	if got := renderPage(page); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	long := renderPage("- " + strings.Repeat("word ", 40))
	if lines := strings.Split(long, "\n"); len(lines) != 4 || len(lines[0]) > pageWidth || !strings.HasPrefix(lines[1], "  word") {
		t.Errorf("a long item:\n%s", long)
	}
}

func TestUnknownID(t *testing.T) {
	for id, want := range map[string]string{"TW109": "TW101", "tw90": "TW900", "204": "TW204", "TW 205": "TW205", "": "TW000"} {
		_, err := Explain(id)
		var unknown *UnknownID
		if !errors.As(err, &unknown) || unknown.Nearest != want || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s as the nearest", id, err, want)
		}
	}
}

// TestExplainWords: what programs print and people search for leads to the page about it.
func TestExplainWords(t *testing.T) {
	for words, want := range map[string][]string{
		"EADDRNOTAVAIL": {"TW101", "TW106", "TW107", "TW108"}, "eaddrnotavail": {"TW101"}, "cannot assign requested address": {"TW101"},
		"Address already in use": {"TW104"}, "Too many open files": {"TW105"}, "Connection reset by peer": {"TW212"},
		"CLOSE_WAIT": {"TW207"}, "close-wait": {"TW207"}, "TIME_WAIT": {"TW101", "TW205"}, "xyzzy": nil, "TW": nil, "": nil, "99": nil,
	} {
		text, err := Explain(words)
		if len(want) == 0 {
			if err == nil {
				t.Errorf("%q leads to %.40q", words, text)
			}
			continue
		}
		if err != nil || !strings.HasPrefix(text, want[0]+" ") {
			t.Errorf("%q leads to %.40q (%v), want %s", words, text, err, want[0])
		}
		for _, id := range want[1:] {
			if !strings.Contains(text, "\ntwtrace explain "+id+"  ") {
				t.Errorf("%q does not name %s, too", words, id)
			}
		}
	}
}

// TestNamedPagesExist: words lead to pages.
func TestNamedPagesExist(t *testing.T) {
	ids, err := pageIDs()
	if err != nil {
		t.Fatal(err)
	}
	for words, list := range namedBy {
		for _, id := range list {
			if !slices.Contains(ids, id) {
				t.Errorf("%s leads to %s, which has no page", words, id)
			}
		}
		if strings.HasPrefix(words, "E") && errnoOf(words) == 0 {
			t.Errorf("%s is no error", words)
		}
	}
}

func TestExplanations(t *testing.T) {
	list, err := Explanations()
	if err != nil {
		t.Fatal(err)
	}
	ids, err := pageIDs()
	if err != nil || strings.Count(list, "\n") != len(ids) || !strings.Contains(list, "TW101   ports held by TIME_WAIT\n") {
		t.Errorf("%d pages (%v), listed as\n%s", len(ids), err, list)
	}
}
