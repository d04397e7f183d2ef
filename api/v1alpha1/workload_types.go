package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Service is what stands in front of the instances in a cluster.
//
// +kubebuilder:validation:XValidation:rule="self.type == 'LoadBalancer' || !(has(self.loadBalancerClass) || has(self.loadBalancerSourceRanges))",message="loadBalancerClass and loadBalancerSourceRanges are for type LoadBalancer"
// +kubebuilder:validation:XValidation:rule="self.type != 'LoadBalancer' || oldSelf.type != 'LoadBalancer' || (has(self.loadBalancerClass) == has(oldSelf.loadBalancerClass) && (!has(self.loadBalancerClass) || self.loadBalancerClass == oldSelf.loadBalancerClass))",message="loadBalancerClass of a Service cannot change: keep it, or change the type to ClusterIP first and then back"
type Service struct {
	// type: LoadBalancer, NodePort or ClusterIP.
	// +optional
	// +kubebuilder:default=LoadBalancer
	// +kubebuilder:validation:Enum=LoadBalancer;NodePort;ClusterIP
	Type corev1.ServiceType `json:"type,omitempty"`
	// loadBalancerClass of the implementation to use.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	LoadBalancerClass *string `json:"loadBalancerClass,omitempty"`
	// annotations of the Service.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	Annotations map[string]string `json:"annotations,omitempty"`
	// loadBalancerSourceRanges that may connect.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	LoadBalancerSourceRanges []CIDR `json:"loadBalancerSourceRanges,omitempty"`
	// externalTrafficPolicy: Local keeps the client's address; Cluster hides it,
	// and rules on networks then match nobody.
	// +optional
	// +kubebuilder:default=Local
	// +kubebuilder:validation:Enum=Local;Cluster
	ExternalTrafficPolicy corev1.ServiceExternalTrafficPolicy `json:"externalTrafficPolicy,omitempty"`
	// sessionAffinity: ClientIP keeps a copier with one instance.
	// +optional
	// +kubebuilder:default=ClientIP
	// +kubebuilder:validation:Enum=ClientIP;None
	SessionAffinity corev1.ServiceAffinity `json:"sessionAffinity,omitempty"`
	// ipFamilyPolicy of the Service.
	// +optional
	// +kubebuilder:validation:Enum=SingleStack;PreferDualStack;RequireDualStack
	IPFamilyPolicy *corev1.IPFamilyPolicy `json:"ipFamilyPolicy,omitempty"`
}

// PodTemplate is what the instances' Pods take from here.
type PodTemplate struct {
	// resources of the relay container.
	// +optional
	Resources corev1.ResourceRequirements `json:"resources,omitempty"`
	// nodeSelector of the Pods.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// tolerations of the Pods.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
	// affinity of the Pods.
	// +optional
	Affinity *corev1.Affinity `json:"affinity,omitempty"`
	// topologySpreadConstraints of the Pods.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	TopologySpreadConstraints []corev1.TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`
	// priorityClassName of the Pods.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	PriorityClassName string `json:"priorityClassName,omitempty"`
	// dnsConfig of the Pods, beside what the cluster's DNS gives them: the option
	// trust-ad says that the way to its resolver can be trusted, without which no
	// upstream of type MX uses DANE.
	// +optional
	DNSConfig *corev1.PodDNSConfig `json:"dnsConfig,omitempty"`
	// imagePullSecrets of the Pods.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	ImagePullSecrets []corev1.LocalObjectReference `json:"imagePullSecrets,omitempty"`
	// annotations of the Pods.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	Annotations map[string]string `json:"annotations,omitempty"`
	// labels of the Pods.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	Labels map[string]string `json:"labels,omitempty"`
	// serviceAccountName of the Pods; the default is one without a token.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
}

// PrinterRelayStatus is what the operator sees.
type PrinterRelayStatus struct {
	// observedGeneration is the generation of the spec that the status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions: Ready, Accepted, ResolvedRefs, Programmed, Durable; and, only
	// while True, Reconciling and Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// addresses that copiers connect to.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Addresses []RelayAddress `json:"addresses,omitempty"`
	// listeners of the relay.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	Listeners []ListenerStatus `json:"listeners,omitempty"`
	// replicas are the instances that are there, with those that drain.
	// +optional
	Replicas int32 `json:"replicas,omitempty"`
	// instances of the relay.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Instances []InstanceStatus `json:"instances,omitempty"`
	// queue of all instances together.
	// +optional
	Queue *QueueStatus `json:"queue,omitempty"`
	// copiers seen, the 50 that connected last, by address. It is written when one is
	// new or behaves otherwise, and else every ten minutes.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=50
	Copiers []CopierStatus `json:"copiers,omitempty"`
}

// RelayAddress is one address that copiers connect to.
type RelayAddress struct {
	// type: IPAddress or Hostname.
	// +required
	// +kubebuilder:validation:Enum=IPAddress;Hostname
	Type string `json:"type"`
	// value of the address.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Value string `json:"value"`
}

// ListenerStatus is one listener over all instances.
type ListenerStatus struct {
	// name of the listener.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// ready instances.
	// +optional
	Ready int32 `json:"ready,omitempty"`
	// message says what is wrong.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// InstanceStatus is one instance.
type InstanceStatus struct {
	// name of the instance.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// ready to take mail.
	// +optional
	Ready bool `json:"ready,omitempty"`
	// planHash that the instance runs.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	PlanHash string `json:"planHash,omitempty"`
	// queue of the instance.
	// +optional
	Queue *QueueStatus `json:"queue,omitempty"`
	// message says what is wrong.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// QueueStatus is what waits.
type QueueStatus struct {
	// messages that wait for an upstream.
	// +optional
	Messages int32 `json:"messages"`
	// held until released.
	// +optional
	Held int32 `json:"held,omitempty"`
	// failed and kept for a time.
	// +optional
	Failed int32 `json:"failed,omitempty"`
	// oldest message's arrival.
	// +optional
	Oldest *metav1.Time `json:"oldest,omitempty"`
}

// CopierStatus is one device that was seen.
type CopierStatus struct {
	// address of the device; with IPv6 its /64.
	// +required
	// +kubebuilder:validation:MaxLength=45
	Address string `json:"address"`
	// name that it gives in HELO.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
	// user that it authenticated as.
	// +optional
	// +kubebuilder:validation:MaxLength=254
	User string `json:"user,omitempty"`
	// tlsVersion of its last connection; empty: clear text.
	// +optional
	// +kubebuilder:validation:MaxLength=8
	TLSVersion string `json:"tlsVersion,omitempty"`
	// lastScan that was accepted.
	// +optional
	LastScan *metav1.Time `json:"lastScan,omitempty"`
	// lastRefusal in the words of the reply; empty: a scan was accepted since.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	LastRefusal string `json:"lastRefusal,omitempty"`
}
