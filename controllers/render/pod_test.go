package render

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay"
	"github.com/printerrelay/printer-relay/relay/admin/access"
)

// deployments of a set, as the API server would read them.
func deployments(t *testing.T, s *Set) []*appsv1.Deployment {
	t.Helper()
	var out []*appsv1.Deployment
	for _, i := range s.Instances {
		d := &appsv1.Deployment{}
		dec := json.NewDecoder(strings.NewReader(mustJSON(t, i.Deployment)))
		dec.DisallowUnknownFields()
		if err := dec.Decode(d); err != nil {
			t.Fatal(err)
		}
		out = append(out, d)
	}
	return out
}

func minimal(t *testing.T) Input { return load(t, "testdata/minimal") }

func pod(t *testing.T, in Input) *corev1.PodSpec {
	t.Helper()
	return &deployments(t, objects(t, in))[0].Spec.Template.Spec
}

// Only where an upstream logs in by the Pod's identity does a webhook get asked for a
// token, whatever the user's own labels say; the ServiceAccount is the user's.
func TestWorkloadIdentity(t *testing.T) {
	const label = "azure.workload.identity/use"
	for _, dir := range cases(t) {
		wanted := filepath.Base(dir) == "workload-identity"
		for _, d := range deployments(t, objects(t, load(t, dir))) {
			if got := d.Spec.Template.Labels[label]; (got == "true") != wanted || !wanted && got != "" {
				t.Errorf("%s: %s: %q", dir, label, got)
			}
			if _, ok := d.Spec.Selector.MatchLabels[label]; ok {
				t.Errorf("%s: the label is in the selector, which can never change", dir)
			}
			if p := d.Spec.Template.Spec; wanted && (p.ServiceAccountName != "mail-sender" || *p.AutomountServiceAccountToken) {
				t.Errorf("%s: ServiceAccount %q, token for the API server %v", dir, p.ServiceAccountName, *p.AutomountServiceAccountToken)
			}
		}
	}
}

func TestPodsMeetPodSecurityRestricted(t *testing.T) {
	checks, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for _, dir := range cases(t) {
		for _, d := range deployments(t, objects(t, load(t, dir))) {
			if r := policy.AggregateCheckResults(checks.EvaluatePod(level, &d.Spec.Template.ObjectMeta, &d.Spec.Template.Spec)); !r.Allowed {
				t.Errorf("%s: %s: %s", dir, d.Name, r.ForbiddenDetail())
			}
		}
	}
	// The checks do look.
	bad := deployments(t, objects(t, minimal(t)))[0]
	bad.Spec.Template.Spec.Containers[0].SecurityContext.Capabilities = nil
	if policy.AggregateCheckResults(checks.EvaluatePod(level, &bad.Spec.Template.ObjectMeta, &bad.Spec.Template.Spec)).Allowed {
		t.Error("a container that keeps its capabilities was allowed")
	}
}

// A container that cannot write to its root, and holds no token, is no part of
// Pod Security.
func TestPodsAreShutIn(t *testing.T) {
	for _, dir := range cases(t) {
		for _, d := range deployments(t, objects(t, load(t, dir))) {
			s := d.Spec.Template.Spec
			if s.AutomountServiceAccountToken == nil || *s.AutomountServiceAccountToken {
				t.Errorf("%s: a token is mounted", dir)
			}
			if c := s.Containers[0]; c.SecurityContext.ReadOnlyRootFilesystem == nil || !*c.SecurityContext.ReadOnlyRootFilesystem {
				t.Errorf("%s: the root can be written to", dir)
			}
			for _, v := range s.Volumes {
				if v.Projected != nil {
					t.Errorf("%s: volume %s is projected: it may hold a token", dir, v.Name)
				}
				if v.Secret != nil && (v.Secret.Optional == nil || !*v.Secret.Optional) {
					t.Errorf("%s: Secret %s must not keep the Pod from starting", dir, v.Secret.SecretName)
				}
			}
			for _, m := range s.Containers[0].VolumeMounts {
				if m.SubPath != "" {
					t.Errorf("%s: %s is mounted by subPath, which does not follow changes", dir, m.MountPath)
				}
			}
		}
	}
}

// What Programmed rests on: the relay compiles what is rendered to the plan
// that the operator waits for.
func TestRelayCompilesTheSamePlan(t *testing.T) {
	for _, dir := range cases(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			in := load(t, dir)
			set := objects(t, in)
			folder := t.TempDir()
			if err := os.WriteFile(filepath.Join(folder, ManifestsKey), []byte(set.ConfigMap.Data[ManifestsKey]), 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := relay.LoadConfiguration(folder, in.Relay.Namespace+"/"+in.Relay.Name)
			if err != nil {
				t.Fatal(err)
			}
			if len(c.Plans) != 1 || c.Plans[0].Hash != set.Plan.Hash {
				t.Errorf("the relay's plan\n%s\nis not the operator's\n%s", mustJSON(t, c.Plans), mustJSON(t, set.Plan))
			}
		})
	}
}

// A Pod is replaced for what it cannot take up while it runs, and for nothing else.
func TestWhatRolls(t *testing.T) {
	tests := map[string]struct {
		change func(in *Input)
		rolls  bool
	}{
		"nothing":        {func(*Input) {}, false},
		"policy":         {func(in *Input) { in.Policies["office"].Spec.Rules[0].Name = "floor-4" }, false},
		"upstream":       {func(in *Input) { in.Upstreams["smarthost"].Spec.SMTP.Host = "other.example" }, false},
		"listener":       {func(in *Input) { in.Relay.Spec.Listeners[0].Port = 2525 }, false},
		"intake":         {func(in *Input) { in.Relay.Spec.Intake = v1alpha1.IntakeRefuse }, false},
		"draining":       {func(in *Input) { in.Draining = []int{0} }, false},
		"replicas":       {func(in *Input) { n := int32(3); in.Relay.Spec.Replicas = &n }, false},
		"service":        {func(in *Input) { in.Relay.Spec.Service.Type = corev1.ServiceTypeNodePort }, false},
		"issuer's keys":  {func(in *Input) { in.Settings.Keys = json.RawMessage(`{"keys":[]}`) }, false},
		"reclaim policy": {func(in *Input) { in.Relay.Spec.Spool.PersistentVolume = &v1alpha1.SpoolVolume{ReclaimPolicy: "Delete"} }, false},
		"image":          {func(in *Input) { in.Settings.Image = "other" }, true},
		"pod":            {func(in *Input) { in.Relay.Spec.Pod.PriorityClassName = "mail" }, true},
		"new Secret":     {func(in *Input) { in.Upstreams["smarthost"].Spec.SMTP.Authentication.SecretRef.Name = "other" }, true},
		"spool type": {func(in *Input) {
			in.Relay.Spec.Spool.Type, in.Relay.Spec.Acknowledge = v1alpha1.SpoolEphemeral, v1alpha1.AcknowledgeRelayed
		}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := minimal(t)
			before := mustJSON(t, objects(t, in).Instances[0].Deployment)
			tt.change(&in)
			compile(t, &in)
			if after := mustJSON(t, objects(t, in).Instances[0].Deployment); (before != after) != tt.rolls {
				t.Errorf("rolls: want %v\n%s\n%s", tt.rolls, before, after)
			}
		})
	}
}

func TestResources(t *testing.T) {
	list := func(kv ...string) corev1.ResourceList {
		out := corev1.ResourceList{}
		for i := 0; i < len(kv); i += 2 {
			out[corev1.ResourceName(kv[i])] = resource.MustParse(kv[i+1])
		}
		return out
	}
	tests := map[string]struct {
		theirs, want corev1.ResourceRequirements
		goMemLimit   string
	}{
		"none": {
			corev1.ResourceRequirements{},
			corev1.ResourceRequirements{Requests: list("cpu", "50m", "memory", "64Mi"), Limits: list("memory", "256Mi")},
			"241591905",
		},
		"a request above the default limit": {
			corev1.ResourceRequirements{Requests: list("memory", "1Gi")},
			corev1.ResourceRequirements{Requests: list("cpu", "50m", "memory", "1Gi")},
			"",
		},
		"a limit alone is the request too": {
			corev1.ResourceRequirements{Limits: list("memory", "100Mi")},
			corev1.ResourceRequirements{Requests: list("cpu", "50m"), Limits: list("memory", "100Mi")},
			"94371840",
		},
		"cpu": {
			corev1.ResourceRequirements{Limits: list("cpu", "1")},
			corev1.ResourceRequirements{Requests: list("memory", "64Mi"), Limits: list("cpu", "1", "memory", "256Mi")},
			"241591905",
		},
		"another resource": {
			corev1.ResourceRequirements{Limits: list("ephemeral-storage", "1Gi")},
			corev1.ResourceRequirements{Requests: list("cpu", "50m", "memory", "64Mi"), Limits: list("memory", "256Mi", "ephemeral-storage", "1Gi")},
			"241591905",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := minimal(t)
			in.Relay.Spec.Pod.Resources = tt.theirs
			c := pod(t, in).Containers[0]
			if got, want := mustJSON(t, c.Resources), mustJSON(t, tt.want); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			got := ""
			for _, e := range c.Env {
				if e.Name == "GOMEMLIMIT" {
					got = e.Value
				}
			}
			if got != tt.goMemLimit {
				t.Errorf("GOMEMLIMIT %q, want %q", got, tt.goMemLimit)
			}
		})
	}
}

// Whatever spec.pod says, the Service and the operator find the Pods by our labels.
func TestPodLabelsCannotBeOverridden(t *testing.T) {
	in := minimal(t)
	in.Relay.Spec.Pod.Labels = map[string]string{LabelName: "x", LabelRelay: "x", LabelManagedBy: "x", LabelInstance: "x", "team": "it"}
	d := deployments(t, objects(t, in))[0]
	got := d.Spec.Template.Labels
	for k, v := range d.Spec.Selector.MatchLabels {
		if got[k] != v {
			t.Errorf("label %s is %q, and the selector wants %q", k, got[k], v)
		}
	}
	if got["team"] != "it" || got[LabelManagedBy] != ProgramName {
		t.Errorf("labels %v", got)
	}
}

// A Pod that ends has the time that its parts need.
func TestTerminationGrace(t *testing.T) {
	p := pod(t, minimal(t))
	sleep := p.Containers[0].Lifecycle.PreStop.Sleep.Seconds
	if sleep != 5 {
		t.Errorf("preStop sleeps %d s, want 5", sleep)
	}
	if got := *p.TerminationGracePeriodSeconds; got < sleep+25+5 {
		t.Errorf("%d s are less than preStop's %d, the sessions' 25, and time to close the spool", got, sleep)
	}
}

// A Secret may have a name that a volume may not.
func TestSecretVolumes(t *testing.T) {
	in := minimal(t)
	long := strings.Repeat("a", 200) + ".example"
	in.Upstreams["smarthost"].Spec.SMTP.Authentication.SecretRef.Name = long
	in.Upstreams["smarthost"].Spec.SMTP.TLS.CASecretRef = &v1alpha1.LocalReference{Name: "ca"}
	compile(t, &in)
	p := pod(t, in)
	mounts := map[string]string{}
	for _, m := range p.Containers[0].VolumeMounts {
		mounts[m.Name] = m.MountPath
	}
	var found []string
	for _, v := range p.Volumes {
		if len(v.Name) > 63 || strings.Contains(v.Name, ".") {
			t.Errorf("volume %q: not a DNS label", v.Name)
		}
		if v.Secret != nil {
			found = append(found, v.Secret.SecretName)
			if want := "/etc/printer-relay/secrets/" + v.Secret.SecretName; mounts[v.Name] != want {
				t.Errorf("mounted at %q, want %q", mounts[v.Name], want)
			}
		}
	}
	if !slices.Equal(found, []string{long, "ca"}) {
		t.Errorf("Secrets %q", found)
	}
}

func TestAdminAccess(t *testing.T) {
	in := minimal(t)
	in.Draining = []int{1, 1}
	data := objects(t, in).ConfigMap.Data
	var a access.Access
	if err := json.Unmarshal([]byte(data[access.File]), &a); err != nil {
		t.Fatal(err)
	}
	var keys, want any
	_ = json.Unmarshal(a.Keys, &keys)
	_ = json.Unmarshal(in.Settings.Keys, &want)
	if mustJSON(t, keys) != mustJSON(t, want) || a.Issuer != in.Settings.Issuer {
		t.Errorf("issuer %q with keys %s", a.Issuer, a.Keys)
	}
	if want := []string{"system:serviceaccount:printer-relay-system:printer-relay", "system:serviceaccount:mail:office-queue"}; !slices.Equal(a.Subjects, want) {
		t.Errorf("subjects %q, want %q", a.Subjects, want)
	}
	if want := []string{"printer-relay", "printer-relay:mail/office"}; !slices.Equal(a.Audiences, want) {
		t.Errorf("audiences %q, want %q", a.Audiences, want)
	}
	var i access.Instances
	if err := json.Unmarshal([]byte(data[access.InstancesFile]), &i); err != nil || !slices.Equal(i.Draining, []string{"office-1"}) {
		t.Errorf("draining %q, %v", i.Draining, err)
	}
}
