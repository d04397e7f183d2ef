// Package v1alpha1 holds the kinds PrinterRelay, MailUpstream and SenderPolicy
// of the API group printerrelay.dev. Validation is structural schema and CEL
// only, so that an API server and the standalone relay give the same verdict.
//
// It imports apimachinery and k8s.io/api/core/v1 only.
//
// +kubebuilder:object:generate=true
// +kubebuilder:ac:generate=true
// +kubebuilder:ac:output:package=applyconfiguration
// +groupName=printerrelay.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of the kinds in this package.
var GroupVersion = schema.GroupVersion{Group: "printerrelay.dev", Version: "v1alpha1"}

// SchemeGroupVersion is GroupVersion, under the name that generated code uses.
var SchemeGroupVersion = GroupVersion

// SchemeBuilder collects the kinds; AddToScheme registers them with a scheme.
var (
	SchemeBuilder = runtime.NewSchemeBuilder(func(s *runtime.Scheme) error {
		s.AddKnownTypes(GroupVersion,
			&PrinterRelay{}, &PrinterRelayList{},
			&MailUpstream{}, &MailUpstreamList{},
			&SenderPolicy{}, &SenderPolicyList{},
		)
		metav1.AddToGroupVersion(s, GroupVersion)
		return nil
	})
	AddToScheme = SchemeBuilder.AddToScheme
)
