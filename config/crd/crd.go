// Package crd embeds the generated CustomResourceDefinitions, so that manifests
// are validated offline with the schema and the rules that an API server uses.
package crd

import "embed"

// Files holds bases/*.yaml as controller-gen wrote them.
//
//go:embed bases/*.yaml
var Files embed.FS
