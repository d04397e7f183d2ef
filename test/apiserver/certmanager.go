package apiserver

import (
	"context"
	"fmt"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/printerrelay/printer-relay/test/env"
)

// CertManager installs a kind that has the name of cert-manager's Certificate
// and takes any fields, until the end of the test. Nobody issues anything.
func (s *Server) CertManager(t testing.TB) {
	t.Helper()
	keep := true
	anything := &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &keep}
	crd := &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "certificates.cert-manager.io"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "cert-manager.io",
			Names: apiextensionsv1.CustomResourceDefinitionNames{Kind: "Certificate", ListKind: "CertificateList", Singular: "certificate", Plural: "certificates"},
			Scope: apiextensionsv1.NamespaceScoped,
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: "v1", Served: true, Storage: true,
				Schema:       &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: anything},
				Subresources: &apiextensionsv1.CustomResourceSubresources{Status: &apiextensionsv1.CustomResourceSubresourceStatus{}},
			}},
		},
	}
	options := envtest.CRDInstallOptions{CRDs: []*apiextensionsv1.CustomResourceDefinition{crd}, MaxTime: env.Wait}
	if _, err := envtest.InstallCRDs(s.Config, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := envtest.UninstallCRDs(s.Config, options); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), env.Wait) // the test's own has ended
		defer cancel()
		env.Eventually(t, "the kind is gone", crd.GetName, func() bool { // the next test may want it again
			return apierrors.IsNotFound(s.Client.Get(ctx, client.ObjectKeyFromObject(crd), &apiextensionsv1.CustomResourceDefinition{}))
		})
		s.Forgets(t, schema.GroupVersionKind{Group: crd.Spec.Group, Version: "v1", Kind: "Certificate"})
	})
}

// Forgets waits until the API server no longer names a kind whose CRD was deleted: that
// comes a moment later, and who begins to watch the kind meanwhile waits in vain.
func (s *Server) Forgets(t testing.TB, kind schema.GroupVersionKind) {
	t.Helper()
	http, err := rest.HTTPClientFor(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	var said error
	env.Eventually(t, kind.Kind+" is no longer among the kinds of the API server", func() string { return fmt.Sprint(said) }, func() bool {
		mapper, err := apiutil.NewDynamicRESTMapper(s.Config, http)
		if err == nil {
			_, err = mapper.RESTMapping(kind.GroupKind(), kind.Version)
		}
		said = err
		return meta.IsNoMatchError(err)
	})
}
