package controllers

// What the operator may do, from which make generate writes config/rbac/role.yaml
// and the chart its own; a test holds that both agree. Nothing about Secrets: they
// are mounted into the Pods by name, and the operator never reads one.

// The kinds: it reads specs, and writes status and the finalizer.
// +kubebuilder:rbac:groups=printerrelay.dev,resources=printerrelays,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=printerrelay.dev,resources=mailupstreams;senderpolicies,verbs=get;list;watch
// +kubebuilder:rbac:groups=printerrelay.dev,resources=printerrelays/status;mailupstreams/status;senderpolicies/status,verbs=get;patch
// +kubebuilder:rbac:groups=printerrelay.dev,resources=printerrelays/finalizers,verbs=update

// What a PrinterRelay becomes. Of Pods it reads the address of the admin port, and writes
// an annotation that makes the kubelet look at a new ConfigMap at once.
// +kubebuilder:rbac:groups="",resources=configmaps;persistentvolumeclaims;serviceaccounts;services,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get
// +kubebuilder:rbac:groups=apps,resources=deployments,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=networking.k8s.io,resources=networkpolicies,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=cert-manager.io,resources=certificates,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch

// Nodes, which are in no namespace, are in a ClusterRole of their own
// (config/rbac/nodes.yaml): without it the operator does without.

// In its own namespace, which need not be one that it watches: one leader, with an
// event when it changes, and tokens of its own ServiceAccount for the relays' admin ports.
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=get;list;watch;create;update;patch;delete,namespace=printer-relay-system
// +kubebuilder:rbac:groups="",resources=serviceaccounts/token,resourceNames=printer-relay-operator,verbs=create,namespace=printer-relay-system
// +kubebuilder:rbac:groups="";events.k8s.io,resources=events,verbs=create;patch,namespace=printer-relay-system
