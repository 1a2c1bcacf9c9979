package advice

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/twtrace/twtrace/internal/kernel"
)

// jsonSchema names the form of the JSON report. Fields are added within a
// version, never changed.
const jsonSchema = "twtrace.doctor/v1"

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
	WindowS  float64     `json:"window_s"`
	Verdict  string      `json:"verdict"`
	ExitCode int         `json:"exit_code"`
	Traced   bool        `json:"traced"`
	Lost     uint64      `json:"lost_events"`
	Checks   []jsonCheck `json:"checks"`
}

// jsonSpace is a network namespace that was looked at.
type jsonSpace struct {
	NetNS uint32 `json:"netns"`
	Name  string `json:"name,omitempty"`
}

type jsonCheck struct {
	ID       string     `json:"id"`
	Group    string     `json:"group"`
	Status   Severity   `json:"status"`
	Title    string     `json:"title"`
	Scope    Scope      `json:"scope"`
	What     string     `json:"what,omitempty"`
	Who      string     `json:"who,omitempty"`
	When     string     `json:"when,omitempty"`
	Evidence []Evidence `json:"evidence"`
	Forecast *Forecast  `json:"forecast,omitempty"`
	Remedies []Remedy   `json:"remedies"`
	Reason   string     `json:"reason,omitempty"`
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
		Schema: jsonSchema, Version: r.Version, Time: r.Time.UTC().Format(jsonTime), Host: r.Host.Hostname,
		Kernel: r.Host.Release, File: r.File, Spaces: jsonSpaces(r.Spaces), LeftOut: r.LeftOut, Closed: jsonSpaces(r.Closed), WindowS: r.Window.Seconds(),
		Verdict: r.Verdict(), ExitCode: r.ExitCode(), Traced: r.Traced, Lost: r.Lost, Checks: []jsonCheck{},
	}
	for _, x := range r.Findings {
		c := jsonCheck{
			ID: x.ID, Group: x.Group, Status: x.Severity, Title: x.Title, Scope: x.Scope, What: x.What, Who: x.Who,
			When: x.When, Evidence: x.Evidence, Forecast: x.Forecast, Reason: x.Why,
			Remedies: append(append([]Remedy{}, x.Now...), x.Fix...),
		}
		if c.Evidence == nil {
			c.Evidence = []Evidence{}
		}
		out.Checks = append(out.Checks, c)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false) // commands and arrows stay as they are
	if err := enc.Encode(out); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
