package manifest

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/runtime"
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

// Validate gives an API server's verdict on obj, of one of the three kinds, in
// which it sets defaults. With old it is that on the change from old to obj;
// unknown are fields that the server would refuse or drop.
func Validate(obj, old map[string]any) (errs field.ErrorList, unknown []string, err error) {
	vs, err := validators()
	if err != nil {
		return nil, nil, err
	}
	kind, _ := obj["kind"].(string)
	v := vs[kind]
	if v == nil {
		return nil, nil, fmt.Errorf("kind %q is not in this build", kind)
	}
	if old != nil {
		old = runtime.DeepCopyJSON(old)
		v.prepare(old)
	}
	errs, unknown = v.validate(obj, old)
	return errs, unknown, nil
}

// prepare drops fields that the kind has not, and tells them, and sets defaults.
func (v *validator) prepare(obj map[string]any) (unknown []string) {
	unknown = pruning.PruneWithOptions(obj, v.structural, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	defaulting.Default(obj, v.structural)
	return unknown
}

// validate sets defaults in obj and gives what an API server would refuse it
// for, in the order in which it looks; unknown are fields that it would drop.
func (v *validator) validate(obj, old map[string]any) (errs field.ErrorList, unknown []string) {
	unknown = v.prepare(obj)
	if old == nil {
		errs = validation.ValidateCustomResource(nil, obj, v.schema)
	} else {
		errs = validation.ValidateCustomResourceUpdate(nil, obj, old, v.schema)
	}
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, v.structural, obj)...)
	if slices.ContainsFunc(errs, blocks) {
		return append(errs, field.Invalid(nil, nil, notChecked)), unknown
	}
	more, _ := v.cel.Validate(context.Background(), nil, v.structural, obj, oldValue(old), celconfig.RuntimeCELCostBudget)
	return append(errs, more...), unknown
}

// notChecked is what an API server says of the rules where the object has not
// the shape for them.
const notChecked = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"

// blocks says whether an API server tries no rule beside that error.
func blocks(e *field.Error) bool {
	switch e.Type {
	case field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid:
		return true
	}
	return false
}

// oldValue is old for what takes any value: nothing, not a map of nothing.
func oldValue(old map[string]any) any {
	if old == nil {
		return nil
	}
	return old
}
