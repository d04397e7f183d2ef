package status

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAddresses(t *testing.T) {
	tests := map[string]struct {
		change func(in *Relay)
		want   string
	}{
		"load balancer": {func(*Relay) {}, `[{"type":"IPAddress","value":"192.0.2.25"},{"type":"Hostname","value":"lb.example"}]`},
		"no service":    {func(in *Relay) { in.Service = nil }, `null`},
		"in cluster": {
			func(in *Relay) { in.Service.Spec.Type = corev1.ServiceTypeClusterIP },
			`[{"type":"Hostname","value":"office.mail.svc.cluster.local"},{"type":"IPAddress","value":"10.96.0.7"},{"type":"IPAddress","value":"fd00::7"}]`,
		},
		"cluster domain": {
			func(in *Relay) {
				in.Service.Spec.Type, in.Service.Spec.ClusterIPs, in.ClusterDomain = corev1.ServiceTypeClusterIP, nil, "k8s.example"
			},
			`[{"type":"Hostname","value":"office.mail.svc.k8s.example"}]`,
		},
		"nodes": {func(in *Relay) { in.Service.Spec.Type = corev1.ServiceTypeNodePort }, `null`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := healthy()
			tt.change(&in)
			if got := mustJSON(t, Of(in).Addresses); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestListenersCountReadyInstances(t *testing.T) {
	in := healthy()
	in.Object.Spec.Listeners = append(in.Object.Spec.Listeners, v1alpha1.Listener{Name: "tls", Port: 465})
	in.Instances = append(in.Instances, in.instance("office-2"))
	in.Instances[2].Draining = true
	in.Instances[0].Report.Listeners = []ListenerReport{{Name: "scans", Open: true}, {Name: "tls", Open: true}}
	in.Instances[1].Report.Listeners = []ListenerReport{{Name: "scans", Open: true}, {Name: "tls", Problem: "address in use"}}
	want := `[{"name":"scans","ready":2},{"name":"tls","ready":1,"message":"instance \"office-1\": address in use"}]`
	if got := mustJSON(t, Of(in).Listeners); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestQueueAndInstances(t *testing.T) {
	in := healthy()
	in.Instances[0].Report.Queue = QueueReport{Waiting: 2, Held: 1, Oldest: 90 * time.Second}
	in.Instances[1].Report.Queue = QueueReport{Waiting: 5, Failed: 3, Oldest: time.Hour}
	in.Instances[1].Report.Problems = []string{"upstream ses is down"}
	st := Of(in)
	if got, want := mustJSON(t, st.Queue), `{"messages":7,"held":1,"failed":3,"oldest":"2026-03-01T11:00:00Z"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := mustJSON(t, st.Instances[1]), `{"name":"office-1","ready":true,"planHash":"`+in.Plan.Hash+`","queue":{"messages":5,"failed":3,"oldest":"2026-03-01T11:00:00Z"},"message":"upstream ses is down"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Nothing says that the queue of an instance that is silent is empty.
func TestSilentInstanceKeepsItsQueue(t *testing.T) {
	in := healthy()
	in.Instances[1].Report.Queue = QueueReport{Waiting: 5, Oldest: time.Minute}
	in.Object.Status = Of(in)
	down(&in.Instances[1])
	st := Of(in)
	if st.Queue == nil || st.Queue.Messages != 5 || st.Instances[1].Queue.Messages != 5 || st.Instances[1].Ready {
		t.Errorf("got %s", mustJSON(t, st))
	}
	in.Object.Status = v1alpha1.PrinterRelayStatus{}
	in.Instances[0].Report, in.Instances[1].Report = nil, nil
	if q := Of(in).Queue; q != nil {
		t.Errorf("a queue that nobody told of: %s", mustJSON(t, q))
	}
}

// The arrival of the oldest message is reckoned from its age, and must not
// move by the moment at which it was asked for.
func TestOldestStaysWhileItIsTheSame(t *testing.T) {
	in := healthy()
	in.Instances[0].Report.Queue = QueueReport{Waiting: 1, Oldest: 10 * time.Minute}
	first := Of(in)
	in.Object.Status = first
	in.Now = now.Add(30 * time.Second)
	in.Instances[0].Report.Queue.Oldest += 30*time.Second - 1200*time.Millisecond
	if second := Of(in); !second.Queue.Oldest.Equal(first.Queue.Oldest) {
		t.Errorf("oldest went from %v to %v", first.Queue.Oldest, second.Queue.Oldest)
	}
	in.Instances[0].Report.Queue.Oldest = time.Minute
	if third := Of(in); !third.Queue.Oldest.Equal(&metav1.Time{Time: now.Add(-30 * time.Second)}) {
		t.Errorf("oldest is %v", third.Queue.Oldest)
	}
}

func TestTransitionTimeIsOfTheStatus(t *testing.T) {
	in := healthy()
	in.Object.Status = Of(in)
	at := func(st v1alpha1.PrinterRelayStatus, kind string) time.Time {
		return apimeta.FindStatusCondition(st.Conditions, kind).LastTransitionTime.UTC()
	}
	in.Now, in.Object.Generation = now.Add(time.Hour), 4
	in.Instances[0].Report.Upstreams[0].Down = true // another message
	same := Of(in)
	if got := at(same, "Ready"); !got.Equal(now) {
		t.Errorf("Ready did not change, and its time did: %v", got)
	}
	down(&in.Instances[1])
	other := Of(in)
	if got := at(other, "Ready"); !got.Equal(now.Add(time.Hour)) {
		t.Errorf("Ready changed at %v", got)
	}
	if got := at(other, "Accepted"); !got.Equal(now) {
		t.Errorf("Accepted did not change, and its time did: %v", got)
	}
}

func TestSameSightSameStatus(t *testing.T) {
	in := healthy()
	in.Instances[0].Report.Queue = QueueReport{Waiting: 1, Oldest: time.Minute}
	in.Object.Status = Of(in)
	in.Now = now.Add(time.Minute)
	in.Instances[0].Report.Queue.Oldest += time.Minute
	if again := Of(in); Changed(in.Object.Status, again, true) {
		t.Errorf("nothing changed:\n%s\n%s", mustJSON(t, in.Object.Status), mustJSON(t, again))
	}
}

// The condition order is fixed: whoever diffs a status sees what changed only.
func TestConditionOrder(t *testing.T) {
	in := healthy()
	in.Instances[1].Outdated = true
	var got []string
	for _, c := range Of(in).Conditions {
		got = append(got, c.Type)
	}
	if want := []string{"Ready", "Accepted", "ResolvedRefs", "Programmed", "Durable", "ClientAddressesKnown", "Holding", "Reconciling"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMessagesAreBounded(t *testing.T) {
	in := healthy()
	in.Instances[0].Report.Problems = []string{strings.Repeat("ü", 5000)}
	in.Failures = []Failure{{Message: strings.Repeat("ü", 5000)}}
	st := Of(in)
	for _, m := range []string{st.Instances[0].Message, st.Conditions[0].Message} {
		if len(m) > maxMessage || !utf8.ValidString(m) || !strings.HasSuffix(m, " ...") {
			t.Errorf("%d octets: %q", len(m), m[max(0, len(m)-20):])
		}
	}
}

func TestManyFindingsAreCounted(t *testing.T) {
	in := healthy()
	for range 5 {
		in.Object.Spec.FallbackUpstreamRefs = append(in.Object.Spec.FallbackUpstreamRefs, v1alpha1.LocalReference{Name: "gone"})
	}
	in.recompile()
	c := apimeta.FindStatusCondition(Of(in).Conditions, "ResolvedRefs")
	if !strings.Contains(c.Message, "spec.fallbackUpstreamRefs[2]") || strings.Contains(c.Message, "fallbackUpstreamRefs[3]") || !strings.Contains(c.Message, "and 2 more") {
		t.Errorf("%q", c.Message)
	}
}

// Each reference that Compile finds missing is one that is found here, by the same field.
func TestReferencesAreCompilesOwn(t *testing.T) {
	in := healthy()
	in.Object.Spec.FallbackUpstreamRefs = []v1alpha1.LocalReference{{Name: "a"}}
	in.Object.Spec.Routes = []v1alpha1.Route{{Name: "r", RecipientDomains: []string{"x.example"}, UpstreamRef: v1alpha1.LocalReference{Name: "b"}}}
	in.Object.Spec.Delivery.Bounce.UpstreamRef = &v1alpha1.LocalReference{Name: "c"}
	in.Object.Spec.SenderPolicyRefs = []v1alpha1.LocalReference{{Name: "p"}, {Name: "q"}}
	in.Upstreams, in.Policies = nil, nil
	in.recompile()
	var compiled, found []string
	for _, d := range in.Diagnostics {
		if strings.Contains(d.Message, "is not in namespace") {
			compiled = append(compiled, d.Error())
		}
	}
	for _, r := range Missing(in.Object, nil, nil) {
		found = append(found, r.notFound())
	}
	slices.Sort(compiled)
	slices.Sort(found)
	if len(found) != 6 || !slices.Equal(compiled, found) {
		t.Errorf("Compile:\n%s\nMissing:\n%s", strings.Join(compiled, "\n"), strings.Join(found, "\n"))
	}
}

// Every Secret that a plan names has a field to point at.
func TestSecretsAreCompilesOwn(t *testing.T) {
	in := healthy()
	in.Object.Spec.Listeners = append(in.Object.Spec.Listeners, v1alpha1.Listener{Name: "tls", Port: 465, TLS: v1alpha1.ListenerTLS{IssuerRef: &v1alpha1.IssuerReference{Name: "ca"}}})
	in.Upstreams["ses"].Spec.SMTP.TLS.CASecretRef = &v1alpha1.LocalReference{Name: "ca"}
	in.Upstreams["ses"].Spec.SMTP.TLS.ClientCertificateRef = &v1alpha1.LocalReference{Name: "client"}
	in.recompile()
	var found []string
	for _, r := range slices.Concat(SecretsOfRelay(in.Object), SecretsOfUpstream(in.Upstreams["ses"])) {
		found = append(found, r.Name)
	}
	slices.Sort(found)
	if !slices.Equal(found, in.Plan.SecretRefs) {
		t.Errorf("found %q, the plan names %q", found, in.Plan.SecretRefs)
	}
}
