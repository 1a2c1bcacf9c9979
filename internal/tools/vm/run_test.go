package main

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseRun(t *testing.T) {
	o, err := parseRun([]string{
		"--kernel", "sid", "--mem=512", "--timeout", "3m", "--env", "A=b=c", "--env", "D=",
		"--file", "x:/y", "--", "./a.test", "-test.v", "--and--", "./b.test", "--", "c", "--and--", "a.test",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &runOptions{
		suite: "sid", memory: 512, cpus: 2, accel: "tcg", timeout: 3 * time.Minute,
		env:      []string{"A=b=c", "D="},
		files:    []hostFile{{"x", "/y"}},
		commands: []command{{args: []string{"./a.test", "-test.v"}}, {args: []string{"./b.test", "--", "c"}}, {args: []string{"a.test"}}},
	}
	if !reflect.DeepEqual(o, want) {
		t.Errorf("got  %+v\nwant %+v", o, want)
	}
}

func TestParseRunErrors(t *testing.T) {
	for _, args := range []string{
		"",
		"--",
		"-- a --and--",
		"-- --and-- a",
		"-- x/a.test --and-- y/a.test",
		"--mem 100 -- a",
		"--cpus 0 -- a",
		"--accel hvf -- a",
		"--env A -- a",
		"--file a -- a",
		"--file a:b -- a",
		"--nonsense -- a",
	} {
		_, err := parseRun(strings.Fields(args))
		var usage *usageError
		if !errors.As(err, &usage) {
			t.Errorf("%q: got %v, want a usage error", args, err)
		}
	}
}
