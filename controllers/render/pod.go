package render

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	appsac "k8s.io/client-go/applyconfigurations/apps/v1"
	coreac "k8s.io/client-go/applyconfigurations/core/v1"
	metaac "k8s.io/client-go/applyconfigurations/meta/v1"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/admin/access"
)

// ContainerName is the name of the relay's container.
const ContainerName = "relay"

// What the Pod mounts.
const (
	manifestsPath = "/etc/printer-relay/manifests"
	controlPath   = "/etc/printer-relay/control"
	secretsPath   = "/etc/printer-relay/secrets" //nolint:gosec // a path
	statePath     = "/var/lib/printer-relay"
)

// A Pod that ends serves on while load balancers look away, then ends its
// transactions; what is left of the time is for what the volume takes.
const (
	lookAwaySeconds = 5
	graceSeconds    = 25
	closeSeconds    = 10
)

// userID is of the image's user; the volumes belong to its group.
const userID = 65532

// secretMode lets the owner and the group read.
const secretMode = 0o440

// deployment of an instance: one Pod, which ends before its successor begins,
// since both would want the volume.
func (r *renderer) deployment(instance string) (*appsac.DeploymentApplyConfiguration, error) {
	pod, err := r.podSpec(instance)
	if err != nil {
		return nil, err
	}
	template := coreac.PodTemplateSpec().
		WithLabels(over(r.Relay.Spec.Pod.Labels, over(labels(r.Relay.Name, instance), r.identityLabels()))).
		WithAnnotations(over(r.Relay.Spec.Pod.Annotations, map[string]string{"kubectl.kubernetes.io/default-container": ContainerName})).
		WithSpec(pod)
	return appsac.Deployment(instance, r.Relay.Namespace).
		WithLabels(labels(r.Relay.Name, instance)).WithOwnerReferences(owner(r.Relay)).
		WithSpec(appsac.DeploymentSpec().
			WithReplicas(1).
			WithRevisionHistoryLimit(1).
			WithStrategy(appsac.DeploymentStrategy().WithType(appsv1.RecreateDeploymentStrategyType)).
			WithSelector(metaac.LabelSelector().WithMatchLabels(instanceSelector(r.Relay.Name, instance))).
			WithTemplate(template)), nil
}

// identityLabels ask the webhook of Azure Workload Identity for a token of the Pod's
// ServiceAccount, made out to Microsoft Entra ID, where an upstream logs in with
// one. The Pod gets no other: the API server takes none of that audience.
func (r *renderer) identityLabels() map[string]string {
	if !r.plan.WorkloadIdentity() {
		return nil
	}
	return map[string]string{"azure.workload.identity/use": "true"}
}

func instanceSelector(relay, instance string) map[string]string {
	return over(Selector(relay), map[string]string{LabelInstance: instance})
}

// over gives both maps' entries; those of ours win.
func over(theirs, ours map[string]string) map[string]string {
	out := map[string]string{}
	maps.Copy(out, theirs)
	maps.Copy(out, ours)
	return out
}

// podSpec of an instance. Nothing in it follows from what reloads in place: a
// change of it is a new Pod.
func (r *renderer) podSpec(instance string) (*coreac.PodSpecApplyConfiguration, error) {
	container, err := r.container(instance)
	if err != nil {
		return nil, err
	}
	spec := coreac.PodSpec().
		WithServiceAccountName(r.podServiceAccount()).
		WithAutomountServiceAccountToken(false).
		WithEnableServiceLinks(false).
		WithTerminationGracePeriodSeconds(lookAwaySeconds + graceSeconds + closeSeconds).
		WithSecurityContext(coreac.PodSecurityContext().
			WithRunAsNonRoot(true).WithRunAsUser(userID).WithRunAsGroup(userID).
			WithFSGroup(userID).WithFSGroupChangePolicy(corev1.FSGroupChangeOnRootMismatch).
			WithSeccompProfile(coreac.SeccompProfile().WithType(corev1.SeccompProfileTypeRuntimeDefault))).
		WithContainers(container).
		WithVolumes(r.volumes(instance)...)
	return spec, r.scheduling(spec)
}

func (r *renderer) podServiceAccount() string {
	if name := r.Relay.Spec.Pod.ServiceAccountName; name != "" {
		return name
	}
	return ServiceAccountName(r.Relay.Name)
}

// scheduling is what spec.pod says of nodes.
func (r *renderer) scheduling(spec *coreac.PodSpecApplyConfiguration) error {
	p := &r.Relay.Spec.Pod
	if len(p.NodeSelector) > 0 {
		spec.WithNodeSelector(p.NodeSelector)
	}
	if p.PriorityClassName != "" {
		spec.WithPriorityClassName(p.PriorityClassName)
	}
	if p.DNSConfig != nil {
		dns, err := convert[coreac.PodDNSConfigApplyConfiguration](p.DNSConfig)
		if err != nil {
			return fmt.Errorf("spec.pod.dnsConfig: %w", err)
		}
		spec.WithDNSConfig(dns)
	}
	for _, s := range p.ImagePullSecrets {
		spec.WithImagePullSecrets(coreac.LocalObjectReference().WithName(s.Name))
	}
	if p.Affinity != nil {
		affinity, err := convert[coreac.AffinityApplyConfiguration](p.Affinity)
		if err != nil {
			return fmt.Errorf("spec.pod.affinity: %w", err)
		}
		spec.WithAffinity(affinity)
	}
	for i := range p.Tolerations {
		t, err := convert[coreac.TolerationApplyConfiguration](&p.Tolerations[i])
		if err != nil {
			return fmt.Errorf("spec.pod.tolerations[%d]: %w", i, err)
		}
		spec.WithTolerations(t)
	}
	for i := range p.TopologySpreadConstraints {
		c, err := convert[coreac.TopologySpreadConstraintApplyConfiguration](&p.TopologySpreadConstraints[i])
		if err != nil {
			return fmt.Errorf("spec.pod.topologySpreadConstraints[%d]: %w", i, err)
		}
		spec.WithTopologySpreadConstraints(c)
	}
	if len(p.TopologySpreadConstraints) == 0 {
		spec.WithTopologySpreadConstraints(coreac.TopologySpreadConstraint().
			WithMaxSkew(1).WithTopologyKey(corev1.LabelHostname).WithWhenUnsatisfiable(corev1.ScheduleAnyway).
			WithLabelSelector(metaac.LabelSelector().WithMatchLabels(Selector(r.Relay.Name))))
	}
	return nil
}

// container is the relay. Listeners are not among its ports: they open and
// close while it runs.
func (r *renderer) container(instance string) (*coreac.ContainerApplyConfiguration, error) {
	c := coreac.Container().
		WithName(ContainerName).
		WithImage(r.Settings.Image).
		WithArgs(r.arguments(instance)...).
		WithPorts(
			coreac.ContainerPort().WithName("admin").WithContainerPort(AdminPort).WithProtocol(corev1.ProtocolTCP),
			coreac.ContainerPort().WithName("probes").WithContainerPort(ProbesPort).WithProtocol(corev1.ProtocolTCP)).
		WithStartupProbe(probe("/healthz", 1, 120)).
		WithLivenessProbe(probe("/healthz", 10, 6)).
		WithReadinessProbe(probe("/readyz", 5, 2)).
		WithLifecycle(coreac.Lifecycle().WithPreStop(coreac.LifecycleHandler().WithSleep(coreac.SleepAction().WithSeconds(lookAwaySeconds)))).
		WithSecurityContext(coreac.SecurityContext().
			WithAllowPrivilegeEscalation(false).WithReadOnlyRootFilesystem(true).
			WithCapabilities(coreac.Capabilities().WithDrop("ALL"))).
		WithVolumeMounts(
			coreac.VolumeMount().WithName("state").WithMountPath(statePath),
			coreac.VolumeMount().WithName("manifests").WithMountPath(manifestsPath).WithReadOnly(true),
			coreac.VolumeMount().WithName("control").WithMountPath(controlPath).WithReadOnly(true))
	if r.Settings.ImagePullPolicy != "" {
		c.WithImagePullPolicy(corev1.PullPolicy(r.Settings.ImagePullPolicy))
	}
	for _, name := range r.plan.SecretRefs {
		c.WithVolumeMounts(coreac.VolumeMount().WithName(secretVolume(name)).WithMountPath(secretsPath + "/" + name).WithReadOnly(true))
	}
	resources, err := r.resources()
	if err != nil {
		return nil, err
	}
	if limit := memoryLimit(resources); limit > 0 {
		c.WithEnv(coreac.EnvVar().WithName("GOMEMLIMIT").WithValue(strconv.FormatInt(limit/10*9, 10)))
	}
	return c.WithResources(resources), nil
}

// arguments of the relay's command line (docs/operator.md).
func (r *renderer) arguments(instance string) []string {
	return []string{
		"relay",
		"--manifests", manifestsPath,
		"--name", r.Relay.Namespace + "/" + r.Relay.Name,
		"--instance", instance,
		"--instances", controlPath + "/" + access.InstancesFile,
		"--state", statePath,
		"--secrets", secretsPath,
		"--port-offset", strconv.Itoa(PortOffset),
		"--admin", fmt.Sprintf(":%d", AdminPort),
		"--admin-access", controlPath + "/" + access.File,
		"--probes", fmt.Sprintf(":%d", ProbesPort),
		"--grace", fmt.Sprintf("%ds", graceSeconds),
		"--log-format", "json",
	}
}

func probe(path string, period, failures int32) *coreac.ProbeApplyConfiguration {
	return coreac.Probe().
		WithHTTPGet(coreac.HTTPGetAction().WithPath(path).WithPort(intstr.FromInt32(ProbesPort))).
		WithPeriodSeconds(period).WithFailureThreshold(failures).WithTimeoutSeconds(5)
}

// volumes of the Pod: the state, the ConfigMap in two folders, since what lies
// beside manifests is read as one, and each Secret, which may come later.
func (r *renderer) volumes(instance string) []*coreac.VolumeApplyConfiguration {
	state := coreac.Volume().WithName("state")
	if r.spool.Type == v1alpha1.SpoolEphemeral {
		state.WithEmptyDir(coreac.EmptyDirVolumeSource().WithSizeLimit(defaultVolumeSize))
	} else {
		state.WithPersistentVolumeClaim(coreac.PersistentVolumeClaimVolumeSource().WithClaimName(instance))
	}
	out := []*coreac.VolumeApplyConfiguration{
		state,
		r.configVolume("manifests", ManifestsKey),
		r.configVolume("control", access.File, access.InstancesFile),
	}
	for _, name := range r.plan.SecretRefs {
		out = append(out, coreac.Volume().WithName(secretVolume(name)).
			WithSecret(coreac.SecretVolumeSource().WithSecretName(name).WithOptional(true).WithDefaultMode(secretMode)))
	}
	return out
}

func (r *renderer) configVolume(name string, keys ...string) *coreac.VolumeApplyConfiguration {
	c := coreac.ConfigMapVolumeSource().WithName(ConfigMapName(r.Relay.Name))
	for _, k := range keys {
		c.WithItems(coreac.KeyToPath().WithKey(k).WithPath(k))
	}
	return coreac.Volume().WithName(name).WithConfigMap(c)
}

// secretVolume names the volume of a Secret: a Secret's name may be longer, and
// hold dots.
func secretVolume(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return "secret-" + hex.EncodeToString(sum[:5])
}

// convert gives in as a T, by their common JSON: what is not set in one is not
// set in the other.
func convert[T any](in any) (*T, error) {
	b, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	out := new(T)
	return out, json.Unmarshal(b, out)
}
