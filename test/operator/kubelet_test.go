package operator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/printerrelay/printer-relay/controllers/render"
)

// templateAnnotation of a Pod is the hash of the template that it is made of.
const templateAnnotation = "example.com/template"

func yamlInto(text string, into any) error { return yaml.Unmarshal([]byte(text), into) }

func unmarshal(text string, into any) error { return json.Unmarshal([]byte(text), into) }

// kubelet looks once at the namespace and does what the controllers of
// Deployments, claims and Services do, and a kubelet.
func (n *node) kubelet(ctx context.Context) error {
	var deployments appsv1.DeploymentList
	var pods corev1.PodList
	var claims corev1.PersistentVolumeClaimList
	var services corev1.ServiceList
	for _, list := range []client.ObjectList{&deployments, &pods, &claims, &services} {
		if err := n.client.List(ctx, list, client.InNamespace(n.ns)); err != nil {
			return err
		}
	}
	live := map[types.UID]bool{}
	for i := range deployments.Items {
		live[deployments.Items[i].UID] = true
		if err := n.deployment(ctx, &deployments.Items[i], pods.Items); err != nil {
			return err
		}
	}
	for i := range pods.Items {
		if ref := metav1.GetControllerOf(&pods.Items[i]); ref != nil && !live[ref.UID] {
			if err := n.end(ctx, &pods.Items[i]); err != nil {
				return err
			}
		}
	}
	for i := range claims.Items {
		if err := n.claim(ctx, &claims.Items[i], pods.Items); err != nil {
			return err
		}
	}
	for i := range services.Items {
		if err := n.service(ctx, &services.Items[i]); err != nil {
			return err
		}
	}
	return nil
}

// deployment keeps one Pod of the newest template, and says so.
func (n *node) deployment(ctx context.Context, d *appsv1.Deployment, pods []corev1.Pod) error {
	template := templateHash(d)
	var mine *corev1.Pod
	for i := range pods {
		if ref := metav1.GetControllerOf(&pods[i]); ref != nil && ref.UID == d.UID {
			mine = &pods[i]
		}
	}
	switch {
	case mine == nil:
		err := n.create(ctx, d, template)
		if apierrors.IsForbidden(err) {
			return n.replicaFailure(ctx, d, err.Error())
		}
		return err
	case mine.Annotations[templateAnnotation] != template:
		if err := n.end(ctx, mine); err != nil {
			return err
		}
		return n.deploymentStatus(ctx, d, 0, 0)
	}
	ready, err := n.start(ctx, d.Name, mine)
	if err != nil {
		return err
	}
	return n.deploymentStatus(ctx, d, 1, ready)
}

func templateHash(d *appsv1.Deployment) string {
	b, err := json.Marshal(d.Spec.Template)
	if err != nil {
		panic(err) // plain data
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

func (n *node) create(ctx context.Context, d *appsv1.Deployment, template string) error {
	pod := &corev1.Pod{ObjectMeta: *d.Spec.Template.ObjectMeta.DeepCopy(), Spec: *d.Spec.Template.Spec.DeepCopy()}
	pod.Namespace, pod.GenerateName = n.ns, d.Name+"-"
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[templateAnnotation] = template
	pod.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(d, appsv1.SchemeGroupVersion.WithKind("Deployment"))}
	return n.client.Create(ctx, pod)
}

// end deletes a Pod, unless the test keeps it.
func (n *node) end(ctx context.Context, pod *corev1.Pod) error {
	n.mu.Lock()
	stays := n.instance(pod.Labels[render.LabelInstance]).stays
	n.mu.Unlock()
	if stays {
		return nil
	}
	return client.IgnoreNotFound(n.client.Delete(ctx, pod, client.GracePeriodSeconds(0)))
}

// start gives a Pod an address and its state, and says how many are ready.
func (n *node) start(ctx context.Context, name string, pod *corev1.Pod) (int32, error) {
	n.mu.Lock()
	i := *n.instance(name)
	n.mu.Unlock()
	is := corev1.ConditionTrue
	if i.notReady {
		is = corev1.ConditionFalse
	}
	next := pod.DeepCopy()
	if next.Status.PodIP == "" {
		a := addresses.Add(1)
		next.Status.PodIP = fmt.Sprintf("10.%d.%d.%d", a>>16&0xff, a>>8&0xff, a&0xff)
		next.Status.PodIPs = []corev1.PodIP{{IP: next.Status.PodIP}}
	}
	next.Status.Phase = corev1.PodRunning
	next.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: is}}
	next.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: render.ContainerName, Ready: !i.notReady, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	if !sameStatus(pod.Status, next.Status) {
		if err := n.client.Status().Update(ctx, next); err != nil {
			return 0, err
		}
	}
	if i.notReady {
		return 0, nil
	}
	return 1, nil
}

func sameStatus(a, b any) bool {
	x, err := json.Marshal(a)
	if err != nil {
		panic(err) // plain data
	}
	y, err := json.Marshal(b)
	if err != nil {
		panic(err) // plain data
	}
	return string(x) == string(y)
}

func (n *node) deploymentStatus(ctx context.Context, d *appsv1.Deployment, updated, ready int32) error {
	n.mu.Lock()
	failed := n.instance(d.Name).failed
	n.mu.Unlock()
	next := d.DeepCopy()
	next.Status = appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: updated, UpdatedReplicas: updated, ReadyReplicas: ready, AvailableReplicas: ready}
	progress := appsv1.DeploymentCondition{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue, Reason: "ReplicaSetUpdated"}
	switch old := conditionOfDeployment(d, appsv1.DeploymentProgressing); {
	case failed != "":
		progress.Status, progress.Reason = corev1.ConditionFalse, failed
	case ready > 0, old == "NewReplicaSetAvailable" && d.Status.ObservedGeneration == d.Generation:
		progress.Reason = "NewReplicaSetAvailable"
	}
	next.Status.Conditions = []appsv1.DeploymentCondition{progress}
	if sameStatus(d.Status, next.Status) {
		return nil
	}
	return n.client.Status().Update(ctx, next)
}

// replicaFailure says that no Pod can be made, and why.
func (n *node) replicaFailure(ctx context.Context, d *appsv1.Deployment, why string) error {
	if conditionOfDeployment(d, appsv1.DeploymentReplicaFailure) != "" {
		return nil
	}
	next := d.DeepCopy()
	next.Status.ObservedGeneration = d.Generation
	next.Status.Conditions = []appsv1.DeploymentCondition{
		{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue, Reason: "ReplicaSetUpdated"},
		{Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Reason: "FailedCreate", Message: why},
	}
	return n.client.Status().Update(ctx, next)
}

func conditionOfDeployment(d *appsv1.Deployment, kind appsv1.DeploymentConditionType) string {
	for _, c := range d.Status.Conditions {
		if c.Type == kind {
			return c.Reason
		}
	}
	return ""
}

// claim binds it; one that goes, goes when no Pod uses it.
func (n *node) claim(ctx context.Context, c *corev1.PersistentVolumeClaim, pods []corev1.Pod) error {
	n.mu.Lock()
	bound := !n.unbound[c.Name]
	n.mu.Unlock()
	next := c.DeepCopy()
	switch used := slices.ContainsFunc(pods, func(p corev1.Pod) bool { return uses(&p, c.Name) }); {
	case c.DeletionTimestamp != nil && !used && len(c.Finalizers) > 0:
		next.Finalizers = nil
		return client.IgnoreNotFound(n.client.Update(ctx, next))
	case c.DeletionTimestamp == nil && bound && c.Status.Phase != corev1.ClaimBound:
		next.Status.Phase, next.Status.Capacity = corev1.ClaimBound, c.Spec.Resources.Requests
		return n.client.Status().Update(ctx, next)
	}
	return nil
}

func uses(p *corev1.Pod, claim string) bool {
	return slices.ContainsFunc(p.Spec.Volumes, func(v corev1.Volume) bool {
		return v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == claim
	})
}

// service gives a LoadBalancer an address, and takes it from all others.
func (n *node) service(ctx context.Context, s *corev1.Service) error {
	n.mu.Lock()
	pending := n.pending
	n.mu.Unlock()
	next := s.DeepCopy()
	next.Status.LoadBalancer = corev1.LoadBalancerStatus{}
	if s.Spec.Type == corev1.ServiceTypeLoadBalancer && !pending {
		vip := corev1.LoadBalancerIPModeVIP
		next.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.25", IPMode: &vip}}
	}
	if sameStatus(s.Status, next.Status) {
		return nil
	}
	return n.client.Status().Update(ctx, next)
}

// text of something, to compare.
func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain data
	}
	return string(b)
}
