// Crdopenapi writes a CustomResourceDefinition as an OpenAPI document whose
// operations take its objects, one path for each served version, so that tools that
// compare APIs can compare kinds. Usage: crdopenapi < CRD.yaml > openapi.json
//
// It may import apiextensions and the standard library.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "crdopenapi:", err)
		os.Exit(1)
	}
}

type object = map[string]any

func run(in io.Reader, out io.Writer) error {
	octets, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	var crd apiextensions.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(octets, &crd); err != nil {
		return fmt.Errorf("the CustomResourceDefinition: %w", err)
	}
	paths := object{}
	for _, v := range crd.Spec.Versions {
		if !v.Served || v.Schema == nil || v.Schema.OpenAPIV3Schema == nil {
			continue
		}
		// As what a client sends: a field that goes, a value that is no longer taken, a
		// field that becomes required then count as what breaks it.
		paths["/apis/"+crd.Spec.Group+"/"+v.Name+"/"+crd.Spec.Names.Plural] = object{"put": object{
			"operationId": v.Name + crd.Spec.Names.Kind,
			"requestBody": object{"required": true, "content": object{"application/json": object{"schema": v.Schema.OpenAPIV3Schema}}},
			"responses":   object{"200": object{"description": "taken"}},
		}}
	}
	if len(paths) == 0 {
		return fmt.Errorf("%s serves no version with a schema", crd.Name)
	}
	e := json.NewEncoder(out)
	e.SetIndent("", " ")
	return e.Encode(object{
		"openapi": "3.0.3", "info": object{"title": crd.Spec.Names.Kind, "version": "0"}, "paths": paths,
	})
}
