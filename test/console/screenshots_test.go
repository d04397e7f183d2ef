package console_test

import (
	"encoding/json"
	"flag"
	"image/png"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/traffic"
)

var screenshots = flag.String("screenshots", "", "folder that TestScreenshots writes to (make screenshots)")

// dayOfScans is what an office counts: nothing at night, much in the morning, by the hours
// that the plot names.
func dayOfScans(t *testing.T) func(state string) {
	return func(state string) {
		steps := make([]traffic.Counts, traffic.Steps)
		now := time.Now().UTC()
		for i := range steps {
			hour := now.Add(-time.Duration(len(steps)-1-i) * traffic.Step).Hour()
			if hour < 8 || hour >= 19 {
				continue
			}
			busy := int64(12 - 2*max(hour-11, 11-hour))
			steps[i].Accepted = max(busy+int64(i*7%5), 1)
			if i%17 == 0 {
				steps[i].Refused = 2
			}
			if i%41 == 0 {
				steps[i].Failed = 1
			}
		}
		b, err := json.Marshal(map[string]any{"at": now.Unix() / int64(traffic.Step/time.Second), "steps": steps})
		if err == nil {
			err = os.MkdirAll(state, 0o700)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(state, "traffic.json"), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestScreenshots takes the pictures of the README and the documents.
func TestScreenshots(t *testing.T) {
	folder := *screenshots
	if folder == "" {
		folder = t.TempDir()
	}
	o := newOffice(t, dayOfScans(t))
	const of = "/console/relays/printers/office/"
	why := of + "why?client=127.0.4.9&from=scan%40copier.corp.example&to=anna%40corp.example"
	shots := []shot{
		{of, "console-relay-light.png", "light", 1100, 860},
		{of, "console-relay-dark.png", "dark", 1100, 860},
		{of + "setup", "console-setup.png", "light", 1100, 720},
		{of + "copiers", "console-copiers.png", "light", 1440, 640},
		{why, "console-why.png", "light", 1100, 860},
	}
	for i := range shots {
		shots[i].File = filepath.Join(folder, shots[i].File)
	}
	walk(t, job{Base: o.base(), Shots: shots})
	for _, s := range shots {
		f, err := os.Open(s.File)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		c, err := png.DecodeConfig(f)
		if err != nil || c.Width != s.Width || c.Height != s.Height {
			t.Errorf("%s: %+v, %v", s.File, c, err)
		}
		if info, err := f.Stat(); err != nil || info.Size() < 10_000 || info.Size() > 200_000 {
			t.Errorf("%s: %v, %v", s.File, info.Size(), err)
		}
	}
}
