package manifest

import (
	"context"
	"fmt"
	"io/fs"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/config/crd"
)

// validator gives an API server's verdict on the objects of one kind: the same
// schema, the same CEL, the same libraries.
type validator struct {
	structural *structuralschema.Structural
	schema     validation.SchemaValidator
	cel        *cel.Validator
}

// validators are made once, by kind: compiling the rules takes a moment.
var validators = sync.OnceValues(func() (map[string]*validator, error) {
	out := map[string]*validator{}
	files, err := fs.Glob(crd.Files, "bases/*.yaml")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		b, err := crd.Files.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var v1 apiextensionsv1.CustomResourceDefinition
		if err := yaml.Unmarshal(b, &v1); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		v, err := newValidator(&v1)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		out[v1.Spec.Names.Kind] = v
	}
	return out, nil
})

func newValidator(v1 *apiextensionsv1.CustomResourceDefinition) (*validator, error) {
	for _, version := range v1.Spec.Versions {
		if version.Name != v1alpha1.GroupVersion.Version {
			continue
		}
		var in apiextensions.JSONSchemaProps
		if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(version.Schema.OpenAPIV3Schema, &in, nil); err != nil {
			return nil, err
		}
		s, err := structuralschema.NewStructural(&in)
		if err != nil {
			return nil, err
		}
		sv, _, err := validation.NewSchemaValidator(&in)
		if err != nil {
			return nil, err
		}
		return &validator{structural: s, schema: sv, cel: cel.NewValidator(s, true, celconfig.PerCallLimit)}, nil
	}
	return nil, fmt.Errorf("has no version %s", v1alpha1.GroupVersion.Version)
}

// validate sets defaults in obj and gives what an API server would refuse it
// for; unknown are fields that it would drop.
func (v *validator) validate(obj map[string]any) (errs field.ErrorList, unknown []string) {
	unknown = pruning.PruneWithOptions(obj, v.structural, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	defaulting.Default(obj, v.structural)
	errs = validation.ValidateCustomResource(nil, obj, v.schema)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, v.structural, obj)...)
	if len(errs) > 0 {
		return errs, unknown // rules are for objects of the right shape
	}
	errs, _ = v.cel.Validate(context.Background(), nil, v.structural, obj, nil, celconfig.RuntimeCELCostBudget)
	return errs, unknown
}
