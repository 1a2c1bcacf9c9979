package advice

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

// PlanReport is a plan with what it rests on.
type PlanReport struct {
	Version string
	NetNS   kernel.NetNS
	Limits  kernel.Limits
	Rate    float64      // requests a second that are asked for; 0: none
	Towards *Destination // that the rate was taken from; nil if it was not
	Rows    []PlanRow
}

// planSchema names the form of the JSON. Fields are added within a version, never changed.
const planSchema = "twtrace.plan/v1"

// The columns of the table, and those that stand behind them where a rate is asked for.
const (
	planColumns = "%-24s %7s %5s %8s %9s"
	planAtRate  = " %14s %7s"
)

// WritePlan writes r as a table.
func WritePlan(w io.Writer, r PlanReport) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "twtrace %s  %s  ports %d-%d, %s usable\ntcp_tw_reuse=%d  tcp_max_tw_buckets=%d\n\n", r.Version,
		output.Escape(nil, r.NetNS.String()), r.Limits.PortLow, r.Limits.PortHigh, output.Count(uint64(r.Limits.UsablePorts())),
		r.Limits.TWReuse, r.Limits.MaxTWBuckets)
	if d := r.Towards; d != nil {
		fmt.Fprintf(&b, "%s -> %s holds %s ports now, and %s of TIME_WAIT begin there\n\n", d.Local, d.Remote,
			output.Count(uint64(d.States.All())), output.Rate(d.Expiry.Rate()))
	}
	fmt.Fprintf(&b, planColumns, "", "PORTS", "HOLD", "CONN/S", "REQ/S")
	if r.Rate > 0 {
		fmt.Fprintf(&b, planAtRate, "AT "+output.Count(uint64(math.Round(r.Rate)))+" REQ/S", "FULL_IN")
	}
	b.WriteByte('\n')
	buckets := false
	for _, row := range r.Rows {
		fmt.Fprintf(&b, planColumns, row.What, whole(row.Ports), holdWords(row.Hold), whole(row.Connections), whole(row.Requests))
		buckets = buckets || row.Bound == "buckets"
		if r.Rate > 0 {
			fmt.Fprintf(&b, planAtRate, fmt.Sprintf("%s (%.0f%%)", whole(row.Held), 100*row.Held/row.Ports), row.fullIn())
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "\nHOLD is how long a connection takes a port from all others to the same place:\n"+
		"%.0f s of TIME_WAIT, or the delay of a reuse, and its life. CONN/S and REQ/S are\n"+
		"what goes on for long; FULL_IN counts from no connection.\n", pressure.Hold.Seconds())
	if buckets {
		b.WriteString("Where buckets bound it, tcp_max_tw_buckets is reached before the ports are gone.\n")
	}
	_, err := w.Write(b.Bytes())
	return err
}

func whole(v float64) string { return output.Count(uint64(v)) }

func holdWords(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return fmt.Sprintf("%.0fs", d.Seconds())
}

func (r PlanRow) fullIn() string {
	if !r.Full {
		return "never"
	}
	return seconds(r.FullIn)
}

type jsonPlan struct {
	Schema  string        `json:"schema"`
	Version string        `json:"version"`
	NetNS   uint32        `json:"netns"`
	Rate    float64       `json:"requests_per_s,omitempty"`
	Rows    []jsonPlanRow `json:"rows"`
}

type jsonPlanRow struct {
	What        string   `json:"what"`
	Ports       float64  `json:"ports"`
	HoldS       float64  `json:"hold_s"`
	Connections float64  `json:"connections_per_s"`
	Requests    float64  `json:"requests_per_s"`
	Bound       string   `json:"bound"`
	Held        *float64 `json:"held,omitempty"`
	FullInS     *float64 `json:"full_in_s,omitempty"` // absent: never, or no rate was asked for
}

// WritePlanJSON writes r as one JSON object on one line.
func WritePlanJSON(w io.Writer, r PlanReport) error {
	out := jsonPlan{Schema: planSchema, Version: r.Version, NetNS: r.NetNS.Inum, Rate: r.Rate}
	for _, row := range r.Rows {
		j := jsonPlanRow{What: row.What, Ports: row.Ports, HoldS: row.Hold.Seconds(), Connections: row.Connections,
			Requests: row.Requests, Bound: row.Bound}
		if r.Rate > 0 {
			j.Held = &row.Held
		}
		if row.Full {
			in := row.FullIn.Seconds()
			j.FullInS = &in
		}
		out.Rows = append(out.Rows, j)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(out)
}
