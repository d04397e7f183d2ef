package v1alpha1

// Condition types of the three kinds. Ready, Reconciling and Stalled follow
// kstatus, so that kubectl wait, Flux and Argo CD understand them.
const (
	// ConditionReady is True while the object does what its spec says.
	ConditionReady = "Ready"
	// ConditionAccepted is True if the spec compiles to a plan.
	ConditionAccepted = "Accepted"
	// ConditionResolvedRefs is True if every object and Secret that the spec names is there.
	ConditionResolvedRefs = "ResolvedRefs"
	// ConditionProgrammed is True if every instance reports the plan's hash.
	ConditionProgrammed = "Programmed"
	// ConditionDurable is True if what was acknowledged survives the loss of the Pod.
	ConditionDurable = "Durable"
	// ConditionClientAddressesKnown is True if rules on networks see the address of
	// the client itself, and not that of a node or Pod in between.
	ConditionClientAddressesKnown = "ClientAddressesKnown"
	// ConditionHolding is True while the spec keeps mail in the queue: by intake: Hold,
	// by holds, or by an upstream that is suspended.
	ConditionHolding = "Holding"
	// ConditionReconciling is present and True while a change is being applied (kstatus).
	ConditionReconciling = "Reconciling"
	// ConditionStalled is present and True while nothing can be applied without a person (kstatus).
	ConditionStalled = "Stalled"
	// ConditionCredentialsValid is True if the provider takes the credential.
	ConditionCredentialsValid = "CredentialsValid"
	// ConditionDNSReady is True if the sender domain's records are published.
	ConditionDNSReady = "DNSReady"
)

// Reasons of the conditions.
const (
	// ReasonReady: Ready is True.
	ReasonReady = "Ready"
	// ReasonAccepted: Accepted is True.
	ReasonAccepted = "Accepted"
	// ReasonResolved: ResolvedRefs is True.
	ReasonResolved = "Resolved"
	// ReasonProgrammed: Programmed is True.
	ReasonProgrammed = "Programmed"
	// ReasonPersistent: Durable is True.
	ReasonPersistent = "Persistent"
	// ReasonValid: CredentialsValid is True.
	ReasonValid = "Valid"
	// ReasonKnown: ClientAddressesKnown is True.
	ReasonKnown = "Known"
	// ReasonHeld: Holding is True.
	ReasonHeld = "Held"
	// ReasonNotHeld: Holding is False.
	ReasonNotHeld = "NotHeld"
	// ReasonPending: it is not known yet, or not there yet.
	ReasonPending = "Pending"
	// ReasonUnknown: nobody can tell.
	ReasonUnknown = "Unknown"

	// ReasonInvalid: the spec does not compile to a plan.
	ReasonInvalid = "Invalid"
	// ReasonTooLarge: the configuration does not fit into a ConfigMap.
	ReasonTooLarge = "TooLarge"
	// ReasonApplyFailed: the API server refused an object of the relay.
	ReasonApplyFailed = "ApplyFailed"
	// ReasonReferenceNotFound: a MailUpstream or SenderPolicy that is named is not there.
	ReasonReferenceNotFound = "ReferenceNotFound"
	// ReasonSecretNotFound: a Secret that is named is not there.
	ReasonSecretNotFound = "SecretNotFound"
	// ReasonCertManagerNotFound: an issuerRef is given, and cert-manager is not installed.
	ReasonCertManagerNotFound = "CertManagerNotFound"

	// ReasonRollingOut: instances are being changed or replaced.
	ReasonRollingOut = "RollingOut"
	// ReasonDraining: instances that go deliver what they have first.
	ReasonDraining = "Draining"
	// ReasonDeleting: the relay is being deleted.
	ReasonDeleting = "Deleting"
	// ReasonInstanceNotReady: an instance takes no mail.
	ReasonInstanceNotReady = "InstanceNotReady"
	// ReasonUnreachable: an instance's admin port, or a mail upstream, does not answer.
	ReasonUnreachable = "Unreachable"
	// ReasonAddressPending: the load balancer has given no address yet.
	ReasonAddressPending = "AddressPending"
	// ReasonVolumePending: a volume is not bound yet.
	ReasonVolumePending = "VolumePending"
	// ReasonVolumeLost: a volume is gone, with what was on it.
	ReasonVolumeLost = "VolumeLost"
	// ReasonOpenRelay: an instance found that it would relay for anybody.
	ReasonOpenRelay = "OpenRelay"
	// ReasonAddressesHidden: the cluster hides every client's address.
	ReasonAddressesHidden = "AddressesHidden"
	// ReasonClusterNetworksUnknown: which addresses are nodes' and Pods' cannot be told.
	ReasonClusterNetworksUnknown = "ClusterNetworksUnknown"
	// ReasonEphemeral: the spool goes with the Pod.
	ReasonEphemeral = "Ephemeral"
	// ReasonSuspended: spec.suspend keeps mail in the queue.
	ReasonSuspended = "Suspended"
	// ReasonRejected: the provider does not take the credential.
	ReasonRejected = "Rejected"

	// ReasonPublished: DNSReady is True.
	ReasonPublished = "Published"
	// ReasonNotNeeded: the spec has no credential that could be wrong, or sends
	// nothing that would need a record.
	ReasonNotNeeded = "NotNeeded"
	// ReasonNotChecked: the operator is not to ask DNS.
	ReasonNotChecked = "NotChecked"
	// ReasonRecordMissing: a record of the sender domain is not published.
	ReasonRecordMissing = "RecordMissing"
	// ReasonRecordDifferent: a record of the sender domain is not as it has to be.
	ReasonRecordDifferent = "RecordDifferent"
)

// AnnotationAbandonQueue with the value "true" gives up the mail of instances
// that go: nobody waits until it is delivered. Volumes with reclaimPolicy Delete
// are deleted with what is on them; those with Retain stay.
const AnnotationAbandonQueue = "printerrelay.dev/abandon-queue"

// AnnotationConfigVersion of a Pod is the version of the relay's ConfigMap that the
// operator last told its kubelet of.
const AnnotationConfigVersion = "printerrelay.dev/config-version"

// AnnotationSuspended of a PrinterRelay or a MailUpstream says why and by whom it is
// suspended: kubectl printer-relay suspend writes it, and conditions show it.
const AnnotationSuspended = "printerrelay.dev/suspended"

// AnnotationSharers of a MailUpstream in a relay's manifests is how many instances
// send by it, of all relays together: a rate that the provider tells is theirs
// together. Its limits in those manifests are one instance's share already.
const AnnotationSharers = "printerrelay.dev/sharers"

// AnnotationHiddenClients of a PrinterRelay has the addresses that are not a client's
// own, with commas between: networks, addresses, or "all". Clients with one are in no
// network. In a relay's manifests the operator adds those of the cluster's nodes and
// Pods.
const AnnotationHiddenClients = "printerrelay.dev/hidden-clients"

// AnnotationHoldsAhead of a PrinterRelay in a relay's manifests has the holds that count
// ahead of a configuration that cannot be applied. The operator writes it there.
const AnnotationHoldsAhead = "printerrelay.dev/holds-ahead"

// Finalizer keeps a PrinterRelay until its queue is drained or kept as declared.
const Finalizer = "printerrelay.dev/queue"
