package crd

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/install"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// TestGenerated holds bases to what the pinned controller-gen makes of
// api/v1alpha1.
func TestGenerated(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute) // it may have to be built
	defer cancel()
	dir := t.TempDir()
	cmd := exec.CommandContext(ctx, "go", "tool", "-modfile=hack/tools/go.mod", "controller-gen", "crd", "paths=./api/v1alpha1", "output:crd:dir="+dir)
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("controller-gen: %v\n%s", err, out)
	}
	want, got := names(t, dir), names(t, "bases")
	if len(want) != 3 || len(got) != len(want) {
		t.Fatalf("generated %v, config/crd/bases holds %v: run `make generate`", want, got)
	}
	for _, name := range want {
		a, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join("bases", name))
		if err != nil {
			t.Fatal(err)
		}
		if string(a) != string(b) {
			t.Errorf("config/crd/bases/%s is not what api/v1alpha1 says: run `make generate`, and commit what changes", name)
		}
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range paths {
		paths[i] = filepath.Base(paths[i])
	}
	return paths
}

// TestAPIServerTakesThem runs the checks of an API server on a new
// CustomResourceDefinition: structural schemas, defaults that fit, and CEL
// rules that compile and stay within the cost budget.
func TestAPIServerTakesThem(t *testing.T) {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	files, err := fs.Glob(Files, "bases/*.yaml")
	if err != nil || len(files) != 3 {
		t.Fatalf("embedded: %v, %v", files, err)
	}
	for _, name := range files {
		b, err := Files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		v1 := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(b, v1); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		scheme.Default(v1)
		crd := &apiextensions.CustomResourceDefinition{}
		if err := scheme.Convert(v1, crd, nil); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		crd.Status.StoredVersions = []string{"v1alpha1"}
		for _, err := range validation.ValidateCustomResourceDefinition(t.Context(), crd) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEveryFieldIsDocumented: `kubectl explain` has something to say on each.
func TestEveryFieldIsDocumented(t *testing.T) {
	files, err := fs.Glob(Files, "bases/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := Files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.Unmarshal(b, crd); err != nil {
			t.Fatal(err)
		}
		for _, v := range crd.Spec.Versions {
			for _, part := range []string{"spec", "status"} {
				p := v.Schema.OpenAPIV3Schema.Properties[part]
				undocumented(t, crd.Spec.Names.Kind+"."+part, &p)
			}
		}
	}
}

func undocumented(t *testing.T, path string, s *apiextensionsv1.JSONSchemaProps) {
	t.Helper()
	if s.Description == "" {
		t.Errorf("%s has no description", path)
	}
	properties := s.Properties
	if s.Items != nil && s.Items.Schema != nil {
		properties = s.Items.Schema.Properties
	}
	for name := range properties {
		p := properties[name]
		undocumented(t, path+"."+name, &p)
	}
}
