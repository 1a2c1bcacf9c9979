package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// axe is where `make test-interop` installs axe-core.
const axe = "testdata/axe/node_modules/axe-core/axe.min.js"

// requireAxe returns axe-core. It skips the test without it, and fails it if CI is set.
func requireAxe(t *testing.T) string {
	t.Helper()
	script, err := os.ReadFile(filepath.FromSlash(axe))
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("needs axe-core (make test-interop installs it), and CI has to run it")
		}
		t.Skip("needs axe-core (make test-interop installs it)")
	}
	return string(script)
}

// testLooks: on a screen and on a phone, light and dark, and printed, the page of a report
// is no wider than the window, breaks no command, and no address but between its groups, and
// keeps nobody from reading it, as far as axe-core can say.
func (b *browser) testLooks(t *testing.T) {
	script := requireAxe(t)
	for n, page := range []struct{ name, file string }{{"storm", writeStorm(t)}, {"loopback", recorded}} {
		b.open(t, runReportOn(t, "-r", page.file))
		var ignored any
		b.eval(script+";0", &ignored)
		for i, width := range []int{1280, 390} {
			for j, scheme := range []string{"light", "dark"} {
				how := fmt.Sprintf("%s, %d px, %s", page.name, width, scheme)
				b.look(how, width, scheme, "screen")
				b.checkShown(how)
				if (i+j+n)%2 == 0 { // each page has both, and both pages have all: axe-core takes seconds
					b.checkAxe(how)
				}
			}
			how := fmt.Sprintf("%s, %d px, print", page.name, width)
			b.look(how, width, "dark", "print")
			b.checkPrint(how)
		}
	}
	// It tells what nobody can read.
	var found int
	b.eval(`(document.querySelector('main h2').style.color = '#eeeeee', axe.run('main', {runOnly: ['color-contrast']}).then(r => r.violations.length))`, &found)
	if found == 0 {
		t.Error("axe-core sees nothing wrong with grey words on white")
	}
}

// look sets the size of the window, and what the page is shown on.
func (b *browser) look(how string, width int, scheme, media string) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}, nil)
	b.call("Emulation.setEmulatedMedia", map[string]any{"media": media, "features": []map[string]any{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	b.window()
	dir := os.Getenv("TWTRACE_PICTURES") // to see for oneself
	if dir == "" {
		return
	}
	var shot struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true, "clip": map[string]any{"x": 0, "y": 0, "width": width, "height": 5500, "scale": 1}}, &shot)
	picture, err := base64.StdEncoding.DecodeString(shot.Data)
	must(b.t, err)
	must(b.t, os.WriteFile(filepath.Join(dir, strings.ReplaceAll(how, ", ", "-")+".png"), picture, 0o600))
}

// checkShown checks where the page as it is shown breaks lines, and its width.
func (b *browser) checkShown(how string) {
	b.t.Helper()
	var wide struct{ Page, Window float64 }
	b.eval(`({Page: document.documentElement.scrollWidth, Window: document.documentElement.clientWidth})`, &wide)
	if wide.Page > wide.Window {
		b.t.Errorf("%s: the page is %v px wide, and the window %v", how, wide.Page, wide.Window)
	}
	var broken []string
	b.eval(`[...document.querySelectorAll('td code:not(.wrap), pre code')].filter(e => {
		const s = getComputedStyle(e.closest('pre') || e).whiteSpace;
		return s !== 'nowrap' && s !== 'pre' && e.getClientRects().length > 1;
	}).map(e => e.textContent)`, &broken)
	if len(broken) > 0 {
		b.t.Errorf("%s: %q take several lines", how, broken)
	}
	// What lies between two places where an address may be broken is on one line.
	b.eval(`(() => {
		const broken = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
		for (let n; (n = walk.nextNode()); ) {
			if (!n.parentElement.getClientRects().length) continue;
			for (const m of n.data.matchAll(/[0-9a-f.:\[\]]*[0-9a-f]:[0-9a-f.:\[\]]*/gi)) {
				const r = document.createRange();
				r.setStart(n, m.index);
				r.setEnd(n, m.index + m[0].length);
				if (new Set([...r.getClientRects()].map(c => c.top)).size > 1) broken.push(n.data);
			}
		}
		return broken;
	})()`, &broken)
	if len(broken) > 0 {
		b.t.Errorf("%s: an address is broken in %q", how, broken)
	}
}

// checkAxe has axe-core look at the page.
func (b *browser) checkAxe(how string) {
	b.t.Helper()
	var found []string
	b.eval(`axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.map(v => v.id + ': ' + v.help + ' ' +
		v.nodes.slice(0, 3).map(n => n.html.slice(0, 200) + ' ' + n.any.map(a => a.message).join(' ')).join(' | ')))`, &found)
	for _, v := range found {
		b.t.Errorf("%s: %s", how, v)
	}
}

// checkPrint checks that nothing is on paper that one can only click.
func (b *browser) checkPrint(how string) {
	b.t.Helper()
	var shown []string
	b.eval(`[...document.querySelectorAll('summary, .uplot, nav, button')].filter(e => e.getClientRects().length).map(e => e.outerHTML.slice(0, 80))`, &shown)
	if len(shown) > 0 {
		b.t.Errorf("%s: on paper there is %q", how, shown)
	}
}
