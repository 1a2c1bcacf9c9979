package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/kernel"
)

// Schema names the form of the JSON report. Fields are added within a
// version, never changed.
const Schema = "twtrace.doctor/v1"

// jsonTime is RFC 3339 with milliseconds: forecasts count from it.
const jsonTime = "2006-01-02T15:04:05.000Z07:00"

type jsonReport struct {
	Schema   string      `json:"schema"`
	Version  string      `json:"version"`
	Time     string      `json:"time"`
	Host     string      `json:"host"`
	Kernel   string      `json:"kernel"`
	File     string      `json:"file,omitempty"`
	Spaces   []jsonSpace `json:"namespaces"`
	LeftOut  int         `json:"namespaces_left_out"`
	Closed   []jsonSpace `json:"namespaces_closed,omitempty"`
	NotSeen  string      `json:"not_seen,omitempty"`
	SeeMore  string      `json:"see_more,omitempty"`
	WindowS  float64     `json:"window_s"`
	Verdict  string      `json:"verdict"`
	ExitCode int         `json:"exit_code"`
	Traced   bool        `json:"traced"`
	Lost     uint64      `json:"lost_events"`
	Checks   []jsonCheck `json:"checks"`
}

// jsonSpace is a network namespace in the report.
type jsonSpace struct {
	NetNS uint32 `json:"netns"`
	Name  string `json:"name,omitempty"`
}

type jsonCheck struct {
	ID       string            `json:"id"`
	Group    string            `json:"group"`
	Status   string            `json:"status"`
	Title    string            `json:"title"`
	Scope    advice.Scope      `json:"scope"`
	What     string            `json:"what,omitempty"`
	Who      string            `json:"who,omitempty"`
	Likely   *advice.Likely    `json:"likely,omitempty"`
	When     string            `json:"when,omitempty"`
	Shares   []advice.Share    `json:"contributors,omitempty"`
	Evidence []advice.Evidence `json:"evidence"`
	Forecast *advice.Forecast  `json:"forecast,omitempty"`
	Remedies []jsonRemedy      `json:"remedies"`
	Reason   string            `json:"reason,omitempty"`

	Consequences []jsonCheck `json:"consequences,omitempty"`
}

type jsonRemedy struct {
	Kind    string `json:"kind"`
	Text    string `json:"text"`
	Command string `json:"command,omitempty"`
	Undo    string `json:"undo,omitempty"`
	Risk    string `json:"risk,omitempty"`
}

func jsonSpaces(list []kernel.NetNS) []jsonSpace {
	out := []jsonSpace{}
	for _, n := range list {
		out = append(out, jsonSpace{n.Inum, n.Name})
	}
	return out
}

// WriteJSON writes r as one JSON object on one line.
func WriteJSON(w io.Writer, r Report) error {
	out := jsonReport{
		Schema: Schema, Version: r.Version, Time: r.Time.UTC().Format(jsonTime), Host: r.Host.Hostname,
		Kernel: r.Host.Release, File: r.File, Spaces: jsonSpaces(r.Spaces), LeftOut: r.LeftOut, Closed: jsonSpaces(r.Closed),
		NotSeen: r.NotSeen(), SeeMore: r.SeeMore(), WindowS: r.Window.Seconds(),
		Verdict: r.Verdict(), ExitCode: r.ExitCode(), Traced: r.Traced, Lost: r.Lost, Checks: []jsonCheck{},
	}
	for _, x := range r.Findings {
		out.Checks = append(out.Checks, checkOf(x))
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false) // commands and arrows stay as they are
	if err := enc.Encode(out); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// checkOf is a finding, with what is under it.
func checkOf(x advice.Finding) jsonCheck {
	c := jsonCheck{
		ID: x.ID, Group: x.Group, Status: x.Severity.String(), Title: x.Title, Scope: x.Scope, What: x.What, Who: string(x.Who), Shares: x.Contributors,
		Likely: x.Likely, When: x.When, Evidence: x.Evidence, Forecast: x.Forecast, Reason: x.Why,
		Remedies: []jsonRemedy{},
	}
	for _, m := range slices.Concat(x.Now, x.Fix) {
		c.Remedies = append(c.Remedies, jsonRemedy{m.Kind, m.Text, m.Command(), m.Undo(), m.Risk})
	}
	if c.Evidence == nil {
		c.Evidence = []advice.Evidence{}
	}
	for _, u := range x.Under {
		c.Consequences = append(c.Consequences, checkOf(u))
	}
	return c
}
