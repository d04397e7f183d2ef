package admin

import (
	"encoding/csv"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/queue"
)

func TestCSVGivesBackWhatItWasGiven(t *testing.T) {
	now := time.Date(2026, 11, 26, 3, 4, 5, 678, time.UTC)
	want := []queue.Summary{
		{
			ID: "a1", State: queue.Deferred, Arrived: now, Size: 1 << 40, Client: "10.20.3.7", User: `DOM\scan`, Sender: `"a, b"@corp.example`, Recipients: 3, Waiting: 2,
			Rule: "office/lan", Upstreams: []string{"a", "b"}, Attempts: 7, Next: now.Add(time.Hour), Reason: "450 4.7.1 he said \"no\",\nand again\n", Remedy: "wait",
		},
		{ID: "a2", State: queue.Held, Arrived: now, Reason: "=1+1"},
	}
	var b strings.Builder
	out := csv.NewWriter(&b)
	row := make([]string, len(csvHeader))
	if err := out.Write(csvHeader); err != nil {
		t.Fatal(err)
	}
	for i := range want {
		csvRow(row, &want[i])
		if err := out.Write(row); err != nil {
			t.Fatal(err)
		}
	}
	out.Flush()
	got, err := readCSV(strings.NewReader(b.String()))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	fields := reflect.TypeFor[queue.Summary]().NumField()
	if fields != len(csvHeader) {
		t.Errorf("a Summary has %d fields, and a row %d", fields, len(csvHeader))
	}
	for name, text := range map[string]string{
		"nothing":       "",
		"other columns": "id,state\na1,held\n",
		"half a row":    b.String()[:strings.LastIndex(b.String(), "=1+1")-20],
		"no number":     strings.Replace(b.String(), "1099511627776", "many", 1),
	} {
		if got, err := readCSV(strings.NewReader(text)); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
