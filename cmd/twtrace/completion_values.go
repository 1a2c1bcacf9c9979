package main

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/rows"
)

// fileValued are the flags whose value is the name of a file.
var fileValued = []string{"read", "write", "btf", "config", "exe", "socket"}

// listValued are the flags that take several values with commas between them.
var listValued = []string{"fields", "event", "reason", "role", "closed-by", "netns", "pid", "comm"}

// values offers values of a flag that begin with typed. In a list it is the last one that
// is completed.
func values(verb string, f cli.Flag, typed string) completion {
	name := f.Names()[0]
	if slices.Contains(fileValued, name) {
		return completion{files: true}
	}
	var o completion
	for _, v := range valuesOf(verb, name) {
		word, means, _ := strings.Cut(v, "\t")
		o.words = append(o.words, offer{word, means})
	}
	if o.words == nil {
		return o
	}
	if !slices.Contains(listValued, name) {
		return o.beginning(typed)
	}
	o.nospace = true
	done, not := "", ""
	if rest, ok := strings.CutPrefix(typed, "!"); ok && name != "fields" {
		not, typed = "!", rest
	}
	if i := strings.LastIndexByte(typed, ','); i >= 0 {
		done, typed = typed[:i+1], typed[i+1:]
	}
	o = o.beginning(typed)
	o.words = slices.DeleteFunc(o.words, func(x offer) bool { return slices.Contains(strings.Split(done, ","), x.word) })
	for i := range o.words {
		o.words[i].word = not + done + o.words[i].word
	}
	return o
}

// valuesOf are the values that a flag of a command takes, as far as they are known, with a
// tab before what they mean.
func valuesOf(verb, flag string) []string {
	switch flag {
	case "output":
		return outputValues(verb)
	case "to":
		if verb == "convert" {
			return []string{"csv", "ndjson", "parquet"}
		}
	case "fields":
		return fieldValues(verb)
	case "event":
		if verb == "storms" {
			return []string{"storm_start", "storm_update", "storm_end"}
		}
		return event.Names[event.Kind]()
	case "reason":
		if verb == "storms" {
			return []string{"ports", "buckets", "churn"}
		}
		return event.Names[event.Reason]()
	case "role":
		return event.Names[event.Role]()
	case "closed-by":
		return event.Names[event.Side]()
	case "by":
		return rows.GroupingNames()
	case "netns":
		return namespaceValues()
	case "pid", "parent":
		return processValues(true)
	case "comm":
		return processValues(false)
	case "states":
		return []string{"all"}
	case "hooks":
		return []string{"auto", "fentry", "timer"}
	case "syscalls":
		return []string{"auto", "on", "off"}
	case "agent":
		return []string{"auto", "off"}
	case "fail-on":
		return []string{"info", "warn", "crit"}
	}
	return nil
}

func outputValues(verb string) []string {
	switch verb {
	case "", "top", "demo", "version", "agent":
		return []string{"text", "json"}
	case "doctor":
		return doctorFormats
	case "report":
		return reportFormats()
	case "record":
		return []string{"json", "csv"}
	}
	return []string{"text", "wide", "json", "csv"}
}

func fieldValues(verb string) (names []string) {
	if verb == "ports" {
		for _, c := range portsColumns {
			names = append(names, c.Name)
		}
		return names
	}
	for _, f := range output.Fields() {
		names = append(names, f.Name)
	}
	return names
}

// namespaceValues are the named network namespaces, which any user can list.
func namespaceValues() (names []string) {
	entries, err := os.ReadDir("/run/netns")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// processValues are the ids of processes, with their names, or these names.
func processValues(ids bool) (all []string) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		comm, err := os.ReadFile("/proc/" + e.Name() + "/comm")
		if err != nil {
			continue
		}
		name := string(output.Escape(nil, strings.TrimSuffix(string(comm), "\n")))
		switch {
		case ids:
			all = append(all, e.Name()+"\t"+name)
		case !strings.ContainsAny(name, " \t\\'\"$`,:") && !slices.Contains(all, name):
			all = append(all, name)
		}
	}
	return all
}
