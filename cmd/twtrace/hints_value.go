package main

import (
	"net"
	"net/netip"
	"os/user"
	"strconv"
	"strings"
)

// hintValue offers what is meant by a value that a filter flag does not take, "" if
// nothing is likely.
func hintValue(flag, value string) string {
	not := ""
	if rest, ok := strings.CutPrefix(value, "!"); ok {
		not, value = "!", rest
	}
	offer := ""
	switch flag {
	case "pid":
		if strings.Trim(value, "0123456789,-+") != "" {
			offer = "--comm " + not + value
		}
	case "uid":
		if u, err := user.Lookup(value); err == nil {
			offer = "--uid " + not + u.Uid
		}
	case "event", "reason", "role", "closed-by":
		offer = hintName(value, valuesOf("", flag))
	case "rport", "lport":
		offer = hintPort(flag, not, value)
	case "raddr", "laddr":
		if to, err := netip.ParseAddrPort(value); err == nil && not == "" {
			offer = "--" + flag + " " + to.Addr().String() + " --" + flag[:1] + "port " + strconv.Itoa(int(to.Port()))
		}
	}
	if offer == "" {
		return ""
	}
	return didYouMean([]string{offer})
}

// hintName offers the name of a list that an item of value is nearest to, which is not
// one; "" if none is.
func hintName(value string, names []string) string {
	for item := range strings.SplitSeq(value, ",") {
		item = strings.ToLower(strings.TrimSpace(item))
		if near := nearest(item, names); near != nil && near[0] != item {
			return near[0]
		}
	}
	return ""
}

// hintPort offers the number of a service, the port of an address, and what a colon is in
// front of.
func hintPort(flag, not, value string) string {
	if to, err := netip.ParseAddrPort(value); err == nil && not == "" {
		return "--" + flag[:1] + "addr " + to.Addr().String() + " --" + flag + " " + strconv.Itoa(int(to.Port()))
	}
	if port, ok := strings.CutPrefix(value, ":"); ok {
		return "--" + flag + " " + not + port
	}
	if strings.Trim(value, "0123456789,-+:!") == "" {
		return ""
	}
	if port, err := net.LookupPort("tcp", value); err == nil && port > 0 {
		return "--" + flag + " " + not + strconv.Itoa(port)
	}
	return ""
}
