package main

import (
	"io"
	"slices"
	"strings"
	"testing"
)

// table is what benchstat writes for one unit.
func table(unit string, rows ...string) string {
	return "goos: linux\ngoarch: amd64\n,base,,head,,,\n," + unit + ",CI," + unit + ",CI,vs base,P\n" +
		strings.Join(rows, "\n") + "\ngeomean,2.4,,2.9,,+22.47%,\n\n"
}

func TestJudge(t *testing.T) {
	for _, tc := range []struct {
		name     string
		csv      string
		accepted []string
		want     []string
	}{
		{"the same", table("syncs/msg", "Message/4kB-2,2,∞,2,∞,~,p=1.000 n=4"), nil, nil},
		{"less", table("syncs/msg", "Message/4kB-2,2,∞,1,∞,-50.00%,p=0.029 n=4"), nil, nil},
		{"one sync more", table("syncs/msg", "Message/4kB-2,2,∞,3,∞,+50.00%,p=0.029 n=4"), nil, []string{"syncs/msg"}},
		{"one system call more of 67", table("syscalls/msg", "Message/1MB-2,67.02,∞,68.02,∞,+1.49%,p=0.029 n=4"), nil, []string{"syscalls/msg"}},
		{"a chore that came by the clock", table("syscalls/msg", "Message/4kB-2,10.01,∞,10.4,∞,+3.90%,p=0.029 n=4"), nil, nil},
		{"by chance", table("allocs/msg", "Message/4kB-2,360,∞,400,∞,~,p=0.200 n=4"), nil, nil},
		{"within the tolerance", table("allocs/msg", "Message/4kB-2,360,∞,388,∞,+7.78%,p=0.029 n=4"), nil, nil},
		{"beyond it", table("allocs/msg", "Message/4kB-2,360,∞,390,∞,+8.33%,p=0.029 n=4"), nil, []string{"allocs/msg"}},
		{"from nothing", table("syncs/msg", "Message/4kB-2,0,∞,1,∞,?,p=0.029 n=4"), nil, []string{"syncs/msg"}},
		{
			"a unit once", table("written-B/msg", "Message/4kB-2,4871,∞,6000,∞,+23.18%,p=0.029 n=4", "Message/1MB-2,1.049306e+06,∞,2.1e+06,∞,+100.13%,p=0.029 n=4"),
			nil,
			[]string{"written-B/msg"},
		},
		{
			"one of two is accepted",
			table("syncs/msg", "Message/4kB-2,2,∞,3,∞,+50.00%,p=0.029 n=4") + table("syscalls/msg", "Message/4kB-2,32,∞,33,∞,+3.12%,p=0.029 n=4"),
			[]string{"syncs/msg: two folders"},
			[]string{"syscalls/msg"},
		},
		{"accepted with a comma", table("syncs/msg", "Message/4kB-2,2,∞,3,∞,+50.00%,p=0.029 n=4"), []string{"syncs/msg, for two folders"}, nil},
		{"another is accepted", table("syncs/msg", "Message/4kB-2,2,∞,3,∞,+50.00%,p=0.029 n=4"), []string{"allocs/msg why", ""}, []string{"syncs/msg"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rows, err := parse(strings.NewReader(tc.csv))
			if err != nil {
				t.Fatal(err)
			}
			if got := judge(io.Discard, rows, tc.accepted); !slices.Equal(got, tc.want) {
				t.Errorf("grown: %q, want %q", got, tc.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for name, csv := range map[string]string{
		"nothing":              "",
		"no figure":            "goos: linux\n",
		"a unit without a say": table("frobs/msg", "Message/4kB-2,2,∞,2,∞,~,p=1.000 n=4"),
		"one commit only":      table("syncs/msg", "Message/4kB-2,2,∞,,,,"),
		"no number":            table("syncs/msg", "Message/4kB-2,two,∞,2,∞,~,p=1.000 n=4"),
	} {
		if rows, err := parse(strings.NewReader(csv)); err == nil {
			t.Errorf("%s: %v, want an error", name, rows)
		}
	}
}
