package plan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/netip"
	"time"

	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

// Report is a plan and what it is based on.
type Report struct {
	Version string
	NetNS   kernel.NetNS
	Limits  kernel.Limits
	Rate    float64  // requests per second to plan for; 0: none
	Towards *Towards // the connections whose rate it is; nil if there are none
	Rows    []Row
}

// Towards is the current connections to one destination.
type Towards struct {
	Local  netip.Addr
	Remote netip.AddrPort
	Ports  int     // that its sockets hold
	Rate   float64 // sockets that enter TIME_WAIT per second

	// Where the ports are used up, and no rate is given:
	Traced    bool    // Demand is known
	Demand    float64 // connections wanted per second: opened and refused
	Throttled bool    // it is not: Rate is what fits
}

// Schema names the form of the JSON. Fields are added within a version, never changed.
const Schema = "twtrace.plan/v1"

// The columns of the table, and those added if there is a rate.
const (
	columns = "%-24s %7s %5s %8s %9s"
	atRate  = " %14s %7s"
)

// Write writes r as a table.
func Write(w io.Writer, r Report) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "twtrace %s  %s  ports %d-%d, %s usable\ntcp_tw_reuse=%d  tcp_max_tw_buckets=%d\n\n", r.Version,
		output.Escape(nil, r.NetNS.String()), r.Limits.PortLow, r.Limits.PortHigh, output.Count(uint64(r.Limits.UsablePorts())),
		r.Limits.TWReuse, r.Limits.MaxTWBuckets)
	if d := r.Towards; d != nil {
		fmt.Fprintf(&b, "%s -> %s holds %s of %s ports now; %s\n\n", d.Local, d.Remote, output.Count(uint64(d.Ports)),
			output.Count(uint64(r.Limits.UsablePorts())), d.rate())
	}
	fmt.Fprintf(&b, columns, "", "PORTS", "HOLD", "CONN/S", "REQ/S")
	if r.Rate > 0 {
		fmt.Fprintf(&b, atRate, "AT "+output.Count(uint64(math.Round(r.Rate)))+" REQ/S", "FULL_IN")
	}
	b.WriteByte('\n')
	buckets := false
	for _, row := range r.Rows {
		fmt.Fprintf(&b, columns, row.What, whole(row.Ports), holdWords(row.Hold), whole(row.Connections), whole(row.Requests))
		buckets = buckets || row.Bound == "buckets"
		if r.Rate > 0 {
			fmt.Fprintf(&b, atRate, fmt.Sprintf("%s (%.0f%%)", whole(row.Held), 100*row.Held/row.Ports), row.fullIn())
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "\nHOLD is how long a connection keeps a port from others to the same destination:\n"+
		"its life, and %.0f s of TIME_WAIT or the delay of a reuse. CONN/S and REQ/S are\n"+
		"sustained rates; FULL_IN starts from no connection.\n", pressure.Hold.Seconds())
	if buckets {
		b.WriteString("Some rows reach tcp_max_tw_buckets before they run out of ports.\n")
	}
	_, err := w.Write(b.Bytes())
	return err
}

// rate says what is known of the rate of new connections.
func (t *Towards) rate() string {
	switch {
	case t.Throttled:
		return "the rate is throttled by the full range; give --rate"
	case t.Traced && t.Demand == 0:
		return "nothing connects"
	case t.Traced:
		return fmt.Sprintf("%s want to connect, those that fail included", output.Rate(t.Demand))
	}
	return fmt.Sprintf("%s of its sockets enter TIME_WAIT", output.Rate(t.Rate))
}

func whole(v float64) string { return output.Count(uint64(v)) }

func holdWords(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return fmt.Sprintf("%.0fs", d.Seconds())
}

func (r Row) fullIn() string {
	if !r.Full {
		return "never"
	}
	return output.Seconds(r.FullIn)
}

type jsonReport struct {
	Schema  string    `json:"schema"`
	Version string    `json:"version"`
	NetNS   uint32    `json:"netns"`
	Rate    float64   `json:"requests_per_s,omitempty"`
	Full    bool      `json:"throttled,omitempty"` // the rate towards the destination is not known: its ports are used up
	Rows    []jsonRow `json:"rows"`
}

type jsonRow struct {
	What        string   `json:"what"`
	Ports       float64  `json:"ports"`
	HoldS       float64  `json:"hold_s"`
	Connections float64  `json:"connections_per_s"`
	Requests    float64  `json:"requests_per_s"`
	Bound       string   `json:"bound"`
	Held        *float64 `json:"held,omitempty"`
	FullInS     *float64 `json:"full_in_s,omitempty"` // absent: never, or there is no rate
}

// WriteJSON writes r as one JSON object on one line.
func WriteJSON(w io.Writer, r Report) error {
	out := jsonReport{Schema: Schema, Version: r.Version, NetNS: r.NetNS.Inum, Rate: r.Rate}
	out.Full = r.Towards != nil && r.Towards.Throttled
	for _, row := range r.Rows {
		j := jsonRow{What: row.What, Ports: row.Ports, HoldS: row.Hold.Seconds(), Connections: row.Connections,
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
