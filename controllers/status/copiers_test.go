package status

import (
	"fmt"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

func TestCopiersAreThoseOfAllInstances(t *testing.T) {
	in := healthy()
	in.Instances[0].Report.Copiers = []CopierReport{
		{Address: "10.20.3.9", Name: "old", Last: now.Add(-time.Hour), LastScan: now.Add(-time.Hour)},
		{Address: "10.20.3.10", Name: "ten", Last: now, LastRefusal: "550 5.7.1 PR-030 Device 10.20.3.10 may not send here"},
	}
	in.Instances[1].Report.Copiers = []CopierReport{{Address: "10.20.3.9", Name: "new", User: "mfp", TLSVersion: "1.2", Last: now}}
	want := `[{"address":"10.20.3.9","name":"new","user":"mfp","tlsVersion":"1.2","lastScan":"2026-03-01T11:00:00Z"},{"address":"10.20.3.10","name":"ten","lastRefusal":"550 5.7.1 PR-030 Device 10.20.3.10 may not send here"}]`
	if got := mustJSON(t, Of(in).Copiers); got != want {
		t.Errorf("got %s, want %s", got, want)
	}

	// An instance that is silent does not take its devices along.
	in.Object.Status = Of(in)
	in.Instances[0].Report.Copiers = nil
	down(&in.Instances[1])
	if got := Of(in).Copiers; len(got) != 2 || got[0].Name != "new" {
		t.Errorf("while an instance is silent: %s", mustJSON(t, got))
	}

	for i := range 80 {
		in.Instances[0].Report.Copiers = append(in.Instances[0].Report.Copiers, CopierReport{Address: fmt.Sprintf("10.20.4.%d", i), Last: now.Add(time.Duration(i) * time.Second)})
	}
	got := Of(in).Copiers
	if len(got) != 50 || got[0].Address != "10.20.4.30" || got[49].Address != "10.20.4.79" {
		t.Errorf("not the newest 50, by address: %s", mustJSON(t, got))
	}
}

// TestCopierNews: a scan alone is not worth a write.
func TestCopierNews(t *testing.T) {
	in := healthy()
	report := CopierReport{Address: "10.20.3.9", Name: "mfp", User: "u", TLSVersion: "1.2", Last: now, LastScan: now, LastRefusal: "550 5.7.1 PR-031 Sender a@x.example not allowed"}
	of := func(change func(*CopierReport)) []v1alpha1.CopierStatus {
		r := report
		change(&r)
		in.Instances[0].Report.Copiers = []CopierReport{r}
		return Of(in).Copiers
	}
	old := of(func(*CopierReport) {})
	for name, tc := range map[string]struct {
		change func(*CopierReport)
		want   bool
	}{
		"nothing":               {func(*CopierReport) {}, false},
		"scanned again":         {func(r *CopierReport) { r.Last, r.LastScan = now.Add(time.Hour), now.Add(time.Hour) }, false},
		"another name":          {func(r *CopierReport) { r.Name = "x" }, false},
		"refused alike":         {func(r *CopierReport) { r.LastRefusal = "550 5.7.1 PR-031 Sender b@x.example not allowed" }, false},
		"refused otherwise":     {func(r *CopierReport) { r.LastRefusal = "530 5.7.0 PR-020 Turn on TLS" }, true},
		"no longer refused":     {func(r *CopierReport) { r.LastRefusal = "" }, true},
		"clear text":            {func(r *CopierReport) { r.TLSVersion = "" }, true},
		"another login":         {func(r *CopierReport) { r.User = "v" }, true},
		"another device":        {func(r *CopierReport) { r.Address = "10.20.3.8" }, true},
		"never scanned (again)": {func(r *CopierReport) { r.LastScan = time.Time{} }, true},
	} {
		if got := CopierNews(old, of(tc.change)); got != tc.want {
			t.Errorf("%s: news %v", name, got)
		}
	}
	many := make([]v1alpha1.CopierStatus, maxCopiers)
	if CopierNews(many, old) {
		t.Error("with more devices than there is room for, each scan is news")
	}
}
