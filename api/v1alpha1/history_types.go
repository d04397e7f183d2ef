package v1alpha1

import "k8s.io/apimachinery/pkg/api/resource"

// SubjectMode says whether the history keeps subjects.
// +kubebuilder:validation:Enum=Omit;Keep
type SubjectMode string

// Whether the history keeps subjects.
const (
	SubjectsOmit SubjectMode = "Omit"
	SubjectsKeep SubjectMode = "Keep"
)

// History is what an instance keeps of messages that came in, and of what it refused:
// metadata only, on the volume of its spool.
type History struct {
	// keepSeconds is how long; 0 keeps nothing, and erases what was kept.
	// +optional
	// +kubebuilder:default=2592000
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=315360000
	KeepSeconds *int32 `json:"keepSeconds,omitempty"`
	// size is the most that it takes of the volume; the oldest goes. The default is
	// a sixteenth of the volume, 256Mi at most.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!quantity(string(self)).isLessThan(quantity('8Mi'))",message="a history needs 8Mi at least"
	Size *resource.Quantity `json:"size,omitempty"`
	// subjects: Omit, or Keep. What is not kept is not told either: notices of failure and
	// webhooks name subjects, and notices the names of attached files, with Keep only.
	// +optional
	// +kubebuilder:default=Omit
	Subjects SubjectMode `json:"subjects,omitempty"`
}
