package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// seconds is how long that is, and when it begins, in seconds of the day.
func seconds(t *testing.T, window string) (from, long int) {
	t.Helper()
	var h, m, s, h2, m2, s2 int
	if _, err := fmt.Sscanf(window, "%d:%d:%d to %d:%d:%d UTC", &h, &m, &s, &h2, &m2, &s2); err != nil {
		t.Fatal(errors.Join(err, errors.New(window)))
	}
	from = h*3600 + m*60 + s
	return from, h2*3600 + m2*60 + s2 - from
}

// testZoom: what is drawn over with the mouse is shown larger, in all charts; a
// double click and the buttons show the rest again.
func (b *browser) testZoom(t *testing.T) {
	b.open(t, runReportOn(t, "-r", recorded))
	whole := b.window()
	begin, length := seconds(t, whole)
	if length < 12 {
		t.Fatalf("the recording is of %s: too short to zoom", whole)
	}

	// From a quarter of the chart to its half.
	drag := func(selector string) {
		c := b.box(selector)
		y := c.Y + c.Height/2
		b.mouse("mouseMoved", c.X+c.Width/4, y, 0)
		b.mouse("mousePressed", c.X+c.Width/4, y, 1)
		for i := 1; i <= 5; i++ {
			b.mouse("mouseMoved", c.X+c.Width/4+c.Width/4*float64(i)/5, y, 0)
		}
		b.mouse("mouseReleased", c.X+c.Width/2, y, 1)
	}
	var charts []string
	b.eval(`[...document.querySelectorAll('[id^=chart-]')].filter(e => e.querySelector('.u-over')).map(e => e.id)`, &charts)
	if !slices.Equal(charts, wantCharts) {
		t.Fatalf("charts %q, want %q", charts, wantCharts)
	}
	// A legend has values where the mouse is, and no time without it.
	legend := func() (words string) {
		b.eval(`document.querySelector('#chart-time-wait .u-legend').innerText.replace(/\s+/g, ' ')`, &words)
		return words
	}
	if words := legend(); strings.Contains(words, "UTC") || strings.ContainsAny(words, "-0123456789") {
		t.Errorf("without a cursor the legend is %q", words)
	}
	c := b.box("#chart-time-wait .u-over")
	b.mouse("mouseMoved", c.X+c.Width/2, c.Y+c.Height/2, 0)
	b.window()
	if words := legend(); !strings.Contains(words, "UTC11:46:15") || !strings.Contains(words, "TIME_WAIT270") {
		t.Errorf("with a cursor the legend is %q", words)
	}
	for _, id := range charts {
		chart := "#" + id + " .u-over"
		before := b.pictures()
		drag(chart)
		words := b.window()
		from, long := seconds(t, words)
		if off := from - begin - length/4; off < -1 || off > 1 || long < length/4-1 || long > length/4+1 {
			t.Errorf("%s: of %s its second quarter is shown as %s", chart, whole, words)
		}
		for i, picture := range b.pictures() {
			if picture == before[i] {
				t.Errorf("%s: chart %d is as it was", chart, i)
			}
		}
		c := b.box(chart)
		b.click(c.X+c.Width/2, c.Y+c.Height/2, 1)
		b.click(c.X+c.Width/2, c.Y+c.Height/2, 2)
		if words = b.window(); words != whole {
			t.Errorf("%s: after a double click it shows %s, and not %s", chart, words, whole)
		}
	}

	// Buttons: half of it, half of that further on, back, and all.
	press := func(zoom string) (from, long int) {
		c := b.box("[data-zoom=" + zoom + "]")
		b.click(c.X+c.Width/2, c.Y+c.Height/2, 1)
		return seconds(t, b.window())
	}
	near := func(what string, got, want int) {
		if got < want-1 || got > want+1 {
			t.Errorf("%s: %d s, want %d", what, got, want)
		}
	}
	from, long := press("in")
	near("in", long, length/2)
	near("in, its begin", from, begin+length/4)
	from, long = press("on")
	near("on", long, length/2)
	near("on, its begin", from, begin+length/2)
	from, _ = press("back")
	near("back, its begin", from, begin+length/4)
	_, long = press("out")
	near("out", long, length)
	press("in")
	press("all")
	if words := b.window(); words != whole {
		t.Errorf("all is %s, and not %s", words, whole)
	}

	// A storm or a finding that has a time shows that.
	var times []struct{ From, To float64 }
	b.eval(`[...document.querySelectorAll('[data-from]')].map(e => ({From: Number(e.dataset.from), To: Number(e.dataset.to)}))`, &times)
	if len(times) == 0 {
		t.Fatal("nothing in the page has a time to click")
	}
	c = b.box("[data-from]")
	b.click(c.X+c.Width/2, c.Y+c.Height/2, 1)
	if words := b.window(); words == whole && times[0].To-times[0].From < float64(length-1) {
		t.Errorf("a click on what was from %v to %v shows %s", times[0].From, times[0].To, strings.TrimSpace(words))
	}
}
