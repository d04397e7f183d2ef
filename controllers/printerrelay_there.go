package controllers

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/printerrelay/printer-relay/controllers/render"
	"github.com/printerrelay/printer-relay/controllers/status"
)

// there is what is in the cluster of one relay, by the numbers of its instances.
type there struct {
	configMap   *corev1.ConfigMap
	service     *corev1.Service
	deployments map[int]*appsv1.Deployment
	volumes     map[int]*corev1.PersistentVolumeClaim
	pods        map[int]*corev1.Pod // the newest that does not end
	reports     map[int]*status.Report
	silent      map[int]string // why an instance that was asked gave no report
}

// numbers of the instances that are there, sorted.
func (t *there) numbers() []int { return slices.Sorted(maps.Keys(t.deployments)) }

// last is what the instances run, which only a relay without a plan goes on by;
// empty before the first. The cache does not hold it.
func (p *pass) last(ctx context.Context) (string, error) {
	if p.plan != nil || p.there.configMap == nil {
		return "", nil
	}
	var m corev1.ConfigMap
	if err := p.live.Get(ctx, client.ObjectKeyFromObject(p.there.configMap), &m); err != nil || m.UID != p.there.configMap.UID {
		return "", client.IgnoreNotFound(err)
	}
	return m.Data[render.ManifestsKey], nil
}

// look sees what is there, and asks the instances.
func (p *pass) look(ctx context.Context) error {
	t := &p.there
	*t = there{
		deployments: map[int]*appsv1.Deployment{}, volumes: map[int]*corev1.PersistentVolumeClaim{}, pods: map[int]*corev1.Pod{},
		reports: map[int]*status.Report{}, silent: map[int]string{},
	}
	configMap, service := &corev1.ConfigMap{}, &corev1.Service{}
	if ok, err := p.find(ctx, render.ConfigMapName(p.relay.Name), configMap); err != nil {
		return err
	} else if ok && metav1.IsControlledBy(configMap, p.relay) {
		t.configMap = configMap
	}
	if ok, err := p.find(ctx, p.relay.Name, service); err != nil {
		return err
	} else if ok && metav1.IsControlledBy(service, p.relay) {
		t.service = service
	}
	var deployments appsv1.DeploymentList
	var volumes corev1.PersistentVolumeClaimList
	var pods corev1.PodList
	for _, list := range []client.ObjectList{&deployments, &volumes, &pods} {
		if err := p.client.List(ctx, list, ofRelay(p.relay)...); err != nil {
			return err
		}
	}
	for i := range deployments.Items {
		d := &deployments.Items[i]
		if n, ok := p.number(d.Name); ok && metav1.IsControlledBy(d, p.relay) {
			t.deployments[n] = d
		}
	}
	for i := range volumes.Items {
		if n, ok := p.number(volumes.Items[i].Name); ok {
			t.volumes[n] = &volumes.Items[i]
		}
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		n, ok := p.number(pod.Labels[render.LabelInstance])
		if ok && pod.DeletionTimestamp == nil && (t.pods[n] == nil || t.pods[n].CreationTimestamp.Before(&pod.CreationTimestamp)) {
			t.pods[n] = pod
		}
	}
	return p.ask(ctx)
}

// number reads that of an instance from its name.
func (p *pass) number(instance string) (int, bool) {
	digits, ok := strings.CutPrefix(instance, p.relay.Name+"-")
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil && n >= 0 && render.InstanceName(p.relay.Name, n) == instance
}

// ask asks all instances that can be asked, at once, and lets others work meanwhile:
// an instance may take seconds to be silent.
func (p *pass) ask(ctx context.Context) error {
	pods := maps.Clone(p.there.pods)
	maps.DeleteFunc(pods, func(n int, pod *corev1.Pod) bool {
		return pod.Status.PodIP == "" || p.there.deployments[n] == nil || !running(pod)
	})
	if len(pods) == 0 {
		return nil
	}
	p.leaveWork()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for n, pod := range pods {
		wg.Go(func() {
			report, err := p.instances.Report(ctx, types.NamespacedName{Namespace: p.relay.Namespace, Name: p.relay.Name}, pod.Status.PodIP)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				p.there.silent[n] = err.Error()
				return
			}
			p.there.reports[n] = report
		})
	}
	wg.Wait()
	return p.enterWork(ctx)
}

// running tells whether the relay's container runs.
func running(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool {
		return c.Name == render.ContainerName && c.State.Running != nil
	})
}
