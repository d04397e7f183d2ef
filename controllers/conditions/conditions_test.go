package conditions

import (
	"bytes"
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestConditions(t *testing.T) {
	c := New(func() ([]Object, error) {
		return []Object{
			{"PrinterRelay", "office", "mfp", []metav1.Condition{
				{Type: "Ready", Status: metav1.ConditionFalse}, {Type: "Programmed", Status: metav1.ConditionFalse},
			}},
			{"MailUpstream", "office", "ses", []metav1.Condition{
				{Type: "Ready", Status: metav1.ConditionTrue},
				{Type: "DNSReady", Status: metav1.ConditionFalse},
				{Type: "CredentialsValid", Status: metav1.ConditionUnknown},
			}},
			{Kind: "SenderPolicy", Namespace: "office", Name: "new"},
		}, nil
	})
	want := `# HELP printer_relay_operator_condition 1 if the condition of the object (namespace/name) is True, 0 if it is False; absent if it is Unknown.
# TYPE printer_relay_operator_condition gauge
printer_relay_operator_condition{condition="DNSReady",kind="MailUpstream",object="office/ses"} 0
printer_relay_operator_condition{condition="Ready",kind="MailUpstream",object="office/ses"} 1
printer_relay_operator_condition{condition="Ready",kind="PrinterRelay",object="office/mfp"} 0
`
	r := prometheus.NewRegistry()
	r.MustRegister(c)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&got, f); err != nil {
			t.Fatal(err)
		}
	}
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", &got, want)
	}
	problems, err := promlint.New(&got).Lint()
	if err != nil || len(problems) != 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// What docs tell people to look at is there.
func TestDocumentsNameTheMetric(t *testing.T) {
	text, err := os.ReadFile("../../docs/operator.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`printer_relay_operator_[a-z_]+`).FindAllString(string(text), -1)
	if slices.Sort(named); !slices.Equal(slices.Compact(named), []string{Metric}) {
		t.Errorf("docs/operator.md names %q, the metric is %s", named, Metric)
	}
}

// An operator that cannot read its cache must not look healthy.
func TestAListThatFails(t *testing.T) {
	r := prometheus.NewRegistry()
	r.MustRegister(New(func() ([]Object, error) { return nil, errors.New("no cache") }))
	if _, err := r.Gather(); err == nil || !strings.Contains(err.Error(), "no cache") {
		t.Errorf("%v", err)
	}
}
