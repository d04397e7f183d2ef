package v1alpha1

// WebhookEvent is what a webhook may be told of.
// +kubebuilder:validation:Enum=MessageFailed;MessageDelayed;MessageHeld;MessageAccepted;MessageRefused
type WebhookEvent string

// What a webhook may be told of.
const (
	WebhookMessageFailed   WebhookEvent = "MessageFailed"
	WebhookMessageDelayed  WebhookEvent = "MessageDelayed"
	WebhookMessageHeld     WebhookEvent = "MessageHeld"
	WebhookMessageAccepted WebhookEvent = "MessageAccepted"
	WebhookMessageRefused  WebhookEvent = "MessageRefused"
)

// Webhook is a web address that each instance tells what becomes of mail: metadata
// as JSON, signed as Standard Webhooks has it.
type Webhook struct {
	// name of the webhook, for logs, metrics and problems.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="must be lower-case letters, digits and hyphens, such as ticket-system"
	Name string `json:"name"`
	// url to post to. Left out, it is the key url of the Secret, for an address that
	// is itself a credential. http is for private and loopback addresses only.
	// +optional
	URL Endpoint `json:"url,omitempty"`
	// events to tell of: MessageFailed (for a recipient at least), MessageDelayed
	// (after delivery.warnAfterSeconds), MessageHeld, MessageAccepted (by upstreams,
	// for every recipient), MessageRefused (a device was told no, gathered over a
	// minute).
	// +optional
	// +listType=set
	// +kubebuilder:default={MessageFailed, MessageDelayed}
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=5
	Events []WebhookEvent `json:"events,omitempty"`
	// secretRef with signingSecret: whsec_ and 24 to 64 octets in base64. While it is
	// rotated it holds several, one a line, and each signs.
	// +required
	SecretRef LocalReference `json:"secretRef"`
	// caSecretRef with ca.crt: the authorities to trust in place of the system's.
	// +optional
	CASecretRef *LocalReference `json:"caSecretRef,omitempty"`
	// allowPrivateHosts: the address may be private or loopback.
	// +optional
	AllowPrivateHosts bool `json:"allowPrivateHosts,omitempty"`
	// requestsPerMinute of each instance, at most. What happens faster goes together
	// in one request.
	// +optional
	// +kubebuilder:default=30
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=600
	RequestsPerMinute *int32 `json:"requestsPerMinute,omitempty"`
}
