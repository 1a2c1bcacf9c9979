package report

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"io"
)

// What a page carries with it. uPlot is the work of Leon Sorokin: version 1.6.32, as
// its npm package has it in dist.
var (
	//go:embed page.html.tmpl
	pageTemplate string
	//go:embed style.css
	pageStyle string
	//go:embed page.js
	pageScript string
	//go:embed uplot/uPlot.iife.min.js
	uplotScript string
	//go:embed uplot/uPlot.min.css
	uplotStyle string
	//go:embed uplot/LICENSE
	uplotLicence string
)

var pageForm = template.Must(template.New("page").Funcs(template.FuncMap{"pieces": pieces}).Parse(pageTemplate))

// page is what the template shows.
type page struct {
	Report          *Report
	Policy          string
	Title           string
	Verdict         string
	Period          string
	Headline        string
	Block           *block
	Zone            string
	Outages         pageSection
	Tiles           []tile
	Findings        []pageFinding
	NoFindings      string
	OmittedFindings string
	Charts          []pageChart
	TimeTable       table
	Sections        []pageSection
	Style           template.CSS
	Library, Script template.JS
	Data            template.JS // in an element of type application/json
}

type pageFinding struct {
	*Finding
	Word     string
	Parts    []part
	Remedies []pageRemedy
}

type pageRemedy struct {
	*Remedy
	Word     string
	Commands []part
}

type pageChart struct {
	chart
	Picture template.HTML
}

type pageSection struct {
	section
	Said bool // that there is nothing
}

// Percent is the length of a bar.
func (c cell) Percent() int { return int(c.Bar*100 + 0.5) }

// WriteHTML writes r as a page that has all it needs inside. What runs in it and what
// styles it is fixed by its hash, and nothing else may: no text of the recording can
// become more than text, and the page can ask for nothing from anywhere.
func WriteHTML(w io.Writer, r *Report) error {
	data, err := r.chartData()
	if err != nil {
		return err
	}
	style := uplotStyle + pageStyle
	library := "/*!\nuPlot\n" + uplotLicence + "*/\n" + uplotScript
	p := page{Report: r, Title: "TIME_WAIT report: " + orDash(r.Trace.Host) + ", " + r.period(), Verdict: severityWord(r.Verdict),
		Period: r.period(), Headline: r.headline(), Block: r.block(), Zone: r.zoneWords(), Tiles: r.tiles(), NoFindings: noFindings, OmittedFindings: omitted(r.Omitted.Findings, "findings"),
		TimeTable: r.timeTable(), Style: template.CSS(style), Library: template.JS(library), Script: template.JS(pageScript), Data: template.JS(data),
		Policy: "default-src 'none'; img-src data:; style-src " + hash(style) + "; script-src " + hash(library) + " " + hash(pageScript) + "; base-uri 'none'; form-action 'none'"}
	for i := range r.Findings {
		f := pageFinding{Finding: &r.Findings[i], Word: severityWord(r.Findings[i].Severity), Parts: r.Findings[i].parts(r)}
		for j := range f.Finding.Remedies {
			m := &f.Finding.Remedies[j]
			f.Remedies = append(f.Remedies, pageRemedy{m, m.kind(), m.commands()})
		}
		p.Findings = append(p.Findings, f)
	}
	for _, c := range r.charts() {
		p.Charts = append(p.Charts, pageChart{c, c.svg(r)})
	}
	outages := r.outageSection()
	p.Outages = pageSection{outages, outages.nothing()}
	for _, s := range r.sections() {
		p.Sections = append(p.Sections, pageSection{s, s.nothing()})
	}
	var b bytes.Buffer
	if err := pageForm.Execute(&b, p); err != nil {
		return err
	}
	_, err = w.Write(b.Bytes())
	return err
}

// hash names s in a Content-Security-Policy.
func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
